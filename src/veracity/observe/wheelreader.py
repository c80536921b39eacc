"""Wheels at the gate, known by the files in their archive that describe a distribution."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import ClassVar

from ..core.errors import EvidenceError
from ..core.observation import Observation
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested

MAX_DIRECTORY = 64 << 20
_END = b"PK\5\6"
_INFO = re.compile(rb"[^/\0]{1,200}\.dist-info/(RECORD|WHEEL|METADATA)")


class WheelReader:
    """Archives with the description of a distribution in them."""

    name: ClassVar[str] = "wheel"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether the directory of a zip archive names the files that make a wheel."""
        if not head.startswith(b"PK"):
            return False
        try:
            return len({found[1] for found in _INFO.finditer(_directory(whole))}) > 1
        except EvidenceError:
            return False

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """The comparison; raises EvidenceError when it cannot be read, ResourceLimitError at a bound."""
        # Few files are wheels, and each start of the command would pay for what reads them.
        from .wheelcompared import compared

        yield compared(whole, budget)


def _directory(whole: Input) -> bytes:
    """The central directory, as its end says where it lies; empty when it is not there or too large."""
    tail = whole.read(max(0, whole.size - 65_557), 65_557)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        return b""
    size, start = struct.unpack("<II", tail[at + 12 : at + 20])
    end = whole.size - len(tail) + at
    return whole.read(max(0, min(start, end - size)), min(size, MAX_DIRECTORY))
