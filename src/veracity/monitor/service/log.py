"""The service's own record: when it began and ended, which runs it was given, what it refused.

A ledger beside those of the runs, ``<home>/service/ledger``. A run that its owner would rather not have had
is named here before its command starts, so that none vanishes without leaving its name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from ...core.canonical import Json
from ...core.errors import Error
from ...ledger.entry import Entry
from ...ledger.files import write_private
from ...ledger.journal import FILE_NAME as JOURNAL
from ...ledger.keys import KEY_NAME, SigningKey
from ...ledger.reader import Reader
from ...ledger.store import Ledger

KIND = "service"
NAME = "service"
REFUSED_EVERY = 60.0
"""Seconds between two entries of what one account was refused: the second one counts the others."""
MAX_ACCOUNTS = 10_000


class ServiceLog:
    """Appends what the service did; each entry is durable when the call returns."""

    def __init__(self, home: Path, signer: SigningKey) -> None:
        """Raises UsageError while another service has this home, EvidenceError when it cannot be written."""
        self._folder = home / NAME
        self._refused: dict[int, tuple[float, int]] = {}
        folder = self._folder / "ledger"
        if (folder / JOURNAL).exists():
            self._ledger = Ledger.open(folder, signer)
            self.ended_before = _last_event(folder)
        else:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ledger = Ledger.create(folder, f"{KEY_NAME}/{NAME}", signer)
            write_private(self._folder / "ledger.vkey", signer.verifier.vkey.encode() + b"\n")
            self.ended_before = ""

    def say(self, event: str, **about: Json) -> None:
        """One entry. Raises EvidenceError when the disk refuses."""
        body: Mapping[str, Json] = {"event": event, "at": time.time_ns(), **about}
        self._ledger.append(Entry(KIND, dict(body)).encode())
        self._ledger.commit(publish=True)

    def refused(self, uid: int, what: str) -> None:
        """Something was refused to an account: an entry, though not one for each of a flood."""
        now = time.monotonic()
        said, more = self._refused.get(uid, (-REFUSED_EVERY, 0))
        if now - said < REFUSED_EVERY or (uid not in self._refused and len(self._refused) >= MAX_ACCOUNTS):
            self._refused[uid] = said, more + 1
            return
        self._refused[uid] = now, 0
        self.say("refused", uid=uid, what=what[:300], more=more)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()


def events(home: Path) -> list[dict[str, Json]]:
    """Everything that the service of this home recorded, oldest first. Raises EvidenceError."""
    with Reader(home / NAME / "ledger") as reader:
        return [Entry.decode(data).body for data in reader.entries()]


def _last_event(folder: Path) -> str:
    """What the last entry says, ``unreadable`` when it cannot be told."""
    try:
        with Reader(folder) as reader:
            last = list(reader.entries(max(0, reader.size - 1), reader.size))
            return str(Entry.decode(last[0]).body.get("event")) if last else ""
    except Error:
        return "unreadable"
