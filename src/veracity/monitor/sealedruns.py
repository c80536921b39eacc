"""Which runs were started on which seals, and what log of approvals each of them saw.

Read from the first entry of each run's ledger, which is signed and hashed by itself.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.canonical import Json
from ..core.errors import Error
from ..ledger.entry import Entry
from ..ledger.reader import Reader
from ..seal.approvals import Log
from .folder import RunFolder

MAX_RUNS = 10_000
MAX_ASKED = 1000
MAX_HEADS = 50
"""So many of the newest runs are asked at each start which log they saw, until so many have said it."""


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run and the seal it was started on; ``reason`` says why that is not known, empty when it is."""

    run: str
    seal: str
    reason: str = ""


def runs_on(home: Path, digests: Container[str]) -> list[SealedRun]:
    """The newest runs that were started on a seal with one of these digests, and those that cannot say."""
    found = []
    for name in _newest(home, MAX_RUNS):
        try:
            opening = _opening_of(home, name)
        except Error as error:
            found.append(SealedRun(name, "", str(error)))
            continue
        seal = opening.get("seal")
        started = opening.get("refused") is not True
        if started and isinstance(seal, dict) and str(seal.get("digest")) in digests:
            found.append(SealedRun(name, str(seal.get("id"))))
    return found


def check_heads(home: Path, log: Log) -> None:
    """Raise VerificationError when a recent run saw a log of approvals that ``log`` does not continue."""
    known: set[tuple[int, str]] = set()
    said = 0
    for name in _newest(home, MAX_ASKED):
        try:
            seal = _opening_of(home, name).get("seal")
        except Error:
            continue  # what one run's record has lost, another may still say
        head = seal.get("approvals") if isinstance(seal, dict) else None
        size = head.get("size") if isinstance(head, dict) else None
        if isinstance(head, dict) and isinstance(size, int):
            said += 1
            seen = size, str(head.get("root"))
            if seen not in known:
                log.check_continues(*seen, name)
                known.add(seen)
        if said == MAX_HEADS:
            break


def _newest(home: Path, most: int) -> Iterator[str]:
    try:
        names = os.listdir(home / "runs")
    except OSError:
        return
    yield from heapq.nlargest(most, (name for name in names if name.startswith("run-")))


def _opening_of(home: Path, run: str) -> dict[str, Json]:
    """A run's opening entry, which says on what seal it was to be started."""
    with Reader(RunFolder(home / "runs" / run).ledger) as reader:
        opening = next((Entry.decode(data) for data in reader.entries(0, min(1, reader.size))), None)
    return opening.body if opening is not None else {}
