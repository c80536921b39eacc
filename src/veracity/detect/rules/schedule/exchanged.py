"""The functions that a scheduler calls for its rates stay the ones it was built with.

What they give is the program's own affair and is not derived; that they are others in the middle of a run is
told. A scheduler that declares itself anew, since its state was loaded, begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LoaderStarted, SchedulerDeclared, SchedulerStepped
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses

CONFIRMED = 10


class Exchanged:
    """Follows the functions of all schedulers, by rank, process and scheduler."""

    def __init__(self, rule: Rule, limit: int) -> None:
        self._rule = rule
        self._limit = limit
        self._declared: dict[tuple[int, int, int], str] = {}
        self._steps: dict[tuple[int, int, int], int] = {}
        self._own: set[tuple[int, int, int]] = set()
        self._passes = NewPasses()
        self._reported: set[tuple[int, int, int, Severity]] = set()

    def declare(self, seen: SchedulerDeclared) -> None:
        """A scheduler was declared, or declared itself anew after its state was loaded."""
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler.index)
        if key in self._declared or len(self._declared) < self._limit:
            self._declared[key] = ", ".join(map(str, seen.scheduler.functions))
            self._steps[key] = 0

    def begin_pass(self, seen: LoaderStarted) -> None:
        """A pass over a loader begins: programs change such things between passes."""
        self._passes.begin((seen.origin.rank, seen.origin.pid))

    def step(self, seen: SchedulerStepped) -> Iterator[Finding]:
        """A warning at the first step with other functions, a note between passes.

        A program that exchanges them in its first steps does so by design.
        """
        key = (seen.origin.rank, seen.origin.pid, seen.scheduler)
        if key not in self._declared:
            return
        steps, self._steps[key] = self._steps[key], self._steps[key] + 1
        at_pass = self._passes.step(key[:2], key[2])
        if not seen.functions:
            return
        if steps < CONFIRMED:
            self._own.add(key)
        severity = Severity.NOTE if at_pass else Severity.WARNING
        if key in self._own or (*key, severity) in self._reported:
            return
        self._reported.add((*key, severity))
        now = ", ".join(map(str, seen.functions))
        yield finding_of(
            self._rule,
            f"scheduler {seen.scheduler}: lr_lambdas",
            f"before step {seen.before_step}: a function from which scheduler {seen.scheduler} has its rates "
            f"was exchanged; it is now {now}",
            rank=seen.origin.rank,
            first_step=seen.before_step,
            evidence=(Evidence("functions", expected=self._declared[key], observed=now),),
            severity=severity,
            confidence=Confidence.MEDIUM,
        )
