"""Training waits for its data, which it did not before, or whose workers are asleep.

## The law

A step's time is explained by what it computes, what it waits for and what the machine does meanwhile. Loaders
deliver as they did; their workers do not sleep while training waits for them.

## What breaks it

A sleep in a data set, a transform or a collate function: in the workers' processes, where no look at the main
thread sees it. Workers that are stopped, starved of processors, or whose disk is kept busy by somebody else.

## How it is checked

The guard times how long each batch was waited for. Where that is half of the time of 24 steps in a row, and
workers of the loader were seen asleep on a timer (by the kernel's word, from outside) in three of the seconds
for which it has lasted, the line they sleep at is a warning. Waiting that much without sleeping workers is a
warning when the same run had waited for less than a tenth of that share before, and a matter of speed, not of
this law, when it always did.

## What fools it

A loader that was starved from the first step on, by other means than sleeping. Waits for a network that
answers slowly, on which a worker sleeps in a socket and not on a timer, from the first step on.

## What to do

Open the line. If the pause is meant (a rate limit, a retry), training will wait for it. Without a line look
at the disk and the other processes of the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    CheckpointSaved,
    Observation,
    StackSampled,
    StepRecord,
    StepsPassed,
    WorkersSeen,
)
from ....core.rule import Confidence, Rule, Severity
from .interval import Intervals

WARM_STEPS = 8
WINDOW = 24
BASELINE = 48
STARVED = 0.5
FORMERLY = 0.05
MIN_LOOKS = 3
MIN_WAIT = 2_000_000
"""Nanoseconds per step: shorter waits are not worth a word whatever their share."""

MAX_PROCESSES = 1024


@dataclass(slots=True)
class _Rank:
    """One rank's waiting."""

    interval: Intervals = field(default_factory=Intervals)
    baseline: list[tuple[int, int]] = field(default_factory=list)
    recent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    seen: deque[WorkersSeen] = field(default_factory=lambda: deque(maxlen=16))
    since: int | None = None
    """The first step of the waiting that lasts; a window of quick steps ends before three looks are made."""
    told: set[str] = field(default_factory=set)


class LoaderStarved:
    """Follows the share of time that each rank waits for batches."""

    rule: ClassVar[Rule] = Rule(
        "time-loader-starved",
        "time",
        "Training waits for data whose loader is held up",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        BatchesDrawn,
        CheckpointLoaded,
        CheckpointSaved,
        StackSampled,
        StepRecord,
        StepsPassed,
        WorkersSeen,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._ranks: dict[int, _Rank] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Note looks at workers; judge at each step."""
        pid = observation.origin.pid
        if pid not in self._ranks and len(self._ranks) >= MAX_PROCESSES:
            return
        rank = self._ranks.setdefault(pid, _Rank())
        if isinstance(observation, WorkersSeen):
            rank.seen.append(observation)
            return
        rank.interval.take(observation)
        if isinstance(observation, StepRecord) and observation.optimizer == 0:
            ordinary = rank.interval.close(observation).ordinary
            if ordinary and observation.step >= WARM_STEPS:
                yield from self._step(rank, observation)

    def _step(self, rank: _Rank, record: StepRecord) -> Iterator[Finding]:
        waited, total = record.phases.get("data", 0), sum(record.phases.values())
        if len(rank.baseline) < BASELINE:
            rank.baseline.append((waited, total))
        rank.recent.append((record.step, waited, total))
        sums = sum(one[1] for one in rank.recent), sum(one[2] for one in rank.recent)
        often = sum(one[1] >= STARVED * one[2] for one in rank.recent)
        # A few long waits (the start of an epoch) are not starvation: most steps must wait.
        starved = len(rank.recent) == WINDOW and often >= WINDOW // 2 and sums[0] >= STARVED * sums[1]
        if not starved or sums[0] < MIN_WAIT * WINDOW:
            rank.since = None
            return
        if rank.since is None:
            rank.since = rank.recent[0][0]
        since = rank.since
        asleep = [one for one in rank.seen if one.step >= since - 1 and one.asleep]
        if len(asleep) >= MIN_LOOKS and "asleep" not in rank.told:
            rank.told |= {"asleep", "slower"}
            yield self._asleep(record, rank, asleep, sums)
        elif "slower" not in rank.told and self._was_fed(rank):
            rank.told.add("slower")
            yield self._slower(record, rank, sums)

    @staticmethod
    def _was_fed(rank: _Rank) -> bool:
        waited, total = (sum(one[at] for one in rank.baseline) for at in (0, 1))
        return len(rank.baseline) == BASELINE and waited < FORMERLY * total

    def _asleep(
        self, record: StepRecord, rank: _Rank, seen: list[WorkersSeen], sums: tuple[int, int]
    ) -> Finding:
        frames = next((one.frames for one in reversed(seen) if one.frames), [])
        place = next((frame for frame in frames if not _is_waiting(frame.path)), None)
        where = f" at {place.path}:{place.line}" if place is not None else ""
        lines = tuple(f"{one.path}:{one.line} {one.function}: {one.source}" for one in frames[:8])
        return finding_of(
            self.rule,
            f"{place.path}:{place.line}" if place is not None else "workers of the loader",
            f"workers of the loader sleep on a timer{where} while training waits for them: "
            f"{100 * sums[0] / sums[1]:.0f} % of the last {WINDOW} steps' time",
            rank=record.origin.rank,
            first_step=rank.recent[0][0],
            locations=(Location(place.path, place.line),) if place is not None else (),
            evidence=(
                Evidence(
                    "workers",
                    expected="preparing batches while training waits",
                    observed=f"asleep on a timer at {len(seen)} of the last looks, "
                    f"{max(one.asleep for one in seen)} of {max(one.workers for one in seen)} at once",
                    excerpt=lines,
                ),
            ),
        )

    def _slower(self, record: StepRecord, rank: _Rank, sums: tuple[int, int]) -> Finding:
        before = [sum(one[at] for one in rank.baseline) for at in (0, 1)]
        return finding_of(
            self.rule,
            "data",
            f"training now waits for data for {100 * sums[0] / sums[1]:.0f} % of its time, "
            f"{100 * before[0] / before[1]:.1f} % in its first {BASELINE} steps",
            rank=record.origin.rank,
            first_step=rank.recent[0][0],
            confidence=Confidence.LOW,
            evidence=(
                Evidence(
                    "share of time waiting for data",
                    expected=f"{100 * before[0] / before[1]:.1f} %",
                    observed=f"{100 * sums[0] / sums[1]:.0f} %",
                ),
            ),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing more to say at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps are counted by ``time-stall``, once for the law."""
        return self._coverage


def _is_waiting(path: str) -> bool:
    return "/multiprocessing/" in path or path.endswith(("/threading.py", "/queue.py", "/selectors.py"))
