"""Unpacks a folder of a 7z archive: a chain of coders that the standard library has."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from functools import partial
from typing import TypedDict

from ....core.errors import EvidenceError
from ...artifact.input import WINDOW, Input
from ..unpacking import MAX_DICTIONARY, Stream, Unpacker, bzip2, deflate, lzma_raw
from ..zstd import zstandard
from .structures import Coder, Folder

_COPY, _LZMA, _LZMA2, _BZIP2, _DEFLATE = b"\x00", b"\x03\x01\x01", b"\x21", b"\x04\x02\x02", b"\x04\x01\x08"
_ZSTD = b"\x04\xf7\x11\x01"
_ENCRYPTED = b"\x06\xf1\x07\x01"
_DELTA = b"\x03"
_BRANCHES = {
    b"\x04": lzma.FILTER_X86, b"\x05": lzma.FILTER_POWERPC, b"\x06": lzma.FILTER_IA64,
    b"\x07": lzma.FILTER_ARM, b"\x08": lzma.FILTER_ARMTHUMB, b"\x09": lzma.FILTER_SPARC,
    b"\x03\x03\x01\x03": lzma.FILTER_X86, b"\x03\x03\x02\x05": lzma.FILTER_POWERPC,
    b"\x03\x03\x04\x01": lzma.FILTER_IA64, b"\x03\x03\x05\x01": lzma.FILTER_ARM,
    b"\x03\x03\x07\x01": lzma.FILTER_ARMTHUMB, b"\x03\x03\x08\x05": lzma.FILTER_SPARC,
}  # fmt: skip


class _Filter(TypedDict, total=False):
    id: int
    dict_size: int
    dist: int


def unpack_folder(whole: Input, folder: Folder, at: int, packed: int, size: int) -> Iterator[bytes]:
    """What comes out of a folder whose ``packed`` bytes begin at ``at``, ``size`` bytes at most.

    Raises EvidenceError for what is damaged, encrypted or packed by a coder that is not had.
    """
    chain = _chain(whole, folder)
    if any(one.method == _ENCRYPTED for one in chain):
        raise EvidenceError("is encrypted", where=whole.name, remedy="unpack it and scan what comes out")
    left = size
    for chunk in _chunks(whole, chain, at, packed):
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return
    if left > 0:
        raise EvidenceError("unpacks to less than its header says", where=whole.name)


def _chain(whole: Input, folder: Folder) -> list[Coder]:
    """Coders in the order in which data pass them; raises EvidenceError when they branch."""
    if len(folder.packed) != 1 or any(one.inputs != 1 for one in folder.coders):
        raise EvidenceError(
            "is packed in several streams at once (BCJ2)",
            where=whole.name,
            remedy="unpack it and scan what comes out",
        )
    fed_by = {output: given for given, output in folder.binds}
    index: int | None = folder.packed[0]
    found: list[Coder] = []
    while index is not None and index < len(folder.coders) and len(found) < len(folder.coders):
        found.append(folder.coders[index])
        index = fed_by.get(index)
    return found


def _chunks(whole: Input, chain: list[Coder], at: int, packed: int) -> Iterator[bytes]:
    first, *rest = chain
    if first.method == _COPY and not rest:
        part = whole.part("", at, packed)
        yield from part.windows(WINDOW)
        if part.size < packed:
            raise EvidenceError("is cut off", where=whole.name, remedy="fetch the file again")
        return
    stream = Stream(whole, at, at + packed, partial(_unpacker, whole, first, rest))
    yield from stream.chunks()


def _unpacker(whole: Input, first: Coder, rest: list[Coder]) -> Unpacker:
    if first.method == _LZMA and not rest:
        return lzma_raw(first.properties)
    if first.method == _LZMA2:
        filters: list[_Filter] = [*map(_filter_of, reversed(rest)), _lzma2(first)]
        if all(filters):
            try:
                return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
            except (lzma.LZMAError, ValueError) as error:
                raise EvidenceError(f"its properties are not valid: {error}", where=whole.name) from error
    makers = {_BZIP2: bzip2, _DEFLATE: deflate, _ZSTD: zstandard}
    if first.method in makers and not rest:
        return makers[first.method]()
    names = " and ".join(one.method.hex() for one in (first, *rest))
    raise EvidenceError(
        f"is packed by coders that cannot be unpacked here ({names})",
        where=whole.name,
        remedy="unpack it and scan what comes out",
    )


def _filter_of(coder: Coder) -> _Filter:
    """A filter behind LZMA2; empty when it is none that is had."""
    if coder.method == _DELTA:
        return {"id": lzma.FILTER_DELTA, "dist": (coder.properties or b"\0")[0] + 1}
    return {"id": _BRANCHES[coder.method]} if coder.method in _BRANCHES else {}


def _lzma2(coder: Coder) -> _Filter:
    bits = coder.properties[0] if coder.properties else 255
    size = (2 | bits & 1) << (bits // 2 + 11) if bits < 40 else 1 << 32
    if size > MAX_DICTIONARY:
        raise EvidenceError("its LZMA properties are not valid, or ask for too much memory")
    return {"id": lzma.FILTER_LZMA2, "dict_size": size}
