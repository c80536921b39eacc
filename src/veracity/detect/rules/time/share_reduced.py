"""A rank was given a smaller share of the machine while it trained: niceness, processors, control group.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile. What a
rank may use of the machine does not become less while it trains.

## What breaks it

`renice`, `taskset` on a running process, a process moved into another control group: each slows the rank down
without a signal and without a change to its code.

## How it is checked

About once a second the monitor reads niceness, allowed processors and control group of the ranks from
`/proc`. A niceness that rises or fewer allowed processors are a warning, once the first steps are done.
Another group is a note: container runtimes and schedulers sort processes into groups at any time, and what a
group takes away (a quota, a freeze, a memory limit) is seen by itself.

## What fools it

The program may do this to itself, and from outside that looks the same. Libraries that bind threads do so
when they are first used, which is why the first steps do not count. Only the main thread is looked at.

## What to do

If the program does not do it itself, look for who ran `renice` or `taskset` on that node, and at the
scheduler's own policy for jobs that run long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessChanged
from ....core.rule import Confidence, Rule, Severity

WARM_STEPS = 5
MAX_FINDINGS = 40
_NAMES = {"nice": "niceness", "cpus": "number of processors", "cgroup": "control group"}


class ShareReduced:
    """One finding per change to the worse."""

    rule: ClassVar[Rule] = Rule(
        "time-share-reduced",
        "time",
        "A rank was given a smaller share of the machine",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessChanged,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._count = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one change."""
        if not isinstance(observation, ProcessChanged) or observation.what not in _NAMES:
            return
        worse = {
            "nice": observation.after > observation.before,
            "cpus": observation.after < observation.before,
            "cgroup": True,
        }[observation.what]
        if not worse or observation.role != "rank" or observation.step < WARM_STEPS:
            return
        self._count += 1
        if self._count > MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} changes of shares: the rest is not listed")
            return
        name = _NAMES[observation.what]
        before, after = str(observation.before), str(observation.after)
        if observation.what == "cgroup":
            before, _, after = observation.detail.partition(" → ")
        yield finding_of(
            self.rule,
            f"{name} of process {observation.origin.pid}",
            f"the {name} of rank {observation.origin.rank} (process {observation.origin.pid}) was changed "
            f"from {before} to {after} while it trained",
            rank=observation.origin.rank,
            first_step=observation.step,
            evidence=(Evidence(name, expected=before, observed=after),),
            severity=Severity.NOTE if observation.what == "cgroup" else None,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage
