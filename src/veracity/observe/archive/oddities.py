"""Collects what is unusual about one archive: how much of each kind, and a few examples."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.observation import ArchiveOdd, Oddity, OddMember
from ...core.origin import Origin
from .names import shown

MAX_EXAMPLES = 8


class Oddities:
    """What was noticed so far."""

    def __init__(self) -> None:
        self._examples: dict[Oddity, list[OddMember]] = {}
        self._counts: dict[Oddity, int] = {}

    def note(self, oddity: Oddity, member: bytes | str = "", first: object = "", second: object = "") -> None:
        """One more; what differs is shown as text."""
        self._counts[oddity] = self._counts.get(oddity, 0) + 1
        examples = self._examples.setdefault(oddity, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(OddMember(shown(member), _text(first), _text(second)))

    def count(self, oddity: Oddity) -> int:
        """How many of a kind were noticed."""
        return self._counts.get(oddity, 0)

    def observations(self, origin: Origin, name: str, kind: str, layout: str) -> Iterator[ArchiveOdd]:
        """One for each kind, in the order in which they were first noticed."""
        for oddity, examples in self._examples.items():
            yield ArchiveOdd(origin, name, kind, layout, oddity, self._counts[oddity], tuple(examples))


def _text(value: object) -> str:
    return shown(value) if isinstance(value, (bytes, str)) else str(value)
