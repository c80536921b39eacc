"""Files that are one compressed stream, or several in a row: gzip, bzip2, xz, LZMA, zlib.

What comes out is one nested input, as the usual readers make it: streams one after the other. What stands
behind the last one is read by itself, since some readers say nothing about it.
"""

from __future__ import annotations

import lzma
import struct
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

from ...core.errors import EvidenceError
from ...core.observation import ArchiveOdd, ArchiveRead, Oddity, OddMember
from ...core.origin import monitor_origin
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Found, Nested
from ..artifact.spool import Spool
from .unpacking import Deflated, Stream, Unpacker, bzip2, deflate, lzma_alone, xz

MAX_STREAMS = 100_000
MAX_FIELD = 1 << 16
LEAST_ASKED = 4096
"""Bytes that readers of compressed files ask for at a time, at least; zipfile's are the least."""
_BLOCKS = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
_Z_LENGTH = len(hex(1 << 64))
_LZMA_HEAD = struct.Struct("<BIQ")


class _Streams:
    """All streams of one file as the chunks that come out; says where the last one ended."""

    def __init__(self, whole: Input, budget: Budget, open_at: Callable[[Input, int], Stream | None]) -> None:
        self.count = 0
        self.stopped = 0
        self._whole = whole
        self._budget = budget
        self._open_at = open_at

    def chunks(self) -> Iterator[bytes]:
        """What comes out; raises EvidenceError where a stream breaks off."""
        at = 0
        while at < self._whole.size and (stream := self._open_at(self._whole, at)) is not None:
            self.count += 1
            if self.count > MAX_STREAMS:
                raise EvidenceError(f"holds more than {MAX_STREAMS:,} streams", where=self._whole.name)
            self._budget.check_time(self._whole.name)
            yield from self._of(stream)
            self.stopped = at = self._behind(stream)

    def _of(self, stream: Stream) -> Iterator[bytes]:
        yield from stream.chunks()

    def _behind(self, stream: Stream) -> int:
        return stream.stopped


class CompressedReader(ABC):
    """What the readers of compressed files have in common."""

    name: ClassVar[str]
    has_signature: ClassVar[bool] = True

    @abstractmethod
    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether a stream begins here."""

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """What comes out, and what stands behind it."""
        streams = self.streams(whole, budget)
        spool = Spool(budget, whole.name)
        source = spool.take(streams.chunks())
        origin = monitor_origin(time.time_ns(), source="scan")
        at = _after_zeros(whole, streams.stopped)
        left = whole.size - at if spool.error is None else 0
        yield ArchiveRead(origin, whole.name, self.name, "", streams.count, 0, 0, left)
        for oddity, first, second in self.odd(streams):
            example = OddMember("", first, second)
            yield ArchiveOdd(origin, whole.name, self.name, "", oddity, 1, (example,))
        if source.size:
            yield Nested(whole.unpacked("unpacked", source))
        if left:
            yield Nested(whole.part("behind", at, left))
        if spool.error is not None:
            raise spool.error

    def streams(self, whole: Input, budget: Budget) -> _Streams:
        """All streams of the file."""
        return _Streams(whole, budget, self.open_at)

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """The stream that begins there, None when none does."""
        if not self.claims(whole.read(at, 1024), whole.part("", at, whole.size - at)):
            return None
        return Stream(whole, at, whole.size, self.unpacker)

    @abstractmethod
    def unpacker(self) -> Unpacker:
        """One for a new stream."""

    def odd(self, streams: _Streams) -> list[tuple[Oddity, str, str]]:
        """What is unusual, once all was read: kind, what was said, what was found."""
        return []


class Bzip2Reader(CompressedReader):
    """bzip2: streams in a row; readers ignore what follows."""

    name: ClassVar[str] = "bzip2"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature of the file and that of its first block."""
        return head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in _BLOCKS

    def unpacker(self) -> Unpacker:
        """One stream."""
        return bzip2()


class XzReader(CompressedReader):
    """xz: streams in a row, with zeros between them."""

    name: ClassVar[str] = "xz"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature."""
        return head[:6] == b"\xfd7zXZ\x00"

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """Zeros in fours may stand before a further stream."""
        at = _after_zeros(whole, at)
        return super().open_at(whole, at) if at < whole.size else None

    def unpacker(self) -> Unpacker:
        """One stream."""
        return xz()


class LzmaReader(CompressedReader):
    """The format of before xz, which has no signature but a header that can hardly be anything else."""

    name: ClassVar[str] = "lzma"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """By a header that can be one, as xz itself tells it, and whether something comes out behind it."""
        if len(head) < 14 or head[13]:
            return False
        properties, dictionary, size = _LZMA_HEAD.unpack_from(head)
        rounded = dictionary == 0xFFFFFFFF or _is_rounded(dictionary)
        possible = size == 0xFFFFFFFFFFFFFFFF or 0 < size < 1 << 38
        if properties >= 225 or not possible or not (rounded or head[:2] == b"\x5d\x00"):
            return False
        try:
            # Without a bound, since no memory is touched so early: what asks for much is one all the same.
            return _begins_well(lzma.LZMADecompressor(lzma.FORMAT_ALONE), head)
        except MemoryError:
            return True

    def unpacker(self) -> Unpacker:
        """One stream."""
        return lzma_alone()


class ZlibReader(CompressedReader):
    """zlib's format: two bytes of header that much may begin with, so the beginning has to unpack.

    joblib reads streams in a row.
    """

    name: ClassVar[str] = "zlib"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the header, and whether something comes out of what follows."""
        return _is_zlib(head)

    def unpacker(self) -> Unpacker:
        """One stream."""
        return Deflated(zlib.MAX_WBITS)


