"""Readers of formats: what one has in common with all others.

A reader *claims* an input by its content, never by its name: it says yes when the format's real reader might
accept these bytes. Several may claim the same bytes; each of them reads, and the worst of what they find
counts, since nobody knows which program will open the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ...core.observation import Observation
from .budget import Budget
from .input import Input

HEAD = 4096
"""Bytes from the beginning that ``claims`` is handed, fewer when there are no more."""


@dataclass(frozen=True, slots=True)
class Nested:
    """Something inside an input that is to be read like a file of its own.

    ``raw``: the container's real reader takes these bytes as plain numbers, as a tensor's storage is. Then
    only readers that know their format by a signature claim them.
    """

    input: Input
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """Something inside an input that has to be unpacked, or checked, before it can be read.

    ``unpack`` is called when its turn comes, so that of all that a container holds one thing at a time is
    unpacked. It may raise what ``Reader.read`` may. ``name`` and ``depth`` as those of an input.
    """

    name: str
    depth: int
    unpack: Callable[[Budget], Iterator[Found]]


Found: TypeAlias = Observation | Nested | Packed
"""What a reader yields."""


class Reader(Protocol):
    """Reads one format: bytes → observations and what is nested. Never judges."""

    @property
    def name(self) -> str:
        """What the format is called, for people: ``pickle``, ``zip``, ``safetensors``."""
        ...

    @property
    def has_signature(self) -> bool:
        """Whether its inputs begin with bytes that plain numbers hardly ever begin with by chance."""
        ...

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether the format's real reader might accept this input. Cheap; never raises on any bytes."""
        ...

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """What there is. Raises EvidenceError where it breaks off, ResourceLimitError where a bound was met;
        what was yielded before stands."""
        ...
