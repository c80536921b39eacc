"""``ld.so.cache``: where the loader looks names of libraries up before it looks into its default folders.

It is read, and not ``ld.so.conf``, because it is what the loader reads: folders that were added to the latter
since ``ldconfig`` ran do not count. Both of its formats are known; all of it may be malformed.

Format: glibc's ``sysdeps/generic/dl-cache.h``.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Mapping

from ..core.errors import EvidenceError, ResourceLimitError
from .pyenv import read_small

PLACE = "/etc/ld.so.cache"
MAX_CACHE = 64 << 20
MAX_ENTRIES = 200_000
MAX_PATH = 4096
_OLD, _NEW = b"ld.so-1.7.0", b"glibc-ld.so.cache1.1"
_OLD_ENTRY, _NEW_ENTRY = struct.Struct("=iII"), struct.Struct("=iIIIQ")
_NEW_HEAD = 48
_ORDERS = {2: "little", 3: "big"}


def read_cache(place: str = PLACE) -> Mapping[str, tuple[str, ...]] | str:
    """Name → files of that name in the cache; a sentence where it cannot be read. No cache: no names."""
    if not os.path.lexists(place):
        return {}
    data = read_small(place, MAX_CACHE)
    if data is None:
        return f"{place} cannot be read or is larger than {MAX_CACHE >> 20} MiB"
    try:
        return parse_cache(data)
    except EvidenceError as error:
        return f"{place}: {error}"


def parse_cache(data: bytes) -> dict[str, tuple[str, ...]]:
    """The same from the bytes; raises EvidenceError, or ResourceLimitError for too many entries."""
    begin = 0
    if data.startswith(_OLD):
        count = _number(data, 12)
        begin = -(-(16 + count * _OLD_ENTRY.size) // 8) * 8
        if not data.startswith(_NEW, begin):
            return _named(data, 16, _OLD_ENTRY, count, 16 + count * _OLD_ENTRY.size)
    elif not data.startswith(_NEW):
        raise EvidenceError("it is no cache of the loader")
    if len(data) < begin + _NEW_HEAD:
        raise EvidenceError("it ends within its header")
    order = _ORDERS.get(data[begin + 28] & 3, sys.byteorder)
    if order != sys.byteorder:
        raise EvidenceError(f"it is of a machine of another byte order ({order})")
    return _named(data, begin + _NEW_HEAD, _NEW_ENTRY, _number(data, begin + 20), begin)


def _named(data: bytes, at: int, layout: struct.Struct, count: int, texts: int) -> dict[str, tuple[str, ...]]:
    """Names and files; ``texts``: where the offsets of texts count from."""
    if count > MAX_ENTRIES:
        raise ResourceLimitError(f"it has more than {MAX_ENTRIES:,} entries")
    if len(data) < at + count * layout.size:
        raise EvidenceError("it ends within its entries")
    found: dict[str, list[str]] = {}
    for number in range(count):
        _, name, path, *_ = layout.unpack_from(data, at + number * layout.size)
        found.setdefault(_text(data, texts + name), []).append(_text(data, texts + path))
    return {name: tuple(dict.fromkeys(paths)) for name, paths in found.items()}


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + MAX_PATH)
    if end < 0:
        raise EvidenceError("a text of it does not end")
    return os.fsdecode(data[at:end])


def _number(data: bytes, at: int) -> int:
    if len(data) < at + 4:
        raise EvidenceError("it ends within its header")
    return int(struct.unpack_from("=I", data, at)[0])
