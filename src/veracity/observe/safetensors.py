"""safetensors files by the rules of the format's own reader.

Each broken rule of the header (:mod:`safetensorsheader`) is a fact. Bytes between the tensors and behind them
are read like files of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

from ..core.observation import FormatRuleBroken, Observation
from ..core.origin import monitor_origin
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested
from .safetensorsheader import MAX_BROKEN, BrokenRule, Header, begins_header, read_header


class SafetensorsReader:
    """Files of safetensors."""

    name: ClassVar[str] = "safetensors"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether a header may begin here."""
        return begins_header(head)

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """Broken rules, and what lies outside of all tensors; raises EvidenceError when it is cut off."""
        header = read_header(whole)
        origin = monitor_origin(time.time_ns(), source="scan")
        for number, one in enumerate(_broken(header, whole, budget)):
            if number >= MAX_BROKEN:
                continue
            yield FormatRuleBroken(origin, whole.name, "safetensors", one.effect, one.what)
            if one.end > one.start:
                begin = header.begin + one.start
                yield Nested(whole.part(f"bytes {begin}", begin, one.end - one.start))


def _broken(header: Header, whole: Input, budget: Budget) -> Iterator[BrokenRule]:
    yield from header.broken
    budget.spend_members(len(header.tensors), whole.name)
    yield from header.misplaced(whole)
