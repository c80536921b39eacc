"""The control group of the job gets less processor time than before, or is throttled by its limit.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile. What
the job may use of the machine does not become less while it runs.

## What breaks it

A CPU limit that is lowered in mid-run (`cpu.max`, `cpu.cfs_quota_us`), a group moved below a tighter one, a
memory limit that makes the kernel reclaim all the time. Steps become slower, no line of the program is to
blame.

## How it is checked

The monitor reads the limit and the throttling counts of each rank's control group about once a second, from
outside. A limit that is lowered is a warning. A job that was throttled in a quarter of all periods under the
limit that it began with is a note: many clusters set limits on purpose.

## What fools it

A container may not show its limit. A limit that is lowered and put back between two looks leaves only
throttled periods, which are then a note. Other processes of the same group use up the same limit.

## What to do

See who may write to the group named: the scheduler, the container runtime, or root on the node. Compare the
limit with what the job was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import GroupLoad, Observation
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity

MIN_PERIODS = 300
SHARE = 0.25
RECLAIMS = 50
MAX_GROUPS = 64
MAX_FINDINGS = 20


@dataclass(slots=True)
class _Group:
    """Sums over the run."""

    periods: int = 0
    throttled: int = 0
    ns: int = 0
    reclaimed: int = 0
    told: bool = False
    told_memory: bool = False


class Throttled:
    """Watches the limits of control groups."""

    rule: ClassVar[Rule] = Rule(
        "time-throttled",
        "time",
        "The control group of the job is throttled",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (GroupLoad,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._groups: dict[str, _Group] = {}
        self._lowered: set[tuple[str, int, int]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Compare limits, add up the counts."""
        if not isinstance(observation, GroupLoad):
            return
        if observation.group not in self._groups and len(self._groups) >= MAX_GROUPS:
            return
        group = self._groups.setdefault(observation.group, _Group())
        group.periods += observation.periods
        group.throttled += observation.throttled
        group.ns += observation.throttled_ns
        group.reclaimed += observation.reclaimed
        yield from self._limit(observation)
        yield from self._notes(observation, group)

    def _limit(self, load: GroupLoad) -> Iterator[Finding]:
        before, now = load.quota_before, load.quota
        key = (load.group, before, now)
        lowered = now >= 0 and (before < 0 or now < before)
        if not lowered or key in self._lowered or len(self._lowered) >= MAX_FINDINGS:
            return
        self._lowered.add(key)
        yield finding_of(
            self.rule,
            f"control group {load.group}",
            f"the CPU limit of the job's control group was lowered from {_cpus(before)} to {_cpus(now)} "
            "while it ran; by whom is not known",
            first_step=_step(load),
            evidence=(Evidence("CPU limit", expected=_cpus(before), observed=_cpus(now)),),
        )

    def _notes(self, load: GroupLoad, group: _Group) -> Iterator[Finding]:
        if not group.told and group.periods >= MIN_PERIODS and group.throttled >= SHARE * group.periods:
            group.told = True
            yield finding_of(
                self.rule,
                f"control group {load.group}",
                f"its CPU limit of {_cpus(load.quota)} stopped the job's control group in "
                f"{100 * group.throttled / group.periods:.0f} % of {quantity(group.periods, 'period')}",
                first_step=_step(load),
                severity=Severity.NOTE,
            )
        if not group.told_memory and group.reclaimed >= RECLAIMS:
            group.told_memory = True
            yield finding_of(
                self.rule,
                f"memory of control group {load.group}",
                f"its memory limit slowed the job's control group down {quantity(group.reclaimed, 'time')}",
                first_step=_step(load),
                severity=Severity.NOTE,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage


def _cpus(thousandths: int) -> str:
    return "no limit" if thousandths < 0 else f"{thousandths / 1000:.2f} CPUs"


def _step(load: GroupLoad) -> int | None:
    return load.step if load.step >= 0 else None
