"""Streams of compressed data, unpacked through a window: no more than a megabyte of either side is held."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from ...core.errors import EvidenceError
from ..artifact.input import Input

PACKED_WINDOW = 64 << 10
UNPACKED_WINDOW = 1 << 20
SMALL_STEP = 1 << 10
"""No reader that is known unpacks by smaller steps than four times this."""
MAX_DICTIONARY = 128 << 20
"""Bytes of memory that an LZMA stream may ask for."""


class Unpacker(Protocol):
    """One compressed stream, in the manner of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended by its own account."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What was handed in beyond the stream's end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """What comes out, ``max_length`` bytes at most."""
        ...


class Deflated:
    """zlib's decompressor in that manner. ``wbits`` as in zlib: -15 is bare deflate, 15 zlib, 31 gzip."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self._full = False

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""
        return not (self._stream.eof or self._stream.unconsumed_tail or self._full)

    @property
    def unused_data(self) -> bytes:
        """What lies beyond the end."""
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """What comes out of what was left over and of ``data``."""
        out = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        # A full window may mean that zlib holds more, without any input left.
        self._full = len(out) == max_length
        return out


_BAD: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError)


class _Damaged(Exception):  # noqa: N818 - where a stream breaks, before it is known what was lost by it
    """The stream cannot be unpacked any further."""


class Stream:
    """One compressed stream in ``whole`` between two offsets.

    ``stopped``: the offset up to which it took the input, once ``chunks`` has run to its end. ``ended``: the
    stream said that it was over, so that ``stopped`` is its end.
    """

    def __init__(self, whole: Input, at: int, end: int, make: Callable[[], Unpacker]) -> None:
        """``make``: a new unpacker for this stream."""
        self._whole = whole
        self._at = at
        self._end = min(end, whole.size)
        self._make = make
        self.stopped = at
        self.ended = False

    def chunks(self) -> Iterator[bytes]:
        """What comes out, in order. Raises EvidenceError where the stream is damaged or cut off."""
        done = 0
        try:
            for out in self._run(self._make()):
                done += len(out)
                yield out
        except _Damaged as error:
            yield from self._before_damage(done)
            raise EvidenceError(
                f"its compressed data are damaged: {error.__cause__}", where=self._whole.name
            ) from error

    def _before_damage(self, done: int) -> Iterator[bytes]:
        """What came out of the step that failed: a reader that asks for less at a time has got it by then."""
        try:
            for out in self._run(self._make(), done):
                done -= len(out)
                if done < 0:
                    yield out
        except _Damaged:
            return

    def _run(self, unpacker: Unpacker, quick: int | None = None) -> Iterator[bytes]:
        """All that comes out; by large steps, or by large ones for ``quick`` bytes and then by small ones."""
        at = self._at
        count = 0
        while not unpacker.eof:
            data = b""
            if unpacker.needs_input:
                data = self._whole.read(at, min(PACKED_WINDOW, self._end - at))
                if not data:
                    self.stopped = at
                    raise EvidenceError(
                        "its compressed data are cut off",
                        where=self._whole.name,
                        remedy="fetch the file again",
                    )
                at += len(data)
            small = quick is not None and count >= quick
            try:
                out = unpacker.decompress(data, SMALL_STEP if small else UNPACKED_WINDOW)
            except _BAD as error:
                self.stopped = at
                raise _Damaged from error
            count += len(out)
            if out:
                yield out
        self.stopped = at - len(unpacker.unused_data)
        self.ended = True


def deflate() -> Unpacker:
    """Bare deflate, as in zip."""
    return Deflated(-zlib.MAX_WBITS)


def bzip2() -> Unpacker:
    """One bzip2 stream."""
    return bz2.BZ2Decompressor()


def xz() -> Unpacker:
    """One xz stream, with bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)


def lzma_alone() -> Unpacker:
    """The format of before xz, with bounded memory."""
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MAX_DICTIONARY)


def lzma_raw(properties: bytes) -> Unpacker:
    """LZMA without a container; five bytes of properties as 7-Zip and zip write them.

    Raises EvidenceError when they are no such thing or ask for more memory than is given.
    """
    size = int.from_bytes(properties[1:5], "little")
    if len(properties) != 5 or properties[0] >= 9 * 5 * 5 or size > MAX_DICTIONARY:
        raise EvidenceError("its LZMA properties are not valid, or ask for too much memory")
    rest, literal = divmod(properties[0], 9)
    position, literal_position = divmod(rest, 5)
    one = {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": literal, "lp": literal_position}
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{**one, "pb": position}])
    except (lzma.LZMAError, ValueError) as error:
        raise EvidenceError(f"its LZMA properties are not valid: {error}") from error
