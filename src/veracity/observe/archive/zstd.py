"""Zstandard, where it can be unpacked: with Python 3.14 or the package ``backports.zstd``."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import ClassVar

from ...core.errors import EvidenceError
from ..artifact.input import Input
from .compressed import CompressedReader
from .unpacking import MAX_DICTIONARY, Stream, Unpacker

MAGIC = b"\x28\xb5\x2f\xfd"
_NAME = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def zstandard() -> Unpacker:
    """One frame, with bounded memory; raises EvidenceError where nothing can unpack it."""
    module = _module()
    if module is None:
        raise EvidenceError(
            "is packed with Zstandard, which needs a package to be unpacked",
            remedy="install veracity[archives]",
        )
    return _Frame(module)


def skip_frames(whole: Input, at: int) -> int:
    """Where the first frame stands that is not to be skipped; Zstandard and LZ4 have these in common."""
    while True:
        head = whole.read(at, 8)
        if len(head) < 8 or head[1:4] != b"\x2a\x4d\x18" or head[0] >> 4 != 5:
            return at
        at += 8 + int.from_bytes(head[4:8], "little")


class ZstdReader(CompressedReader):
    """Zstandard: frames in a row."""

    name: ClassVar[str] = "zstd"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature of the first frame, behind those to be skipped."""
        if head[:4] == MAGIC:
            return True
        at = skip_frames(whole, 0) if head[1:4] == b"\x2a\x4d\x18" else 0
        return at > 0 and whole.read(at, 4) == MAGIC

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """The next frame."""
        return super().open_at(whole, skip_frames(whole, at))

    def unpacker(self) -> Unpacker:
        """One frame."""
        return zstandard()


def _module() -> ModuleType | None:
    try:
        return importlib.import_module(_NAME)
    except ImportError:
        return None


class _Frame:
    """The library's decompressor, whose error is its own."""

    def __init__(self, module: ModuleType) -> None:
        window = MAX_DICTIONARY.bit_length() - 1
        self._error: type[Exception] = module.ZstdError
        self._frame: Unpacker = module.ZstdDecompressor(
            options={module.DecompressionParameter.window_log_max: window}
        )

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""
        return self._frame.needs_input

    @property
    def unused_data(self) -> bytes:
        """What lies beyond the end."""
        return self._frame.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """What comes out; raises ValueError for what is damaged."""
        try:
            return self._frame.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error
