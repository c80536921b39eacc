"""What the kernel says an open file holds (fs-verity): a digest that it checks at each read of each block.

A file with fs-verity cannot be written any more, by nobody; replaced, it is another file with another
measurement or none. See ``Documentation/filesystems/fsverity.rst`` of Linux, ``FS_IOC_MEASURE_VERITY``.
"""

from __future__ import annotations

import fcntl
import struct

MEASURE_VERITY = 0xC0046686
"""``_IOWR('f', 134, struct fsverity_digest)``: the same number on all machines that Linux writes so."""
MAX_DIGEST = 64
_HEAD = struct.Struct("=HH")
_ALGORITHMS = {1: ("sha256", 32), 2: ("sha512", 64)}


def measurement_of(handle: int) -> str:
    """``sha256:<hex>`` of an open file that has fs-verity; empty when it has none or cannot have it."""
    buffer = bytearray(_HEAD.pack(0, MAX_DIGEST) + bytes(MAX_DIGEST))
    try:
        fcntl.ioctl(handle, MEASURE_VERITY, buffer)
    except OSError:
        return ""
    algorithm, size = _HEAD.unpack_from(buffer)
    name, length = _ALGORITHMS.get(algorithm, ("", 0))
    if not name or size != length:
        return ""
    return f"{name}:{buffer[_HEAD.size : _HEAD.size + length].hex()}"
