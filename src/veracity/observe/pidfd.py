"""How a process ended, asked of the kernel through the descriptor that was opened while it ran.

``/proc`` holds the status only until the parent reaps the process, which may be within a microsecond.
From Linux 6.15 on the kernel keeps it for whoever has the pidfd (``PIDFD_GET_INFO`` of ``linux/pidfd.h``),
from the reaping on.
"""

from __future__ import annotations

import fcntl
import struct

_INFO = struct.Struct("=QQ11Ii")
"""``struct pidfd_info`` in its first version: mask, control group, ids, exit code."""
_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_EXIT = 1 << 3


def exit_status(pidfd: int) -> int | None:
    """The wait status of the reaped process behind ``pidfd``; None before, and where none is kept."""
    try:
        told = fcntl.ioctl(pidfd, _GET_INFO, _INFO.pack(_EXIT, *[0] * 13))
    except OSError:
        return None
    mask, *_, status = _INFO.unpack(told)
    return int(status) if mask & _EXIT else None
