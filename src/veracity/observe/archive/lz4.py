"""LZ4 frames, where the package ``lz4`` is installed; joblib writes them."""

from __future__ import annotations

import importlib
from typing import ClassVar

from ...core.errors import EvidenceError
from ..artifact.input import Input
from .compressed import CompressedReader
from .unpacking import Stream, Unpacker
from .zstd import skip_frames

MAGIC = b"\x04\x22\x4d\x18"
LEGACY = b"\x02\x21\x4c\x18"


class Lz4Reader(CompressedReader):
    """LZ4: frames in a row."""

    name: ClassVar[str] = "lz4"

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature of the first frame, behind those to be skipped."""
        if head[:4] in (MAGIC, LEGACY):
            return True
        at = skip_frames(whole, 0) if head[1:4] == b"\x2a\x4d\x18" else 0
        return at > 0 and whole.read(at, 4) == MAGIC

    def open_at(self, whole: Input, at: int) -> Stream | None:
        """The next frame."""
        at = skip_frames(whole, at)
        if whole.read(at, 4) == LEGACY:
            raise EvidenceError(
                "is packed in the legacy format of lz4", where=whole.name, remedy="unpack it with lz4 -d"
            )
        return super().open_at(whole, at)

    def unpacker(self) -> Unpacker:
        """One frame; raises EvidenceError where nothing can unpack it."""
        try:
            module = importlib.import_module("lz4.frame")
        except ImportError as error:
            raise EvidenceError(
                "is packed with LZ4, which needs a package to be unpacked",
                remedy="install veracity[archives]",
            ) from error
        return _Frame(module.LZ4FrameDecompressor())


class _Frame:
    """The library's decompressor, whose error is a RuntimeError."""

    def __init__(self, frame: Unpacker) -> None:
        self._frame = frame

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
        return self._frame.unused_data or b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """What comes out; raises ValueError for what is damaged."""
        try:
            return self._frame.decompress(data, max_length)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
