"""``.npy``: the header says what follows, plain numbers or a pickle; ``.npz`` is a zip of these."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import EvidenceError, ResourceLimitError
from ...core.observation import ArrayRead
from ...core.origin import monitor_origin
from ..numpyheader import parse_header
from .budget import Budget
from .input import Input
from .reading import Found, Nested

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 20
"""Bytes; numpy itself takes 10,000 unless it was told to trust the file."""
_SHOWN = 200


class NpyReader:
    """Reads one array, and what stands behind it: several may be saved into one file."""

    name: ClassVar[str] = "npy"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the signature."""
        return head[:6] == MAGIC

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """The header, and the data as what they are."""
        major = whole.read(6, 1)
        width = 2 if major == b"\x01" else 4
        length = whole.read(8, width)
        if len(length) < width or major not in (b"\x01", b"\x02", b"\x03"):
            raise EvidenceError("its header is of no known version, or cut off", where=whole.name)
        size = int.from_bytes(length, "little")
        if size > MAX_HEADER:
            raise ResourceLimitError(f"has a header of more than {MAX_HEADER >> 20} MB", where=whole.name)
        start = 8 + width + size
        text = whole.read(8 + width, size)
        header = parse_header(text.decode("utf-8" if major == b"\x03" else "latin-1", "replace"))
        rest = whole.size - start
        if header is None or len(text) < size:
            # numpy refuses it; others may be laxer.
            yield Nested(whole.part("data", start, rest))
            raise EvidenceError("its header is not that of an array", where=whole.name)
        origin = monitor_origin(time.time_ns(), source="scan")
        shown, objects = repr(header.descr)[:_SHOWN], header.size is None
        yield ArrayRead(origin, whole.name, shown, header.shape[:64], header.fortran, objects)
        if header.size is None:
            yield Nested(whole.part("objects", start, rest))
            return
        yield Nested(whole.part("data", start, header.size), raw=True)
        if header.size < rest:
            yield Nested(whole.part("behind", start + header.size, rest - header.size))
        if header.size > rest:
            raise EvidenceError("its data are cut off", where=whole.name, remedy="fetch the file again")
