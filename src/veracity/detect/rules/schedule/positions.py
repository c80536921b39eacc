"""The position of a scheduler counts its steps, whatever becomes a rate of it.

As with base rates, this is all that can be said of a schedule that is a function of the program's own. Only
torch's own classes are looked at. A chain's position is its last scheduler's; a plateau's counts as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LoaderStarted, SchedulerDeclared, SchedulerStepped, StateRestored
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .formulas import PREFIX

CONFIRMED = 10


@dataclass(slots=True)
class _Position:
    """Where one scheduler stands, and how many steps in a row led there by one."""

    at: int
    steps: int = 0
    own: bool = False


class Positions:
    """Follows the positions of all schedulers, by rank, process and scheduler."""

    def __init__(self, rule: Rule, limit: int) -> None:
        self._rule = rule
        self._limit = limit
        self._positions: dict[tuple[int, int, int], _Position] = {}
        self._passes = NewPasses()
        self._reported: set[tuple[int, int, int, Severity]] = set()

    def declare(self, seen: SchedulerDeclared) -> None:
        """A scheduler of torch's was declared, or declared itself anew after its state was loaded."""
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler.index)
        if seen.scheduler.class_name.startswith(PREFIX) and len(self._positions) < self._limit:
            self._positions[key] = _Position(seen.scheduler.last_epoch)

    def begin_pass(self, seen: LoaderStarted) -> None:
        """A pass over a loader begins: programs change such things between passes."""
        self._passes.begin((seen.origin.rank, seen.origin.pid))

    def restored(self, seen: StateRestored) -> None:
        """State was loaded: a program may put its schedulers where they were by itself."""
        for (rank, pid, _), position in self._positions.items():
            if (rank, pid) == (seen.origin.rank, seen.origin.pid):
                position.steps = 0

    def step(self, seen: SchedulerStepped, *, lost: bool) -> Iterator[Finding]:
        """A warning when a step led further than by one, a note between passes."""
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler)
        position = self._positions.get(key)
        if position is None:
            return
        before, position.at = position.at, seen.last_epoch
        by_one = seen.last_epoch == before + 1
        settled = position.steps >= CONFIRMED and not position.own
        at_pass = self._passes.step(key[:2], key[2])
        position.steps = position.steps + 1 if by_one else 0
        if by_one or lost:
            return
        if seen.explicit or not settled:
            # A program that says where its scheduler is to stand, or moves it early on, does so by design.
            position.own = True
            return
        severity = Severity.NOTE if at_pass else Severity.WARNING
        if (*key, severity) in self._reported:
            return
        self._reported.add((*key, severity))
        yield finding_of(
            self._rule,
            f"scheduler {seen.scheduler}: last_epoch",
            f"before step {seen.before_step}: the position of scheduler {seen.scheduler} was set by hand: a "
            f"step led from {before} to {seen.last_epoch}",
            rank=seen.origin.rank,
            first_step=seen.before_step,
            evidence=(Evidence("last_epoch", expected=str(before + 1), observed=str(seen.last_epoch)),),
            severity=severity,
            confidence=Confidence.MEDIUM,
        )
