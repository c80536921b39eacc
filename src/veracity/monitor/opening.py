"""The first entry of a run: what was asked for, where, and by whom as far as the monitor knows itself."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import __version__
from ..core.canonical import Json
from ..core.digest import Digest
from ..core.observation import SealChecked
from ..core.quantity import quantity
from ..seal.masking import Masker
from .accounts import recorder
from .folder import RunFolder

MAX_COMMAND = 24 << 10
"""Bytes of a command in the entry, which holds more beside it."""

if TYPE_CHECKING:
    from .job import RunOptions


def opening_entry(
    folder: RunFolder,
    command: Sequence[str],
    started_at: int,
    key: bytes,
    archive: str,
    options: RunOptions,
    code: Mapping[str, str] | None = None,
) -> dict[str, Json]:
    """The body of the ``run`` entry. ``key``: the sampling key; ``archive``: digest of the guard's archive.

    ``code``: digests of what that was compiled to, by interpreter.

    In the entry ``key`` is a commitment to the sampling key (its SHA-256): shown later, it proves which
    elements were chosen in advance. ``same_account``: monitor and job share one account, so the record is
    tamper-visible only. ``references``: digests of the reference files, whose texts are the entries after
    this one; runs without them, and older ones, have none. ``seal``: id and digest of the seal that the
    run was started on, where it was. ``recorder``: the account that records, where it is another one than the
    job's; then ``uid`` is the job's, as the kernel says, and what it asked for is its own word.
    """
    by = recorder()
    sealed = options.sealed
    references: list[Json] = [{"path": one.path, "digest": one.digest} for one in options.references]
    return {
        **({"references": references} if references else {}),
        **({"seal": seal_of(sealed)} if sealed is not None else {}),
        "run": folder.run,
        "version": __version__,
        "command": clipped(masker_of(key).command(command)),
        "name": options.name,
        "policy": options.policy,
        "overhead": float(options.overhead).hex(),
        "folder": os.getcwd(),
        "started_at": started_at,
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "user": _user(),
        "uid": os.getuid(),
        "monitor": os.getpid(),
        "same_account": by is None or by.uid == os.getuid(),
        **({"recorder": {"account": by.name, "uid": by.uid}} if by is not None else {}),
        "archive": archive,
        **({"code": dict(code)} if code else {}),
        "key": str(Digest.of(key)),
    }


def clipped(words: Sequence[str]) -> list[Json]:
    """The words of a command that an entry has room for; the last one says how many are left out."""
    room = MAX_COMMAND
    kept: list[Json] = []
    for word in words:
        # As many bytes as its escaped form takes in the entry.
        room -= len(json.dumps(word)) + 1
        if room < 0:
            return [*kept, f"… {quantity(len(words) - len(kept), 'word is', 'words are')} left out"]
        kept.append(word)
    return kept


def seal_of(sealed: SealChecked) -> Json:
    """Which seal a run was started on, and the head of the log of approvals as it was then."""
    log: Json = {"size": sealed.log_size, "root": sealed.log_root}
    return {"id": sealed.seal, "digest": sealed.digest, "approvals": log}


def run_document(entry: dict[str, Json], sealed: SealChecked | None) -> dict[str, Json]:
    """``run.json`` while the run goes on, from the body of its ``run`` entry and how its seal stood."""
    kept: dict[str, Json] = {name: entry[name] for name in ("run", "name", "command", "started_at")}
    if sealed is not None and sealed.override:
        kept["override"] = True
    return {**kept, "verdict": None}


def masker_of(key: bytes) -> Masker:
    """The masker of secrets of one run; its key never leaves the run's private configuration."""
    return Masker(hashlib.sha256(key + b"mask").digest())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
