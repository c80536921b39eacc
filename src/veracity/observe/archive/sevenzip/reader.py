"""7z archives: each folder is unpacked when its turn comes, and its files are windows of what comes out."""

from __future__ import annotations

import stat
import struct
import time
import zlib
from collections.abc import Iterator
from functools import partial
from typing import ClassVar

from ....core.errors import EvidenceError, ResourceLimitError
from ....core.observation import ArchiveOdd, ArchiveRead, Oddity, OddMember
from ....core.origin import monitor_origin
from ...artifact.budget import Budget
from ...artifact.input import Input
from ...artifact.reading import Found, Nested, Packed
from ...artifact.spool import Spool
from ..names import leads_outside, link_leads_outside, odd_link, shown
from ..oddities import Oddities
from .coders import unpack_folder
from .structures import Cursor, Folder, Names, Streams, parse_header

MAGIC = b"7z\xbc\xaf\x27\x1c"
MAX_HEADER = 64 << 20
MAX_ENCODED = 4
"""Headers in headers."""
MAX_TARGET = 4096
_START = struct.Struct("<6s2BI2QI")


class SevenZipReader:
    """Reads 7z archives, behind a program that unpacks them, too."""

    name: ClassVar[str] = "7z"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature, at the beginning or soon behind it."""
        return MAGIC in head

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """All files."""
        at = whole.read(0, 1 << 12).find(MAGIC)
        archive = Input(whole.name, whole.source, whole.start + at, whole.size - at, whole.depth)
        yield from _Reading(archive, budget, at).run()


class _Reading:
    """One archive; ``archive`` begins with its signature."""

    def __init__(self, archive: Input, budget: Budget, before: int) -> None:
        self._archive = archive
        self._budget = budget
        self._before = before
        self._origin = monitor_origin(time.time_ns(), source="scan")

    def run(self) -> Iterator[Found]:
        archive = self._archive
        start = archive.read(0, _START.size)
        if len(start) < _START.size:
            raise EvidenceError("is cut off", where=archive.name, remedy="fetch the file again")
        _, _, _, _, offset, size, _ = _START.unpack(start)
        if size == 0:
            return
        streams, names = self._header(_START.size + offset, size)
        self._budget.spend_members(max(len(names.names), len(streams.folders)), archive.name)
        held = [index for index, one in enumerate(names.with_data) if one]
        yield self._told(names, archive.size - _START.size - offset - size)
        yield from self._judged(names)
        at = _START.size + streams.at
        packed = iter(streams.packed)
        first = 0
        for folder, files in zip(streams.folders, streams.files, strict=False):
            sizes = [next(packed, 0) for _ in folder.packed]
            indices = held[first : first + len(files)]
            first += len(files)
            unpack = partial(self._folder, folder, at, sum(sizes), files, [*indices], names)
            name = shown(names.names[indices[0]]) if indices else "data"
            yield Packed(f"{archive.name}!{name}", archive.depth + 1, unpack)
            at += sum(sizes)

    def _header(self, at: int, size: int) -> tuple[Streams, Names]:
        """Parse the header, unpacking it as often as it is packed."""
        archive = self._archive
        if size > MAX_HEADER:
            raise ResourceLimitError(f"has a header of more than {MAX_HEADER >> 20} MB", where=archive.name)
        data = archive.read(at, size)
        if len(data) < size:
            raise EvidenceError("is cut off", where=archive.name, remedy="fetch the file again")
        for _ in range(MAX_ENCODED):
            streams, names, encoded = parse_header(Cursor(data, archive.name))
            if not encoded:
                return streams, names
            data = self._unpacked_header(streams)
        raise ResourceLimitError(f"has a header packed more than {MAX_ENCODED} times", where=archive.name)

    def _unpacked_header(self, streams: Streams) -> bytes:
        archive = self._archive
        if not streams.folders or not streams.files or not streams.files[0]:
            raise EvidenceError("its header is damaged", where=archive.name)
        size = sum(size for size, _ in streams.files[0])
        if size > MAX_HEADER:
            raise ResourceLimitError(f"has a header of more than {MAX_HEADER >> 20} MB", where=archive.name)
        self._budget.spend_unpacked(size, archive.name)
        at = _START.size + streams.at
        chunks = unpack_folder(archive, streams.folders[0], at, sum(streams.packed[:1]), size)
        return b"".join(chunks)

    def _told(self, names: Names, after: int) -> ArchiveRead:
        count = len(names.names)
        return ArchiveRead(
            self._origin, self._archive.name, SevenZipReader.name, "", count, self._before, 0, max(0, after)
        )

    def _judged(self, names: Names) -> Iterator[ArchiveOdd]:
        oddities = Oddities()
        for name in names.names:
            outside = leads_outside(name)
            if outside is not None:
                oddities.note(outside, name)
        return oddities.observations(self._origin, self._archive.name, SevenZipReader.name, "")

    def _folder(
        self,
        folder: Folder,
        at: int,
        packed: int,
        files: list[tuple[int, int | None]],
        indices: list[int],
        names: Names,
        budget: Budget,
    ) -> Iterator[Found]:
        """Unpack one folder and nest the files in it."""
        archive = self._archive
        spool = Spool(budget, archive.name)
        size = sum(size for size, _ in files)
        source = spool.take(unpack_folder(archive, folder, at, packed, size))
        start = 0
        for place, (length, checksum) in enumerate(files):
            index = indices[place] if place < len(indices) else -1
            raw_name = names.names[index] if index >= 0 else f"{place}"
            inner = Input(
                f"{archive.name}!{shown(raw_name)}", source, start,
                max(0, min(length, source.size - start)), archive.depth + 1,
            )  # fmt: skip
            start += length
            if inner.size == length and checksum is not None:
                yield from self._checked(inner, checksum, raw_name)
            mode = names.modes[index] if index >= 0 else 0
            if stat.S_ISLNK(mode):
                yield from self._link(inner, raw_name)
            if inner.size:
                yield Nested(inner)
        if spool.error is not None:
            raise spool.error

    def _checked(self, inner: Input, checksum: int, name: str) -> Iterator[ArchiveOdd]:
        computed = 0
        for window in inner.windows():
            computed = zlib.crc32(window, computed)
        if computed != checksum:
            yield self._odd(Oddity.CHECKSUM, name, f"{checksum:08x}", f"{computed:08x}")

    def _link(self, inner: Input, name: str) -> Iterator[ArchiveOdd]:
        target = inner.read(0, MAX_TARGET).decode("utf-8", "surrogateescape")
        if link_leads_outside(name, target):
            yield self._odd(odd_link(name), name, shown(target), "")

    def _odd(self, oddity: Oddity, name: str, first: str, second: str) -> ArchiveOdd:
        one = OddMember(shown(name), first, second)
        return ArchiveOdd(self._origin, self._archive.name, SevenZipReader.name, "", oddity, 1, (one,))
