"""Which directories an archive may be taken to have: readers look for its end, and go on in different ways.

CPython's ``zipfile`` takes the last end record, and the directory right before it; offsets in it count from
where the archive must begin then. miniz, which torch uses, takes the directory at the offset told, and
offsets from the beginning of the file. Others ask for an end record whose comment ends with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ....core.errors import EvidenceError, ResourceLimitError
from ...artifact.budget import Budget
from ...artifact.input import Input
from .structures import CENTRAL, END, END_SIZE, Central, End, central_at, end_at

TAIL = (1 << 16) + END_SIZE
"""Bytes from the end in which readers look for an end record: the longest comment, and the record."""
MAX_DIRECTORY = 64 << 20
MAX_ENDS = 256


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of ``start`` to ``upto``, and the end that led to it.

    ``bases``: what has to be added to the offsets in it, the likelier first. ``records`` as many as there
    are, one after the other; ``told`` as many as the end says.
    """

    start: int
    upto: int
    end: End
    bases: tuple[int, ...]
    records: tuple[Central, ...]
    told: int


def may_be_zip(head: bytes, whole: Input) -> bool:
    """Whether there is an end that leads to a directory, or a member at the beginning."""
    if head[:2] == b"PK" and head[2:4] in (b"\x03\x04", b"\x05\x06", b"\x07\x08", b"\x06\x06", b"\x01\x02"):
        return True
    if head[:8] == b"PK00PK\x03\x04":
        return True
    try:
        tail_at, tail = tail_of(whole)
        return any(_places(whole, one) for at in places_of_ends(tail, tail_at) for one in _told(whole, at))
    except EvidenceError:
        return False


def tail_of(whole: Input) -> tuple[int, bytes]:
    """The part at the end in which an end record may stand, and where it begins."""
    at = max(0, whole.size - TAIL)
    return at, whole.read(at, TAIL)


def places_of_ends(tail: bytes, tail_at: int) -> list[int]:
    """Where end records stand, the last one first; raises ResourceLimitError when they are too many."""
    found: list[int] = []
    at = tail.rfind(END)
    while at >= 0:
        if len(tail) - at >= END_SIZE:
            found.append(tail_at + at)
        if len(found) > MAX_ENDS:
            raise ResourceLimitError(f"has more than {MAX_ENDS} end records")
        at = tail.rfind(END, 0, at)
    return found


def _told(whole: Input, at: int) -> list[End]:
    return list(end_at(whole, whole.read(at, END_SIZE), at, at))


def preferred(whole: Input, ends: list[int]) -> list[int]:
    """Those that some reader takes: the last one, and those whose comment ends with the file."""
    return [at for at in ends if at == ends[0] or any(one.upto == whole.size for one in _told(whole, at))]


def directories(whole: Input, ends: Iterable[int], budget: Budget) -> Iterator[Directory]:
    """Each directory that one of the ends leads to, once.

    Numbers of disks are not looked at: zipfile does not either, and of an archive in parts members are
    missing.
    """
    seen: set[tuple[int, int]] = set()
    for at in ends:
        for end in _told(whole, at):
            for start in _places(whole, end):
                base = start - end.offset
                if (start, base) in seen:
                    continue
                seen.add((start, base))
                yield _directory(whole, end, start, base, budget)


def _places(whole: Input, end: End) -> list[int]:
    """Where the directory of an end may begin; none where no record of one stands."""
    places = dict.fromkeys((end.at - end.size, end.offset) if end.adjacent else (end.offset,))
    if end.records == 0 and end.size == 0:
        return [end.at]
    return [at for at in places if 0 <= at < end.at and whole.read(at, 4) == CENTRAL]


def _directory(whole: Input, end: End, start: int, base: int, budget: Budget) -> Directory:
    length = min(end.at, whole.size) - start
    if length > MAX_DIRECTORY:
        raise ResourceLimitError(f"has a directory of more than {MAX_DIRECTORY >> 20} MB", where=whole.name)
    data = whole.read(start, length)
    records = []
    at = 0
    while (found := central_at(data, at)) is not None:
        budget.spend_members(1, whole.name)
        records.append(found[0])
        at = found[1]
    bases = (base,) if base == 0 else (base, 0)
    return Directory(start, start + min(at, length), end, bases, tuple(records), end.records)
