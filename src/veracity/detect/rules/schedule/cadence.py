"""The scheduler is not stepped as it was.

## The law

A scheduler that is stepped with every optimizer step is stepped so from the first step to the end of its
schedule: the position that its rate is a function of counts the steps of training.

## What breaks it

A scheduler that is stepped twice or not at all at some steps, that stops long before the end of its
schedule, or that is run ahead before training begins, so that its warm-up never happens.

## How it is checked

The calls of ``scheduler.step`` between two steps of its optimizer are counted. Ten steps in a row with the
same number make it the usual one. More calls are a finding at once, fewer when the usual number comes back,
or when it stays away although the schedule declares an end that is still ahead. Before the first optimizer
step a scheduler may make one step; more are a finding unless something was loaded, as by a resume that runs
ahead. Steps that a GradScaler skipped, known by backward passes without a step, and schedules that take turns
are no breach; nor are more calls where a loader delivered as many times the usual number of batches, which a
program passes over and counts all the same. Where a pass over a loader begins in between, it is a note.

## What fools it

A scheduler that is stepped once per pass or by no rule, one given an epoch or a metric, and the first ten
steps. A scheduler without a declared end, a function of the program's own for instance, that stops for good:
a note. A change that falls on the beginning of a pass. A scheduler stepped more often where losses are not
seen (gradients by closures or other ways than ``backward``): a note.

## What to do

Look at where ``scheduler.step`` is called, and under which conditions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import SchedulerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    LoaderStarted,
    Observation,
    SchedulerDeclared,
    SchedulersStepped,
    SchedulerStepped,
    StateRestored,
    StepRecord,
    StepsPassed,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...fromguard import FROM_THE_GUARD
from ...newpass import NewPasses
from .deliveries import Deliveries
from .horizon import has_way_to_go

MAX_OPTIMIZERS = 4096
ESTABLISHED = 10
FROZEN = 20
FROZEN_AT_END = 5
GIVEN = "a scheduler that is given an epoch or a metric has no cadence"
NOT_EACH = "a scheduler is stepped once per pass or by no rule, not with each step: its cadence is not judged"


@dataclass(slots=True)
class _Process:
    """Counters of one process that only go up, and whether its records have had no holes."""

    last_seq: int = -1
    losses: int = 0
    anew: int = 0
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """A finding of too many calls, ``times`` the usual number, until the batches of that time are known."""

    cadence: _Cadence
    kind: str
    finding: Finding
    times: float


@dataclass(slots=True)
class _Clock:
    """One optimizer: its schedulers, and the process's counters at its last step."""

    cadences: dict[int, _Cadence] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    held: list[_Held] = field(default_factory=list)
    started: bool = False
    passed: bool = False
    losses: int = 0
    anew: int = 0
    skipped: bool = False
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class _Interval:
    """What lies between two steps of an optimizer. ``step`` is the later one's number."""

    step: int
    rank: int
    losses: int
    at_pass: bool
    skipped: bool
    rescaled: bool


@dataclass(slots=True)
class _Frozen:
    """Steps with fewer calls than usual, by now."""

    step: int
    at_pass: bool
    steps: int = 0
    missing: int = 0
    others: bool = False
    told: bool = False


@dataclass(slots=True)
class _Cadence:
    """One scheduler: how often it is stepped. ``count`` is since its optimizer's last step.

    ``usual`` is 0 until established; ``least`` is the smallest number of backward passes of a step.
    ``ahead`` counts its steps before its optimizer's first one, ``first_losses`` the backward passes then.
    """

    declaration: SchedulerDeclaration
    position: int
    count: int = 0
    given: bool = False
    usual: int = 0
    value: int = 0
    length: int = 0
    seen: int = 0
    least: int = 0
    frozen: _Frozen | None = None
    ahead: int = 0
    first_losses: int = 0
    reported: set[str] = field(default_factory=set)

    def begin_anew(self) -> None:
        """Forget what was usual."""
        self.count = self.usual = self.value = self.length = self.seen = self.ahead = 0
        self.frozen = None

    def take(self, count: int, losses: int) -> None:
        """One more interval for what is usual."""
        self.seen += 1
        self.length = self.length + 1 if count == self.value else 1
        self.least = min(self.least, losses) if self.seen > 1 else losses
        self.value = count


