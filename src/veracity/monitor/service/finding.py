"""The caller's side: whether there is a service, and whether it is one to be believed."""

from __future__ import annotations

import json
import os
import pwd
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import EvidenceError, TransportError, UsageError
from ...core.summary import RunSummary
from ..home import RunListing
from .answerer import read_summary
from .caller import uid_of
from .protocol import Answer, AskRuns, AskSummary, Channel, Message, Refused
from .settings import SYSTEM_SOCKET

VARIABLE = "VERACITY_MONITOR"
ACCOUNT = "veracity"
NOWHERE = "none"
"""Instead of a socket: no service, whether or not there is one."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 180.0
MAX_ANSWER = 1 << 30


def find_socket(given: str | None, environment: Mapping[str, str]) -> tuple[Path | None, bool]:
    """The service's socket, None without one; and whether somebody asked for it.

    ``given`` by a flag, else by ``VERACITY_MONITOR``, else the well-known one if it is there and belongs to
    root or to the account ``veracity``.
    """
    named = given if given is not None else environment.get(VARIABLE, "")
    if named == NOWHERE:
        return None, False
    if named:
        return Path(named).absolute(), True
    try:
        owner = SYSTEM_SOCKET.lstat().st_uid
    except OSError:
        return None, False
    return (SYSTEM_SOCKET, False) if owner in _believed() else (None, False)


def connect(path: Path, *, asked: bool) -> Channel:
    """A connection to the service at ``path``. Raises TransportError when there is none.

    ``asked``: somebody named this socket; else only root's and the service's own account are believed.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _reach(connection, path)
        uid = uid_of(connection)
    except OSError as error:
        connection.close()
        raise TransportError(
            f"the monitor's service cannot be reached: {error.strerror or error}",
            where=str(path),
            remedy=f"start it, or record by yourself with --monitor {NOWHERE}",
        ) from error
    if not asked and uid not in _believed():
        connection.close()
        raise TransportError(f"a service of uid {uid} stands where the monitor's should", where=str(path))
    return Channel(connection)


def _reach(connection: socket.socket, path: Path) -> None:
    """Connect; where many others wait for the service, again in a moment. Raises OSError."""
    deadline = time.monotonic() + CONNECT_SECONDS
    connection.settimeout(CONNECT_SECONDS)
    while True:
        try:
            connection.connect(str(path))
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def ask_runs(path: Path, limit: int, *, asked: bool) -> list[RunListing]:
    """The caller's runs that the service recorded, newest first."""
    answer = json.loads(_ask(path, AskRuns(limit), asked=asked))
    return [
        RunListing(
            str(one["run"]),
            int(one["started_at"]),
            tuple(str(word) for word in one["command"]),
            str(one["verdict"]),
            Path(str(one["folder"])),
        )
        for one in answer
    ]


def ask_summary(path: Path, run: str, *, asked: bool) -> RunSummary:
    """One of the caller's runs. Raises UsageError when the service has none of that name."""
    data = _ask(path, AskSummary(run), asked=asked)
    try:
        return read_summary(data)
    except (ValueError, TypeError) as error:
        raise EvidenceError("the service's answer cannot be read", where=str(path)) from error


def refusal(message: Message | None, path: Path) -> UsageError | TransportError:
    """What went wrong when this came in place of an answer."""
    if isinstance(message, Refused):
        return UsageError(f"the service refuses: {message.what}", where=str(path), remedy=message.remedy)
    return TransportError("the service ended the conversation", where=str(path))


def _ask(path: Path, question: Message, *, asked: bool) -> bytes:
    channel = connect(path, asked=asked)
    try:
        channel.send(question)
        message = channel.receive(ANSWER_SECONDS, descriptors=True)
        handle = channel.take_descriptor()
        if not isinstance(message, Answer) or handle < 0:
            if handle >= 0:
                os.close(handle)
            raise refusal(message, path)
        with os.fdopen(handle, "rb") as file:
            file.seek(0)
            data = file.read(min(message.length, MAX_ANSWER) + 1)
    finally:
        channel.close()
    if len(data) != message.length:
        raise EvidenceError("the service's answer is cut", where=str(path))
    return data


def _believed() -> set[int]:
    try:
        return {0, pwd.getpwnam(ACCOUNT).pw_uid}
    except KeyError:
        return {0}
