"""All plausible readings of a zip archive brought together: its members, its odd places, what lies between.

Three kinds of reader are followed: those that go by a directory at the end (which of several, ``ends`` says),
those that take the archive from the front, member by member, as it comes out of a pipe, and those that look
for members anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ....core.errors import EvidenceError, ResourceLimitError
from ....core.observation import Oddity
from ...artifact.budget import Budget
from ...artifact.input import WINDOW, Input
from ..oddities import Oddities
from ..unpacking import Stream, deflate
from .ends import Directory, directories, places_of_ends, preferred, tail_of
from .members import DEFLATED, METHODS, Member, Members
from .structures import (
    CENTRAL,
    DESCRIPTOR,
    ENCRYPTED,
    LOCAL,
    Central,
    Local,
    descriptor_size,
    read_local,
)

MAX_DOUBTFUL = 20_000
"""Places in data that look like the beginning of a member and are none."""
_BROADEST = 1 << 10
"""Longest name of a member that is taken for one among other data."""


@dataclass(slots=True)
class Survey:
    """What a zip archive consists of by all readings. Byte counts as in ``ArchiveRead``.

    ``listed``: whether a directory was found.
    """

    members: list[Member] = field(default_factory=list)
    oddities: Oddities = field(default_factory=Oddities)
    directories: list[Directory] = field(default_factory=list)
    before: int = 0
    between: int = 0
    after: int = 0

    @property
    def listed(self) -> bool:
        """Whether there is a directory."""
        return bool(self.directories)


def survey(whole: Input, budget: Budget) -> Survey:
    """Read all records of an archive; raises EvidenceError, ResourceLimitError."""
    return _Surveyor(whole, budget).run()


class _Surveyor:
    def __init__(self, whole: Input, budget: Budget) -> None:
        self._whole = whole
        self._budget = budget
        self._result = Survey()
        self._note = self._result.oddities.note
        self._members = Members()
        self._headers: dict[int, Local | None] = {}
        self._spans: list[tuple[int, int]] = []
        self._taken: list[tuple[int, int, bytes]] = []
        self._walked: set[int] = set()
        self._resumed: list[int] = []
        self._doubtful = 0

    def run(self) -> Survey:
        whole = self._whole
        tail_at, tail = tail_of(whole)
        ends = places_of_ends(tail, tail_at)
        if ends:
            self._follow(preferred(whole, ends))
            # Others count where they are no part of a member: an archive in an archive has an end, too.
            free = _free(self._spans, whole.size)
            self._follow([at for at in ends if any(start <= at < stop for start, stop in free)])
        self._compare_directories()
        for at in self._resumed:
            self._walk(at)
        self._overlaps()
        self._between()
        self._result.members = self._members.all()
        return self._result

    # --- by the directories ----------------------------------------------------------------------

    def _follow(self, ends: Iterable[int]) -> None:
        known = {(one.start, one.bases) for one in self._result.directories}
        for directory in directories(self._whole, ends, self._budget):
            if (directory.start, directory.bases) in known:
                continue
            self._result.directories.append(directory)
            self._spans += [(directory.start, directory.upto), (directory.end.at, directory.end.upto)]
            # Writers without zip64 count modulo 65,536, or write that there are too many.
            if directory.told != 0xFFFF and (len(directory.records) ^ directory.told) & 0xFFFF:
                self._note(Oddity.COUNT, "", directory.told, len(directory.records))
            headers: set[int] = set()
            for record in directory.records:
                at = self._record(record, directory)
                if at in headers:
                    self._note(Oddity.OVERLAP, record.name, "a member before it", record.name)
                elif at is not None:
                    headers.add(at)

    def _record(self, record: Central, directory: Directory) -> int | None:
        """Take a record of a directory in; where its header stands, None when nowhere."""
        local = next(filter(None, (self._local(base + record.header) for base in directory.bases)), None)
        if local is None:
            self._note(Oddity.HEADERLESS, record.name)
            return None
        new = local.at not in self._walked
        self._walked.add(local.at)
        self._members.listed(record, local)
        self._differences(record, local)
        if new:
            self._take(record, local)
        return local.at

    def _take(self, record: Central, local: Local) -> None:
        """The bytes that belong to a listed member."""
        end = local.data + record.packed
        if local.described:
            end += descriptor_size(self._whole, end, record.crc, record.packed, record.size)
        end = min(end, self._whole.size)
        self._spans.append((local.at, end))
        self._taken.append((local.at, end, record.name))

    def _local(self, at: int) -> Local | None:
        if at not in self._headers:
            self._headers[at] = read_local(self._whole, at) if at >= 0 else None
        return self._headers[at]

    def _differences(self, record: Central, local: Local) -> None:
        name = record.name
        if local.name != name:
            self._note(Oddity.NAMES, name, name, local.name)
        elif record.unicode and record.unicode != name and _reads_otherwise(record):
            self._note(Oddity.NAMES, name, name, record.unicode)
        if local.method != record.method:
            self._note(Oddity.METHODS, name, record.method, local.method)
        if (local.flags ^ record.flags) & ENCRYPTED:
            said = ("not encrypted", "encrypted")
            self._note(Oddity.FLAGS, name, said[record.flags & 1], said[local.flags & 1])
        if not local.described:
            if (local.packed, local.size) != (record.packed, record.size):
                first, second = f"{record.packed}/{record.size}", f"{local.packed}/{local.size}"
                self._note(Oddity.SIZES, name, first, second)
                self._resumed.append(local.data + local.packed)
            if local.crc != record.crc:
                self._note(Oddity.CHECKSUMS, name, f"{record.crc:08x}", f"{local.crc:08x}")
        if b"\0" in name or b"\0" in local.name:
            self._note(Oddity.NUL, name)

    # --- what the readings make of each other ----------------------------------------------------

    def _compare_directories(self) -> None:
        found = self._result.directories
        contents = {_content(one) for one in found if one.records}
        if len(contents) > 1:
            numbers = " and ".join(str(len(one.records)) for one in found[:8])
            self._note(Oddity.ENDS, "", f"directories of {numbers} members")
        for directory in found:
            self._names_of(directory)

    def _names_of(self, directory: Directory) -> None:
        by_name: dict[bytes, Central] = {}
        by_fold: dict[bytes, bytes] = {}
        for record in directory.records:
            first = by_name.setdefault(record.name, record)
            if (first.crc, first.size) != (record.crc, record.size):
                self._note(Oddity.TWICE, record.name, f"{first.crc:08x}", f"{record.crc:08x}")
            other = by_fold.setdefault(record.name.lower(), record.name)
            if other != record.name:
                self._note(Oddity.TWINS, record.name, other, record.name)

    def _overlaps(self) -> None:
        last_end, last_name = 0, b""
        for start, end, name in sorted(self._taken):
            if start < last_end:
                self._note(Oddity.OVERLAP, name, last_name, name)
            if end > last_end:
                last_end, last_name = end, name

    # --- from the front, and between -------------------------------------------------------------

    def _between(self) -> None:
        size = self._whole.size
        gaps = _free(self._spans, size)
        for start, stop in gaps:
            used = self._gap(start, stop)
            counted = self._counted(_free(used, stop, start))
            if start == 0 and self._result.listed:
                self._result.before += counted
            elif stop == size:
                self._result.after += counted
            else:
                self._result.between += counted

    def _gap(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Members that no directory lists between two offsets, and the places that they take."""
        used: list[tuple[int, int]] = []
        at = start
        while at < stop:
            local = self._local(at) if at == start or at in self._headers else read_local(self._whole, at)
            front = at == start or (bool(used) and used[-1][1] == at)
            if local is not None and at not in self._walked and self._plausible(local, front=front):
                end = self._unlisted(local, stop, front=front)
                used.append((at, end))
                at = end
            else:
                self._doubtful += local is not None
                if self._doubtful > MAX_DOUBTFUL:
                    raise ResourceLimitError(
                        f"has more than {MAX_DOUBTFUL:,} places that look like the beginning of a member",
                        where=self._whole.name,
                    )
                at = self._find(LOCAL, at + 1, stop)
        return used

    def _walk(self, at: int) -> None:
        """From where a reader from the front stands after a member that it takes for shorter or longer."""
        while at not in self._walked and (local := self._local(at)) is not None:
            at = self._unlisted(local, self._whole.size, front=True)

    def _unlisted(self, local: Local, stop: int, *, front: bool) -> int:
        self._walked.add(local.at)
        self._budget.spend_members(1, self._whole.name)
        packed, is_open = self._extent(local, stop)
        member = self._members.unlisted(local, packed, is_open=is_open)
        if self._result.listed:
            self._note(Oddity.UNLISTED if front else Oddity.CARVED, local.name)
        end = min(member.end, self._whole.size)
        if local.described:
            end += descriptor_size(self._whole, end, 0, packed, 0)
        return max(end, local.data, local.at + 1)

    def _extent(self, local: Local, stop: int) -> tuple[int, bool]:
        """How many bytes an unlisted member takes, and whether that is a guess."""
        if not local.described:
            return local.packed, False
        if local.method == DEFLATED and not local.flags & ENCRYPTED:
            stream = Stream(self._whole, local.data, self._whole.size, deflate)
            try:
                for chunk in stream.chunks():
                    self._budget.spend_unpacked(len(chunk), self._whole.name)
            except ResourceLimitError:
                raise
            except EvidenceError:
                return stream.stopped - local.data, True
            return stream.stopped - local.data, False
        nearest = [self._find(one, local.data, stop) for one in (DESCRIPTOR, LOCAL, CENTRAL)]
        return min(nearest) - local.data, True

    def _plausible(self, local: Local, *, front: bool) -> bool:
        """Whether this is a member, not four bytes that happen to look like the beginning of one."""
        fits = local.described or local.data + local.packed <= self._whole.size or not self._result.listed
        named = 0 < len(local.name) <= _BROADEST and all(one >= 0x20 for one in local.name)
        return local.method in METHODS and fits and (front or named)

    def _find(self, signature: bytes, at: int, stop: int) -> int:
        """Where ``signature`` stands next, ``stop`` when nowhere before."""
        while at < stop:
            self._budget.check_time(self._whole.name)
            window = self._whole.read(at, min(WINDOW, stop - at + 3))
            found = window.find(signature)
            if found >= 0:
                return min(at + found, stop)
            at += max(1, len(window) - 3)
        return stop

    def _counted(self, gaps: Iterable[tuple[int, int]]) -> int:
        """Bytes that are not zero in places that belong to nothing."""
        count = 0
        for start, stop in gaps:
            for at in range(start, stop, WINDOW):
                self._budget.check_time(self._whole.name)
                window = self._whole.read(at, min(WINDOW, stop - at))
                count += len(window) - window.count(0)
        return count


def _content(directory: Directory) -> frozenset[tuple[bytes, int, int]]:
    return frozenset((one.name, one.crc, one.size) for one in directory.records)


def _reads_otherwise(record: Central) -> bool:
    """Whether the second name is another one, not the first in another encoding."""
    second = record.unicode.decode("utf-8", "replace")
    encodings = ("utf-8", "cp437", "cp850", "latin-1")
    if record.name.isascii() or second.isascii():
        return True
    # A name in another code page has other bytes for the same characters, but the same ASCII ones.
    kept = bytes(one for one in record.name if one < 0x80)
    return all(record.name.decode(one, "replace") != second for one in encodings) and (
        kept != second.encode("ascii", "ignore")
    )


def _free(spans: Iterable[tuple[int, int]], stop: int, start: int = 0) -> list[tuple[int, int]]:
    """What ``spans`` leave of the offsets from ``start`` to ``stop``."""
    return list(_gaps(sorted(spans), start, stop))


def _gaps(spans: list[tuple[int, int]], at: int, stop: int) -> Iterator[tuple[int, int]]:
    for start, end in spans:
        if start > at:
            yield at, min(start, stop)
        at = max(at, end)
        if at >= stop:
            return
    if at < stop:
        yield at, stop
