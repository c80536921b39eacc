"""The rates that a scheduler starts from stay what they were, however they become rates at a step.

This is all that can be said of a schedule that is a function of the program's own. Only torch's own classes
are looked at: one of the program's may move these rates by its own rules. A list that grows with a group is
no edit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LoaderStarted, SchedulerDeclared, SchedulerStepped, StateRestored
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .formulas import PREFIX, same_rates

CONFIRMED = 3


@dataclass(slots=True)
class _Base:
    """Base rates of one scheduler, and how many steps in a row had them."""

    rates: list[float]
    steps: int = 0

    def becomes(self, rates: list[float]) -> bool:
        """Take the rates seen at a step in; whether those that several steps had are other ones now."""
        shared = min(len(rates), len(self.rates))
        same = same_rates(rates[:shared], self.rates[:shared])
        known = self.steps >= CONFIRMED
        self.rates, self.steps = rates, self.steps + 1 if same else 0
        return known and not same


class Bases:
    """Follows the base rates of all schedulers, by rank, process and scheduler."""

    def __init__(self, rule: Rule, limit: int) -> None:
        self._rule = rule
        self._limit = limit
        self._bases: dict[tuple[int, int, int], _Base] = {}
        self._passes = NewPasses()
        self._reported: set[tuple[int, int, int, Severity]] = set()

    def declare(self, seen: SchedulerDeclared) -> None:
        """A scheduler of torch's was declared, or declared itself anew after its state was loaded."""
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler.index)
        if seen.scheduler.class_name.startswith(PREFIX) and len(self._bases) < self._limit:
            self._bases[key] = _Base(list(seen.scheduler.base_lrs))

    def begin_pass(self, seen: LoaderStarted) -> None:
        """A pass over a loader begins: programs change such things between passes."""
        self._passes.begin((seen.origin.rank, seen.origin.pid))

    def restored(self, seen: StateRestored) -> None:
        """State was loaded: what schedulers start from may have come with it."""
        for (rank, pid, _), base in self._bases.items():
            if (rank, pid) == (seen.origin.rank, seen.origin.pid):
                base.steps = 0

    def step(self, seen: SchedulerStepped) -> Iterator[Finding]:
        """A warning when the base rates are no longer those of the steps before, a note between passes."""
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler)
        base = self._bases.get(key)
        if base is None or not seen.base_lrs or seen.before_step == 0:
            return
        before = base.rates
        edited = base.becomes(list(seen.base_lrs))
        at_pass = self._passes.step(key[:2], key[2])
        severity = Severity.NOTE if at_pass else Severity.WARNING
        if not edited or (*key, severity) in self._reported:
            return
        self._reported.add((*key, severity))
        moved = [abs(old - new) for old, new in zip(before, base.rates, strict=False)]
        group = moved.index(max(moved))
        yield finding_of(
            self._rule,
            f"scheduler {seen.scheduler}, group {group}: base_lrs",
            f"before step {seen.before_step}: the rate that scheduler {seen.scheduler} starts from was "
            f"changed for parameter group {group}, from {before[group]:.9g} to {base.rates[group]:.9g}",
            rank=seen.origin.rank,
            first_step=seen.before_step,
            evidence=(Evidence("base_lrs", expected=repr(before[group]), observed=repr(base.rates[group])),),
            severity=severity,
            confidence=Confidence.MEDIUM,
        )
