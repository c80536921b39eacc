"""Tar archives: members one after the other, by each size that some reader would take for theirs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.errors import EvidenceError, ResourceLimitError
from ....core.observation import ArchiveRead, Oddity
from ....core.origin import monitor_origin
from ....core.quantity import quantity
from ...artifact.budget import Budget
from ...artifact.input import WINDOW, Input
from ...artifact.reading import Found, Nested
from ..names import leads_outside, link_leads_outside, odd_link, shown, through_links
from ..oddities import Oddities
from .headers import (
    BLOCK,
    CHARACTER,
    DEVICE,
    FOLDER,
    HARD_LINK,
    LONG_LINK,
    LONG_NAME,
    PAX,
    PAX_GLOBAL,
    PAX_SUN,
    SPARSE,
    SYMBOLIC_LINK,
    Header,
    gnu_sparse_map,
    pax_records,
    read_header,
)
from .sparse import SparseSource, leading_map, more_pieces, pax_map

MAX_EXTENDED = 4 << 20
"""Bytes of a long name or an extended header."""
_ZEROS = bytes(BLOCK)


class TarReader:
    """Reads tar archives."""

    name: ClassVar[str] = "tar"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By a first block whose checksum fits, or with the magic: GNU tar goes on behind it."""
        return read_header(head[:BLOCK]) is not None or (len(head) >= BLOCK and head[257:262] == b"ustar")

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """All members, also those behind the end."""
        return _Reading(whole, budget).run()


@dataclass(slots=True)
class _Extended:
    """What headers before a member say of it, and those before all members."""

    name: bytes | None = None
    link: bytes | None = None
    pairs: list[tuple[bytes, bytes]] = field(default_factory=list)

    def value(self, *keys: bytes) -> bytes | None:
        """The last value of the first of these keywords that is there."""
        for key in keys:
            for known, value in reversed(self.pairs):
                if known == key:
                    return value
        return None


