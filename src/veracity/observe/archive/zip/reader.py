"""Zip archives: all that any reader would find in one is nested, with what is unusual about it."""

from __future__ import annotations

import stat
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

from ....core.errors import EvidenceError, ResourceLimitError
from ....core.observation import ArchiveOdd, ArchiveRead, Oddity, OddMember, ScriptCode
from ....core.origin import Origin, monitor_origin
from ....core.quantity import quantity
from ...artifact.budget import Budget
from ...artifact.input import Input
from ...artifact.reading import Found, Nested, Packed
from ...artifact.spool import Spool
from ...torchscript import operators_in_bytecode, operators_in_code
from ..names import leads_outside, link_leads_outside, odd_link, shown, through_links
from ..unpacking import Stream, Unpacker, bzip2, deflate, lzma_raw, xz
from ..zstd import zstandard
from .ends import may_be_zip
from .members import BZIP2, DEFLATED, LZMA, STORED, XZ, ZSTANDARD, Member
from .row import is_row
from .survey import Survey, survey
from .torchlayout import TORCH, TORCHSCRIPT, Layout

MAX_CHECKED = 64 << 20
"""Bytes of a member that is not packed, up to which its checksum is computed."""
MAX_OVERLAPPING = 256 << 20
"""Bytes that are unpacked of an archive whose members share bytes."""
MAX_TARGET = 4096
MAX_SCRIPT = 64 << 20
"""Bytes of code that are read of one member."""
_UNPACKERS = {DEFLATED: deflate, BZIP2: bzip2, XZ: xz, ZSTANDARD: zstandard}
_NAMES = {1: "Shrink", 6: "Implode", 9: "Deflate64", 10: "TERSE", 98: "PPMd", 99: "AES"}


