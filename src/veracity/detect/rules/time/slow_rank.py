"""One rank holds all others up, step after step.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile. Ranks
that do the same work need about the same time for it.

## What breaks it

A short sleep, a busy loop, a slow disk or a busy core on one rank of a data-parallel job. All ranks become
equally slow, since each waits in the next collective for the slowest; a mean step time names nobody.

## How it is checked

Where the ranks of a job end their steps together, each rank's time is compared phase by phase. The slow rank
spends more than the others before its collectives (fetching data, in the forward pass, between steps), the
others spend that time waiting in theirs (backward, or after it). One rank that does so in nine of ten slow
steps, in 30 of the last 100 steps and for 5 % of their time, is a warning; the phase, what the kernel says of
its processor time and the line that it was seen at are named where they are known. Steps with an evaluation,
a checkpoint or a compilation of any rank do not count.

## What fools it

Slowness inside the backward pass itself, which looks alike on both sides. Another rank that is slow in each
step. Ranks of other nodes, which this monitor does not see. A rank with more work than the others, by design
(the last stage of a pipeline, an uneven split), is found as well: the finding says where time goes, not why.

## What to do

Look at what that rank does in the phase named, and at its node: other processes, its disk, its temperature.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    CheckpointSaved,
    HostLoad,
    Observation,
    StackFrame,
    StackSampled,
    StepRecord,
    StepsPassed,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .interval import Intervals

WARM_STEPS = 10
WINDOW = 100
MIN_SLOW = 30
MIN_SHARE = 0.05
LAG = 0.15
SAME_TIME = 0.25
MOSTLY = 0.9
MAX_OPEN = 64
MAX_RANKS = 4096
BUSY_HOST = 0.2
_BEFORE = ("data", "forward")


@dataclass(frozen=True, slots=True)
class _Part:
    """One rank's step: phases in ns."""

    phases: dict[str, int]
    total: int
    ordinary: bool


@dataclass(slots=True)
class _Rank:
    """What is remembered of a rank apart from its steps."""

    interval: Intervals = field(default_factory=Intervals)
    frames: list[StackFrame] = field(default_factory=list)
    load: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=30))
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Slow:
    """One complete step: who was slow, -1 for nobody; in which phase; by how much of its duration."""

    step: int
    rank: int
    phase: str
    lag: int
    total: int


class SlowRank:
    """Compares the ranks' phases where all ended the same step at about the same time."""

    rule: ClassVar[Rule] = Rule(
        "time-slow-rank",
        "time",
        "One rank holds all others up",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        BatchesDrawn,
        CheckpointLoaded,
        CheckpointSaved,
        HostLoad,
        StackSampled,
        StepRecord,
        StepsPassed,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._ranks: dict[int, _Rank] = {}
        self._open: OrderedDict[int, dict[int, _Part]] = OrderedDict()
        self._window: deque[_Slow] = deque(maxlen=WINDOW)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Collect the parts of each step; judge it when all ranks have ended it."""
        number = observation.origin.rank
        if number < 0 or (number not in self._ranks and len(self._ranks) >= MAX_RANKS):
            return
        if isinstance(observation, HostLoad):
            if number in self._ranks:
                self._ranks[number].load.append((observation.span, observation.run_queue))
            return
        rank = self._ranks.setdefault(number, _Rank())
        rank.interval.take(observation)
        if isinstance(observation, StackSampled) and observation.frames:
            rank.frames = observation.frames[:8]
        if isinstance(observation, StepRecord) and observation.optimizer == 0:
            ordinary = rank.interval.close(observation).ordinary
            total = sum(observation.phases.values())
            parts = self._open.setdefault(observation.step, {})
            parts[number] = _Part(observation.phases, total, ordinary)
            if len(parts) == len(self._ranks) and len(parts) > 1:
                del self._open[observation.step]
                yield from self._judge(observation.step, parts)
            elif len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)

    def _judge(self, step: int, parts: dict[int, _Part]) -> Iterator[Finding]:
        totals = sorted(part.total for part in parts.values())
        together = totals[-1] - totals[0] <= SAME_TIME * totals[-1]
        if step < WARM_STEPS or not together or not all(part.ordinary for part in parts.values()):
            return
        slow = _slow(step, parts, totals[len(totals) // 2])
        self._window.append(slow)
        if slow.rank < 0 or self._ranks[slow.rank].told:
            return
        all_slow = [one for one in self._window if one.rank >= 0]
        own = [one for one in all_slow if one.rank == slow.rank]
        lost, passed = sum(one.lag for one in own), sum(one.total for one in self._window)
        if len(own) >= MIN_SLOW and len(own) >= MOSTLY * len(all_slow) and lost >= MIN_SHARE * passed:
            self._ranks[slow.rank].told = True
            yield self._finding(slow.rank, own, lost, passed)

    def _finding(self, number: int, own: list[_Slow], lost: int, passed: int) -> Finding:
        rank = self._ranks[number]
        phases = [one.phase for one in own]
        phase = max(set(phases), key=phases.count)
        where = {
            "data": "fetching data",
            "forward": "between the batch and the backward pass",
            "other": "between steps",
        }[phase]
        span = sum(part[0] for part in rank.load)
        queued = sum(part[1] for part in rank.load) / span if span else 0.0
        evidence = [
            Evidence(
                f"time of rank {number} {where}",
                expected="about that of the other ranks",
                observed=f"{lost / len(own) / 1e6:.1f} ms more in each of {quantity(len(own), 'step')}, "
                "while the others waited",
            )
        ]
        why = ""
        if queued >= BUSY_HOST:
            why = f"; it waited for a free processor for {100 * queued:.0f} % of the time: look at its host"
        if rank.frames:
            lines = tuple(
                f"{frame.path}:{frame.line} {frame.function}: {frame.source}" for frame in rank.frames
            )
            evidence.append(Evidence("where it was seen last", excerpt=lines))
        return finding_of(
            self.rule,
            f"rank {number}",
            f"rank {number} is slow {where} and all other ranks wait for it: {lost / 1e9:.2f} s of the last "
            f"{passed / 1e9:.2f} s{why}",
            rank=number,
            first_step=own[0].step,
            locations=tuple(Location(frame.path, frame.line) for frame in rank.frames[:1]),
            evidence=tuple(evidence),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage


def _slow(step: int, parts: dict[int, _Part], total: int) -> _Slow:
    """Who was slow in one step, and where the others waited for it."""
    best = _Slow(step, -1, "", 0, total)
    names = ("data", "forward", "backward", "optimizer", "other")
    columns = {name: sorted(part.phases.get(name, 0) for part in parts.values()) for name in names}
    for number, part in parts.items():
        # Of two ranks the other one is the median, of more the lower middle: one slow rank does not move it.
        more = {
            name: part.phases.get(name, 0) - _middle(columns[name], part.phases.get(name, 0))
            for name in names
        }
        before = max(_BEFORE, key=lambda name: more[name])
        waited = -(more["backward"] + more["optimizer"] + more["other"])
        lag = more["data"] + more["forward"]
        if more["other"] > lag:
            before, lag, waited = "other", more["other"], -more["backward"]
        if lag > best.lag and lag >= LAG * total and waited >= lag / 2:
            best = _Slow(step, number, before, lag, total)
    return best


def _middle(ordered: list[int], own: int) -> int:
    """The lower median of all values but one ``own``."""
    at = (len(ordered) - 2) // 2
    place = ordered.index(own)
    return ordered[at + 1] if at >= place else ordered[at]