class _Reading:
    """One archive."""

    def __init__(self, whole: Input, budget: Budget) -> None:
        self._whole = whole
        self._budget = budget
        self._origin = monitor_origin(time.time_ns(), source="scan")
        self._oddities = Oddities()
        self._globals: list[tuple[bytes, bytes]] = []
        self._seen: set[int] = set()
        self._others: list[int] = []
        self._names: list[str] = []
        self._links: dict[str, str] = {}
        self._members = 0
        self._ended = False
        self._between = 0
        self._cut = 0
        self._behind = 0

    def run(self) -> Iterator[Found]:
        yield from self._follow(0)
        while self._others:
            at = self._others.pop()
            if at in self._seen or read_header(self._whole.read(at, BLOCK)) is None:
                continue
            self._oddities.note(Oddity.SIZES, "", "", f"a header at {at:,}")
            yield from self._follow(at)
        yield from self._told()

    def _told(self) -> Iterator[Found]:
        name, kind = self._whole.name, TarReader.name
        for member, link in through_links(self._names, self._links, same=True):
            self._oddities.note(Oddity.THROUGH_LINK, member, link, self._links[link])
        yield ArchiveRead(self._origin, name, kind, "", self._members, 0, self._between, self._behind)
        yield from self._oddities.observations(self._origin, name, kind, "")
        if self._between or self._cut:
            raise EvidenceError(
                f"is cut off in {quantity(self._cut, 'member')}" if self._cut else "has damaged headers",
                where=name,
                remedy="fetch the file again; what could be found in it was read",
            )

    # --- from header to header -------------------------------------------------------------------

    def _follow(self, at: int) -> Iterator[Found]:
        """Members from ``at`` on, to the end of the file: some readers go on behind the archive's end."""
        extended = _Extended()
        while at < self._whole.size and at not in self._seen:
            block = self._whole.read(at, BLOCK)
            if len(block) < BLOCK:
                self._note_rest(block)
                return
            if block == _ZEROS:
                self._ended = True
                at = self._after_zeros(at)
                continue
            header = read_header(block)
            if header is None:
                self._note_rest(block)
                at += BLOCK
                continue
            self._seen.add(at)
            self._budget.spend_members(1, self._whole.name)
            if header.kind in (LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, PAX_SUN):
                at = self._extend(header, extended, at + BLOCK)
                continue
            at = yield from self._member(header, extended, at + BLOCK)
            extended = _Extended()

    def _note_rest(self, block: bytes) -> None:
        """Bytes where a header should be."""
        count = len(block) - block.count(0)
        if self._ended:
            self._behind += count
        else:
            self._between += max(1, count)

    def _after_zeros(self, at: int) -> int:
        while at < self._whole.size:
            self._budget.check_time(self._whole.name)
            window = self._whole.read(at, WINDOW)
            rest = window.lstrip(b"\0")
            if rest:
                return (at + len(window) - len(rest)) // BLOCK * BLOCK
            at += len(window)
        return at

    def _extend(self, header: Header, extended: _Extended, at: int) -> int:
        """Take in a header that is about the next member or about all; where the next block is."""
        if header.size > MAX_EXTENDED:
            raise ResourceLimitError(
                f"has a header of more than {MAX_EXTENDED >> 20} MB", where=self._whole.name
            )
        data = self._whole.read(at, header.size)
        if header.kind == LONG_NAME:
            extended.name = data.split(b"\0", 1)[0]
        elif header.kind == LONG_LINK:
            extended.link = data.split(b"\0", 1)[0]
        else:
            pairs = pax_records(data)
            if pairs is None:
                self._between += 1
            elif header.kind == PAX_GLOBAL:
                self._globals += pairs
            else:
                extended.pairs += pairs
        return at + _blocks(header.size)

    # --- members ---------------------------------------------------------------------------------

    def _member(self, header: Header, extended: _Extended, at: int) -> Generator[Found, None, int]:
        """Nest what a member holds; returns where the next header is."""
        extended.pairs = [*self._globals, *extended.pairs]
        self._members += 1
        name = extended.value(b"GNU.sparse.name", b"path") or extended.name or header.name
        link = extended.value(b"linkpath") or extended.link or header.link
        self._judge_names(header, name, link)
        size = header.size
        told = extended.value(b"size")
        if told is not None and told.isdigit() and len(told) <= 20:
            size = int(told)
            if size != header.size:
                self._others.append(at + _blocks(header.size))
                if header.has_data and header.size:
                    # Who does not know extended headers takes this many bytes.
                    yield Nested(self._whole.part(shown(header.name), at, header.size))
        if self._ended:
            self._oddities.note(Oddity.BEHIND, name)
        if size and (not header.has_data or name.endswith(b"/") or header.name.endswith(b"/")):
            # Some readers step over data of links and folders, and some know none; a file whose name ends
            # with a slash is a folder to some.
            yield Nested(self._whole.part(shown(name), at, size))
            return self._likelier(at, at + _blocks(size))
        if not header.has_data:
            return at
        pieces, data, real = self._sparse(header, extended, at)
        start = data if header.kind == SPARSE else at
        if start + size > self._whole.size:
            self._cut += 1
        if pieces is not None:
            self._budget.spend_unpacked(real, self._whole.name)
            source = SparseSource(self._whole, data, pieces, real)
            yield Nested(self._whole.unpacked(shown(name), source))
        if size:
            yield Nested(self._whole.part(shown(name), start, size))
        return start + _blocks(size)

    def _likelier(self, *places: int) -> int:
        """The first place where a header stands or zeros do; what stands at the others is followed later."""
        for at in places:
            block = self._whole.read(at, BLOCK)
            if block == _ZEROS[: len(block)] or read_header(block) is not None:
                self._others += [other for other in places if other != at]
                return at
        return places[-1]

    def _sparse(
        self, header: Header, extended: _Extended, at: int
    ) -> tuple[list[tuple[int, int]] | None, int, int]:
        """The map of a sparse member, where its pieces begin, and its size; None for any other member."""
        if header.kind == SPARSE:
            pieces, more, real = gnu_sparse_map(header)
            if more:
                further, at = more_pieces(self._whole, at)
                pieces += further
            return pieces, at, max(0, real)
        told = extended.value(b"GNU.sparse.realsize", b"GNU.sparse.size") or b""
        real = int(told) if told.isdigit() and len(told) <= 20 else 0
        if extended.value(b"GNU.sparse.major") == b"1" and extended.value(b"GNU.sparse.minor") == b"0":
            pieces, at = leading_map(self._whole, at)
            return pieces, at, real
        return pax_map(dict(extended.pairs), extended.pairs), at, real

    def _judge_names(self, header: Header, raw: bytes, raw_link: bytes) -> None:
        note = self._oddities.note
        name = raw.decode("utf-8", "surrogateescape")
        link = raw_link.decode("utf-8", "surrogateescape")
        outside = leads_outside(name)
        if outside is not None:
            note(outside, raw)
        if header.kind in (CHARACTER, DEVICE):
            placed = "dev" in name.split("/")[:-1]
            note(Oddity.DEVICE if placed else Oddity.STRAY_DEVICE, raw)
        elif header.kind == SYMBOLIC_LINK:
            if link_leads_outside(name, link):
                note(odd_link(name), raw, link)
                self._links[name] = link
        elif header.kind == HARD_LINK:
            outside = leads_outside(link)
            if outside is not None:
                note(outside, raw, link)
        if header.kind not in (SYMBOLIC_LINK, FOLDER):
            self._names.append(name)


def _blocks(size: int) -> int:
    """``size`` filled up to whole blocks."""
    return (size + BLOCK - 1) // BLOCK * BLOCK