class ZFileReader(CompressedReader):
    """What joblib wrote before 0.9.3 and still reads: ``ZF``, the length in hexadecimal, a zlib stream."""

    name: ClassVar[str] = "zfile"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the two letters, the number, and a stream behind them."""
        return head[:4] == b"ZF0x" and _is_zlib(head[_behind_length(head) :])

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """The one stream that there is."""
        if at:
            return None
        start = _behind_length(whole.read(0, _Z_LENGTH + 3))
        return Stream(whole, start, whole.size, self.unpacker)

    def unpacker(self) -> Unpacker:
        """A zlib stream."""
        return Deflated(zlib.MAX_WBITS)


class GzipReader(CompressedReader):
    """gzip: members in a row, zeros between them.

    The header is read as CPython's ``gzip`` does, which takes more than zlib; checksum and length behind a
    member are compared and do not matter: by then a reader that streams has acted upon the content.
    """

    name: ClassVar[str] = "gzip"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature and the one method there is."""
        return head[:3] == b"\x1f\x8b\x08"

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """The member that begins there, behind zeros perhaps."""
        at = _after_zeros(whole, at)
        if not self.claims(whole.read(at, 3), whole):
            return None
        return Stream(whole, _behind_header(whole, at), whole.size, self.unpacker)

    def unpacker(self) -> Unpacker:
        """What stands behind a member's header."""
        return deflate()

    def streams(self, whole: Input, budget: Budget) -> _Streams:
        """Members, whose checksums are compared."""
        return _Members(whole, budget, self.open_at)

    def odd(self, streams: _Streams) -> list[tuple[Oddity, str, str]]:
        """Members whose content has another checksum or length."""
        return streams.wrong if isinstance(streams, _Members) else []


class _Members(_Streams):
    """Members of a gzip file."""

    def __init__(self, whole: Input, budget: Budget, open_at: Callable[[Input, int], Stream | None]) -> None:
        super().__init__(whole, budget, open_at)
        self.wrong: list[tuple[Oddity, str, str]] = []
        self._sum = 0
        self._size = 0

    def _of(self, stream: Stream) -> Iterator[bytes]:
        self._sum = self._size = 0
        for chunk in stream.chunks():
            self._sum = zlib.crc32(chunk, self._sum)
            self._size += len(chunk)
            yield chunk

    def _behind(self, stream: Stream) -> int:
        trailer = self._whole.read(stream.stopped, 8)
        if len(trailer) < 8:
            raise EvidenceError("its compressed data are cut off", where=self._whole.name)
        checksum, size = struct.unpack("<2I", trailer)
        if checksum != self._sum and not self.wrong:
            self.wrong.append((Oddity.CHECKSUM, f"{checksum:08x}", f"{self._sum:08x}"))
        elif size != self._size & 0xFFFFFFFF and not self.wrong:
            self.wrong.append((Oddity.LENGTH, str(size), str(self._size)))
        return stream.stopped + 8


def _is_zlib(head: bytes) -> bool:
    if len(head) < 3 or head[0] & 0x0F != 8 or head[0] > 0x78:
        return False
    if (head[0] << 8 | head[1]) % 31 or head[1] & 0x20:
        return False
    return _begins_well(Deflated(zlib.MAX_WBITS), head)


def _begins_well(stream: Unpacker, head: bytes) -> bool:
    """Whether a stream gives as much as a reader asks for at least before it breaks, if it does."""
    try:
        return bool(stream.decompress(head, LEAST_ASKED)) or stream.eof
    except (zlib.error, lzma.LZMAError):
        return False


def _behind_length(head: bytes) -> int:
    """Where the data of a z-file begin: older versions wrote one more space."""
    at = 2 + _Z_LENGTH
    return at + 1 if head[at : at + 1] == b" " else at


def _behind_header(whole: Input, at: int) -> int:
    """Where the compressed data of a member begin (RFC 1952, 2.3)."""
    flags = whole.read(at + 3, 1)[:1] or b"\0"
    at += 10
    if flags[0] & 4:
        at += 2 + int.from_bytes(whole.read(at, 2), "little")
    for bit in (8, 16):  # name and comment
        if flags[0] & bit:
            at += _length_to_zero(whole, at)
    return at + (2 if flags[0] & 2 else 0)


def _length_to_zero(whole: Input, at: int) -> int:
    read = 0
    while window := whole.read(at + read, MAX_FIELD):
        found = window.find(b"\0")
        if found >= 0:
            return read + found + 1
        read += len(window)
    raise EvidenceError("its header is cut off", where=whole.name)


def _after_zeros(whole: Input, at: int) -> int:
    """The first byte from ``at`` on that is not zero, or the end."""
    while window := whole.read(at, 1 << 16):
        rest = window.lstrip(b"\0")
        at += len(window) - len(rest)
        if rest:
            break
    return min(at, whole.size)


def _is_rounded(value: int) -> bool:
    """Whether it is 2^n or 2^n + 2^(n-1), and no less than a dictionary is."""
    power = value // 3 if value % 3 == 0 else value
    return value >= 4096 and power & (power - 1) == 0
