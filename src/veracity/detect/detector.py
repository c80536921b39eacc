"""The one shape of a detector, static and live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol

from ..core.coverage import Coverage
from ..core.finding import Finding
from ..core.observation import Observation
from ..core.rule import Rule


class Detector(Protocol):
    """A pure judge of observations: no I/O, no clock, no torch; bounded state on ``self``.

    The same object serves live in the monitor, over an old ledger, in the bench and in tests. One detector
    serves all ranks of a run and keeps its state by ``observation.origin.rank`` or ``.pid``.
    """

    rule: ClassVar[Rule]
    takes: ClassVar[tuple[type[Observation], ...]]
    """The kinds of observation it looks at; it is handed no others.

    One that notices lost records by the numbers a guard gives them takes all of :mod:`fromguard`.
    """

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in; yield what it shows. Each finding once, at its first step."""
        ...

    def finish(self) -> Iterator[Finding]:
        """The run is over: yield what only the end can show."""
        ...

    def coverage(self) -> Coverage:
        """How much was checked so far, and what was not and why."""
        ...