class ScheduleCadence:
    """Counts each scheduler's steps between the steps of its optimizer."""

    rule: ClassVar[Rule] = Rule(
        "schedule-cadence",
        "schedule",
        "The scheduler is not stepped as it was",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = FROM_THE_GUARD

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._processes: dict[tuple[int, int], _Process] = {}
        self._clocks: dict[tuple[int, int, int], _Clock] = {}
        self._owners: dict[tuple[int, int, int], int] = {}
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Each kind of finding once per scheduler."""
        source = observation.origin.rank, observation.origin.pid
        process = self._processes.get(source)
        if process is None:
            if len(self._processes) >= MAX_OPTIMIZERS:
                return
            process = self._processes[source] = _Process()
        if -1 < process.last_seq < observation.origin.seq - 1:
            process.anew += 1
        process.last_seq = max(process.last_seq, observation.origin.seq)
        if isinstance(observation, StepRecord):
            process.losses += observation.losses
            clock = self._clock((*source, observation.optimizer))
            if clock is not None:
                at_pass = self._passes.step(source, observation.optimizer)
                yield from self._step(process, clock, observation, at_pass=at_pass)
        elif isinstance(observation, StepsPassed):
            clock = self._clock((*source, observation.optimizer))
            if clock is not None:
                clock.passed = True
        elif isinstance(observation, SchedulerStepped):
            self._stepped(source, observation)
        elif isinstance(observation, SchedulersStepped):
            for one in observation.each():
                self._stepped(source, one)
        elif isinstance(observation, SchedulerDeclared):
            self._declared(source, process, observation)
        elif isinstance(observation, BatchesDrawn):
            for key, clock in self._clocks.items():
                if key[:2] == source:
                    clock.deliveries.came(observation)
        elif isinstance(observation, LoaderStarted):
            self._passes.begin(source)
        elif isinstance(observation, StateRestored):
            process.anew += 1
        elif isinstance(observation, CheckpointLoaded):
            process.loaded = True

    def finish(self) -> Iterator[Finding]:
        """Schedulers that were still frozen when the run ended."""
        for (rank, _, _), clock in self._clocks.items():
            yield from self._let_go(clock)
            for cadence in clock.cadences.values():
                frozen = cadence.frozen
                if frozen is not None and not frozen.told and frozen.steps >= FROZEN_AT_END:
                    yield from self._stays(cadence, frozen, rank)

    def coverage(self) -> Coverage:
        """Only why a cadence was not compared: `schedule-drift` counts the steps of this law."""
        return self._coverage

    def _clock(self, key: tuple[int, int, int]) -> _Clock | None:
        clock = self._clocks.get(key)
        if clock is None and len(self._clocks) < MAX_OPTIMIZERS:
            clock = self._clocks[key] = _Clock()
        return clock

    def _declared(self, source: tuple[int, int], process: _Process, seen: SchedulerDeclared) -> None:
        declaration = seen.scheduler
        clock = self._clock((*source, declaration.optimizer))
        if seen.reloaded:
            process.anew += 1
        if clock is None or len(self._owners) >= MAX_OPTIMIZERS:
            return
        self._owners[source[0], source[1], declaration.index] = declaration.optimizer
        known = clock.cadences.get(declaration.index)
        if known is not None and not seen.reloaded:
            return
        fresh = _Cadence(declaration, declaration.last_epoch)
        if known is not None:
            fresh.given, fresh.reported = known.given, known.reported
        elif clock.started:  # a new phase of training: the other schedulers may have had their time
            for other in clock.cadences.values():
                other.begin_anew()
        clock.cadences[declaration.index] = fresh

    def _stepped(self, source: tuple[int, int], seen: SchedulerStepped) -> None:
        owner = self._owners.get((*source, seen.scheduler), -1)
        clock = self._clocks.get((*source, owner))
        cadence = clock.cadences.get(seen.scheduler) if clock is not None else None
        if cadence is None:
            return
        if seen.last_epoch < cadence.position:  # put back by hand: what went before was a trial
            cadence.begin_anew()
        cadence.position = seen.last_epoch
        cadence.given = cadence.given or seen.explicit
        cadence.count += 1

    def _step(
        self, process: _Process, clock: _Clock, step: StepRecord, *, at_pass: bool
    ) -> Iterator[Finding]:
        scale = _scale_of(step)
        interval = _Interval(
            step.step,
            step.origin.rank,
            process.losses - clock.losses,
            at_pass,
            clock.skipped or step.skipped,
            scale != clock.scale,
        )
        anew, first = process.anew != clock.anew, not clock.started
        clock.started = True
        clock.losses, clock.anew = process.losses, process.anew
        clock.skipped, clock.scale = step.skipped, scale
        stepping = [one for one in clock.cadences.values() if one.count]
        yield from self._let_go(clock)
        passed, clock.passed = clock.passed, False
        for cadence in clock.cadences.values():
            count, cadence.count = cadence.count, 0
            if anew:
                cadence.begin_anew()
            elif first:
                cadence.ahead = 0 if process.loaded or step.step > 0 else count
                cadence.first_losses = interval.losses
            elif passed:
                continue  # calls between steps that were not looked at
            elif cadence.given:
                self._coverage.skip(GIVEN)
            elif not cadence.usual:
                yield from self._establish(cadence, count, interval)
            else:
                others = any(one is not cadence for one in stepping)
                found = list(self._judge(cadence, count, interval, others=others))
                if count > cadence.usual:
                    times = count / cadence.usual
                    clock.held += [_Held(cadence, _kind("more", one), one, times) for one in found]
                else:
                    yield from found

    @staticmethod
    def _let_go(clock: _Clock) -> Iterator[Finding]:
        """The batches of the last interval are known: a program may pass over some and step the schedule."""
        held, clock.held = clock.held, []
        for one in held:
            if clock.deliveries.explain(one.times):
                one.cadence.reported.discard(one.kind)
            else:
                yield one.finding
        clock.deliveries.close(usual=not held and not clock.passed)

    def _establish(self, cadence: _Cadence, count: int, interval: _Interval) -> Iterator[Finding]:
        cadence.take(count, interval.losses)
        if cadence.length >= ESTABLISHED and count:
            cadence.usual = count
            if cadence.ahead > max(1, count) and cadence.first_losses <= cadence.least:
                yield from self._told(
                    cadence,
                    "ahead",
                    0,
                    interval.rank,
                    f"it had made {quantity(cadence.ahead, 'step')} before the first step of its optimizer, "
                    "and nothing had been loaded: the beginning of the schedule, its warm-up if any, was "
                    "left out",
                    ("at most 1", str(cadence.ahead)),
                    note=not cadence.least,
                )
        elif cadence.seen > 2 * ESTABLISHED:
            self._coverage.skip(NOT_EACH)

    def _judge(
        self, cadence: _Cadence, count: int, interval: _Interval, *, others: bool
    ) -> Iterator[Finding]:
        usual, frozen = cadence.usual, cadence.frozen
        if count == usual:
            cadence.frozen = None
            cadence.least = min(cadence.least, interval.losses)
            if frozen is not None and not frozen.told:
                yield from self._went_on(cadence, frozen, interval)
        elif interval.skipped:
            return
        elif count > usual:
            cadence.frozen = None
            made_up = frozen is not None and frozen.missing >= count - usual
            if not made_up and interval.losses <= cadence.least:
                yield from self._told(
                    cadence,
                    "more",
                    interval.step,
                    interval.rank,
                    f"step {interval.step}: it was stepped {quantity(count, 'time')} since the step before, "
                    f"{usual} before all earlier ones",
                    (str(usual), str(count)),
                    note=interval.at_pass or not cadence.least,
                )
        elif frozen is not None or not interval.rescaled:
            yield from self._fewer(cadence, count, interval, others=others)

    def _fewer(
        self, cadence: _Cadence, count: int, interval: _Interval, *, others: bool
    ) -> Iterator[Finding]:
        frozen = cadence.frozen
        if frozen is None:
            frozen = cadence.frozen = _Frozen(interval.step, interval.at_pass)
            cadence.length = 0
        frozen.steps += 1
        frozen.missing += cadence.usual - count
        frozen.others = frozen.others or others
        cadence.take(count, interval.losses)
        if count and cadence.length >= ESTABLISHED:  # it has another cadence from now on
            cadence.usual, cadence.frozen = count, None
        elif frozen.steps >= FROZEN and not frozen.told:
            yield from self._stays(cadence, frozen, interval.rank)

    def _went_on(self, cadence: _Cadence, frozen: _Frozen, interval: _Interval) -> Iterator[Finding]:
        yield from self._told(
            cadence,
            "fewer",
            frozen.step,
            interval.rank,
            f"step {frozen.step}: it was not stepped as before ({cadence.usual} since each step), for "
            f"{quantity(frozen.steps, 'step')}, and then went on",
            (str(cadence.usual), "fewer"),
            note=frozen.at_pass or interval.at_pass or frozen.others,
        )

    def _stays(self, cadence: _Cadence, frozen: _Frozen, rank: int) -> Iterator[Finding]:
        frozen.told = True
        ahead = has_way_to_go(cadence.declaration, cadence.position)
        yield from self._told(
            cadence,
            "stopped",
            frozen.step,
            rank,
            f"step {frozen.step}: it is no longer stepped, for {quantity(frozen.steps, 'step')} by now; it "
            "stands at "
            f"position {cadence.position}" + (", and its schedule is not over" if ahead else ""),
            (str(cadence.usual), "fewer"),
            note=not ahead or frozen.at_pass or frozen.others,
        )

    def _told(
        self,
        cadence: _Cadence,
        kind: str,
        step: int,
        rank: int,
        words: str,
        values: tuple[str, str],
        *,
        note: bool,
    ) -> Iterator[Finding]:
        """The finding, unless one of its kind and weight was told of this scheduler."""
        declaration = cadence.declaration
        kind_of = declaration.class_name.rpartition(".")[2][:80]
        found = finding_of(
            self.rule,
            f"scheduler {declaration.index} of optimizer {declaration.optimizer}",
            f"{kind_of}, {words}",
            rank=rank,
            first_step=step,
            evidence=(Evidence("calls of scheduler.step between two optimizer steps", *values),),
            severity=Severity.NOTE if note else None,
        )
        if _kind(kind, found) not in cadence.reported:
            cadence.reported.add(_kind(kind, found))
            yield found


def _kind(kind: str, finding: Finding) -> str:
    """What is told once of each scheduler."""
    return f"{kind} {finding.severity is Severity.NOTE}"


def _scale_of(step: StepRecord) -> float | None:
    """The loss scale that was in force: some programs hold the schedule whenever it changes."""
    found = (event.limit for event in step.gradients.events if event.kind == "unscale")
    return next(found, step.scale)