class ZipReader:
    """Reads zip archives, those of torch among them."""

    name: ClassVar[str] = "zip"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By a member at the beginning, or an end that leads to a directory."""
        return may_be_zip(head, whole) and not is_row(whole)

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """All members by all readings."""
        return _Reading(whole, survey(whole, budget), budget).run()


class _Reading:
    """One archive."""

    def __init__(self, whole: Input, found: Survey, budget: Budget) -> None:
        self._whole = whole
        self._found = found
        self._budget = budget
        self._origin: Origin = monitor_origin(time.time_ns(), source="scan")
        names = (name for member in found.members for name in member.names)
        self._layout = Layout.of(names)
        self._unread: dict[str, list[str]] = {}
        self._overlapping = MAX_OVERLAPPING

    def run(self) -> Iterator[Found]:
        found, whole, kind = self._found, self._whole, self._layout.kind
        yield ArchiveRead(
            self._origin, whole.name, ZipReader.name, kind,
            len(found.members), found.before, found.between, found.after,
        )  # fmt: skip
        self._names()
        yield from found.oddities.observations(self._origin, whole.name, ZipReader.name, kind)
        for member in found.members:
            yield from self._member(member)
        self._end()

    def _end(self) -> None:
        """Raise EvidenceError when not everything could be read."""
        headerless = self._found.oddities.count(Oddity.HEADERLESS)
        if headerless:
            self._unread.setdefault("where no member is", []).append(f"{headerless} of the directory")
        if not self._found.listed:
            raise EvidenceError(
                "has no directory at its end: it is cut off, or something follows it",
                where=self._whole.name,
                remedy="fetch the file again; its members were read from the front",
            )
        if self._unread:
            reasons = [
                f"{quantity(len(names), 'member')}: {why} "
                f"({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
                for why, names in self._unread.items()
            ]
            raise EvidenceError(
                "; ".join(reasons), where=self._whole.name, remedy="unpack it and scan what comes out"
            )

    # --- names -----------------------------------------------------------------------------------

    def _names(self) -> None:
        note = self._found.oddities.note
        links: dict[str, str] = {}
        names: list[str] = []
        for member in self._found.members:
            target = self._link(member)
            for raw in member.names:
                name = raw.decode("utf-8", "surrogateescape")
                names.append(name)
                outside = leads_outside(name)
                if outside is not None:
                    note(outside, raw)
                if target is not None and link_leads_outside(name, target):
                    links[name] = target
                    note(odd_link(name), raw, target)
        for name, link in through_links(names, links):
            note(Oddity.THROUGH_LINK, name, link, links[link])

    def _link(self, member: Member) -> str | None:
        """The target of a symbolic link, None when it is none."""
        if not stat.S_ISLNK(member.mode) or member.packed > MAX_TARGET or member.encrypted:
            return None
        if member.method == STORED:
            target = self._whole.read(member.data, member.packed)
        else:
            spool = Spool(self._budget, self._whole.name)
            try:
                stream = self._stream(member)
                target = spool.take(stream.chunks() if stream else ()).read(0, MAX_TARGET)
            except EvidenceError:
                return None  # told when the member itself is read
        return target.decode("utf-8", "surrogateescape")

    # --- members ---------------------------------------------------------------------------------

    def _member(self, member: Member) -> Iterator[Found]:
        if member.packed == 0:
            return
        name = shown(member.names[0])
        if member.encrypted and member.surely:
            self._unread.setdefault("encrypted", []).append(name)
            if member.method != STORED:
                return
        part = self._whole.part(name, member.data, member.packed)
        if part.size < member.packed:
            self._unread.setdefault("cut off", []).append(name)
        raw = self._layout.is_raw(member.names, self._whole.read(member.data, 2))
        if member.method == STORED:
            script = self._layout.script_kind(member.names)
            if raw or (part.size > MAX_CHECKED and not member.surely and not script):
                yield Nested(part, raw)
            else:
                yield Packed(part.name, part.depth, partial(self._stored, part, member))
        elif member.method in _UNPACKERS or member.method == LZMA:
            yield Packed(part.name, part.depth, partial(self._unpack, part, member, raw))
        else:
            method = _NAMES.get(member.method, f"method {member.method}")
            self._unread.setdefault(f"packed with {method}", []).append(name)

    def _stored(self, part: Input, member: Member, budget: Budget) -> Iterator[Found]:
        checksum = 0
        for window in part.windows():
            checksum = zlib.crc32(window, checksum)
            budget.check_time(part.name)
        if member.surely and checksum not in member.checksums:
            return  # it is encrypted; were it not, who minds no flags would read it
        yield from self._content(part, member, checksum, part.size)
        yield Nested(part)
        yield from self._script(part, member)

    def _unpack(self, part: Input, member: Member, raw: bool, budget: Budget) -> Iterator[Found]:
        stream = self._stream(member)
        if stream is None:
            return
        spool = Spool(budget, part.name)
        sum_of = _Checksum()
        source = spool.take(self._allowed(sum_of.over(stream.chunks()), part.name))
        error = spool.error
        # LZMA in a zip may leave out the mark of its end.
        if member.method == LZMA and not stream.ended and spool.size in member.sizes:
            error = None
        if error is None:
            yield from self._content(part, member, sum_of.value, spool.size)
        inner = Input(part.name, source, 0, source.size, part.depth)
        if inner.size:
            yield Nested(inner, raw)
        yield from self._script(inner, member)
        for size in member.sizes:
            if size < inner.size:  # some take no more than is said
                yield Nested(Input(part.name, source, 0, size, part.depth), raw)
        left = member.end - stream.stopped
        if error is None and stream.ended and left > 0:
            yield self._odd(Oddity.LEFT, part.name, f"{member.packed - left}", f"{member.packed}")
            yield Nested(self._whole.part(f"{shown(member.names[0])} (left)", member.end - left, left))
        if error is not None:
            raise error

    def _allowed(self, chunks: Iterator[bytes], where: str) -> Iterator[bytes]:
        """``chunks``, but of an archive whose members overlap only so much: it unpacks to any size."""
        most = f"{MAX_OVERLAPPING >> 20} MB"
        for chunk in chunks:
            if self._found.oddities.count(Oddity.OVERLAP):
                self._overlapping -= len(chunk)
                if self._overlapping < 0:
                    raise ResourceLimitError(
                        f"lies in an archive whose members overlap, and more than {most} came out",
                        where=where,
                    )
            yield chunk

    def _content(self, part: Input, member: Member, checksum: int, size: int) -> Iterator[ArchiveOdd]:
        """Whether content and what is said of it agree."""
        if part.size < member.packed:
            return  # what is cut off is told as that
        said = member.checksums
        # torch leaves checksums out when told so (torch.serialization.set_crc32_options).
        computed = said != {0} or self._layout.kind not in (TORCH, TORCHSCRIPT)
        if said and checksum not in said and computed:
            first = " or ".join(f"{one:08x}" for one in sorted(said))
            yield self._odd(Oddity.CHECKSUM, part.name, first, f"{checksum:08x}")
        if member.sizes and size not in member.sizes:
            first = " or ".join(str(one) for one in sorted(member.sizes))
            yield self._odd(Oddity.LENGTH, part.name, first, str(size))

    def _script(self, inner: Input, member: Member) -> Iterator[ScriptCode]:
        """The operators that a member names when it is code of TorchScript."""
        kind = self._layout.script_kind(member.names)
        if not kind:
            return
        data = inner.whole(MAX_SCRIPT)
        operators = (
            operators_in_bytecode(data)
            if kind == "bytecode"
            else operators_in_code(data.decode("utf-8", "replace"))
        )
        yield ScriptCode(self._origin, inner.name, operators)

    def _odd(self, oddity: Oddity, name: str, first: str, second: str) -> ArchiveOdd:
        """Of one member, noticed when it was read."""
        member = name.removeprefix(f"{self._whole.name}!")
        one = OddMember(member, first, second)
        return ArchiveOdd(
            self._origin, self._whole.name, ZipReader.name, self._layout.kind, oddity, 1, (one,)
        )

    def _stream(self, member: Member) -> Stream | None:
        at = member.data
        make: Callable[[], Unpacker]
        if member.method == LZMA:
            head = self._whole.read(at, 9)
            make = partial(lzma_raw, head[4 : 4 + int.from_bytes(head[2:4], "little")])
            at += 9
        elif member.method in _UNPACKERS:
            make = _UNPACKERS[member.method]
        else:
            return None
        return Stream(self._whole, at, member.end, make)


class _Checksum:
    """The CRC-32 of chunks as they pass."""

    def __init__(self) -> None:
        self.value = 0

    def over(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.value = zlib.crc32(chunk, self.value)
            yield chunk
