"""The learning rate at a step is not the one that the declared schedule gives.

## The law

The learning rate of each parameter group at a step is the declared function of the scheduler's position;
without a scheduler it stays what it was declared to be.

## What breaks it

A rate scaled after some step, an edited scheduler file, a schedule's position or the rates it starts from
changed by hand, a resumed run whose rate does not belong to its position.

## How it is checked

The rates in force at each step are compared with an own derivation of torch's schedulers from their
parameters and the number of their steps (``formulas.py``), to 1e-6 of the largest base rate. So are
LambdaLR schedules whose functions are those of `transformers.optimization` (``warmups.py``).

## What fools it

A rate that was loaded with the optimizer, until the schedule's next step: a run that is continued for longer
than was planned begins with it. An edit that acts from the first step on and brings the rates nearer to the
schedule's at the second one: so does a warm-up that programs write by hand over a scheduler. It is not
checked, until the scheduler's rates are in force.

A rate computed by the program itself or by a function of its own that it hands to LambdaLR: unless it is
declared in contract.toml it is reported as unchecked. There, a rate that is not the one the scheduler
left is still a warning, and so are other base rates (``scheduler.base_lrs``) than the scheduler had so
far, a position (``scheduler.last_epoch``) that a step did not lead to, and another function in the place
of one that the scheduler was built with. Extra calls of ``scheduler.step`` move the position and are
believed here; `schedule-cadence` counts them.

## What to do

Compare the named step's rate with the schedule; look for code that writes to ``param_groups``. A resumed run
usually lacks ``optimizer.load_state_dict``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Finding
from ....core.observation import (
    LoaderStarted,
    Observation,
    OptimizerDeclared,
    SchedulerDeclared,
    SchedulersStepped,
    SchedulerStepped,
    StateRestored,
    StepRecord,
)
from ....core.rule import Confidence, Rule, Severity
from ...fromguard import FROM_THE_GUARD
from .account import drift_finding, left_finding, rates_of
from .bases import Bases
from .byhand import ByHand
from .course import Course
from .exchanged import Exchanged
from .formulas import same_rates
from .positions import Positions

MAX_OPTIMIZERS = 4096
CARRIED = "lr is the one that was loaded with the optimizer, until the schedule's next step"
BY_HAND = "lr set by the program itself; declare it in contract.toml"
OVER_A_SCHEDULE = "lr set by the program itself over its scheduler's, from the first step on"


class ScheduleDrift:
    """Follows each optimizer's schedulers and compares the rates at each step."""

    rule: ClassVar[Rule] = Rule(
        "schedule-drift",
        "schedule",
        "The learning rate is not the declared function of the step",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = FROM_THE_GUARD

    def __init__(self) -> None:
        self._coverage = Coverage("schedule", "steps")
        self._courses: dict[tuple[int, int, int], Course] = {}
        self._declared: dict[tuple[int, int, int], OptimizerDeclaration] = {}
        self._owners: dict[tuple[int, int, int], int] = {}
        self._last_seq: dict[tuple[int, int], int] = {}
        self._reported: set[tuple[int, int, int]] = set()
        self._hands: dict[tuple[int, int, int], ByHand] = {}
        self._bases = Bases(self.rule, MAX_OPTIMIZERS)
        self._positions = Positions(self.rule, MAX_OPTIMIZERS)
        self._exchanged = Exchanged(self.rule, MAX_OPTIMIZERS)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A finding at the first step of an optimizer whose rate is not the derived one."""
        rank, pid = observation.origin.rank, observation.origin.pid
        lost = self._lost((rank, pid), observation.origin.seq)
        if isinstance(observation, StepRecord):
            yield from self._step((rank, pid, observation.optimizer), observation)
        elif isinstance(observation, SchedulerStepped):
            yield from self._scheduled(observation, lost=lost)
        elif isinstance(observation, SchedulersStepped):
            for number, one in enumerate(observation.each()):
                yield from self._scheduled(one, lost=lost and not number)
        elif isinstance(observation, OptimizerDeclared):
            key = (rank, pid, observation.optimizer.index)
            rates = rates_of(observation.optimizer.groups)
            course = self._course(key, rates or [], "" if rates else "lr could not be read")
            if course is not None:
                self._declared.setdefault(key, observation.optimizer)
                course.add_groups(rates or [])
        elif isinstance(observation, LoaderStarted):
            self._bases.begin_pass(observation)
            self._positions.begin_pass(observation)
            self._exchanged.begin_pass(observation)
        elif isinstance(observation, StateRestored):
            self._bases.restored(observation)
            self._positions.restored(observation)
            course = self._courses.get((rank, pid, observation.optimizer))
            if course is not None:
                course.brought = course.brought or observation.loaded_optimizer
        elif isinstance(observation, SchedulerDeclared):
            self._bases.declare(observation)
            self._positions.declare(observation)
            self._exchanged.declare(observation)
            scheduler = observation.scheduler
            course = self._course((rank, pid, scheduler.optimizer), scheduler.lrs, "")
            if course is not None and len(self._owners) < MAX_OPTIMIZERS:
                if not course.scheduled:  # a warm-up may be written over the first one
                    self._hands[rank, pid, scheduler.optimizer] = ByHand()
                self._owners[rank, pid, scheduler.index] = scheduler.optimizer
                course.declare(scheduler, reloaded=observation.reloaded)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps whose rates were compared with a derivation."""
        return self._coverage

    def _scheduled(self, seen: SchedulerStepped, *, lost: bool) -> Iterator[Finding]:
        rank, pid = seen.origin.rank, seen.origin.pid
        course = self._courses.get((rank, pid, self._owners.get((rank, pid, seen.scheduler), -1)))
        if course is not None:
            course.step(seen, resync=lost)
        yield from self._bases.step(seen)
        yield from self._positions.step(seen, lost=lost)
        yield from self._exchanged.step(seen)

    def _step(self, key: tuple[int, int, int], step: StepRecord) -> Iterator[Finding]:
        course = self._courses.get(key)
        rates = rates_of(step.groups)
        if course is None or rates is None:
            reason = "the optimizer was never declared" if course is None else "lr could not be read"
            self._coverage.count(checked=False, reason=reason)
            return
        agreed = not course.unknown and course.agrees(rates)
        if len(rates) != len(course.lrs):
            course.unknown = course.unknown or "the parameter groups are not those that were declared"
        elif not agreed and not course.scheduled:
            course.unknown = course.unknown or BY_HAND
        brought = course.brought and same_rates(course.restored or (), rates)
        if not course.unknown and not agreed and brought:
            self._coverage.count(checked=False, reason=CARRIED)
            return
        found = None
        if key not in self._reported:
            found = self._compared(key, course, step, rates, agreed=agreed)
        reason = course.unknown or (OVER_A_SCHEDULE if self._hands[key].sets else "")
        self._coverage.count(checked=not reason, reason=reason)
        if found is not None:
            self._reported.add(key)
            yield found

    def _compared(
        self, key: tuple[int, int, int], course: Course, step: StepRecord, rates: list[float], *, agreed: bool
    ) -> Finding | None:
        """What is to be said of the rates of a step, of those derived or else of those the scheduler left."""
        by_hand, declared = self._hands[key], self._declared.get(key)
        left = course.left if course.left is not None and len(course.left) == len(rates) else None
        as_left = left is not None and same_rates(left, rates)
        known = not course.unknown or course.stepped
        if agreed or (course.unknown and as_left):
            by_hand.agreed(known=known)
            return None
        if by_hand.sets and as_left:
            # torch's schedulers go on from the rate they find.
            course.unknown = OVER_A_SCHEDULE
            by_hand.agreed()
            return None
        if not course.unknown:
            due, found = course.lrs, drift_finding(self.rule, step, course, rates, declared)
        elif left is not None:
            due, found = left, left_finding(self.rule, step, course, rates, declared)
        else:
            by_hand.agreed()
            return None
        if course.restored is not None:
            return found  # rates that were loaded are no warm-up
        return by_hand.differs(rates, due, found, known=known)

    def _course(self, key: tuple[int, int, int], rates: list[float], unknown: str) -> Course | None:
        course = self._courses.get(key)
        if course is None and len(self._courses) < MAX_OPTIMIZERS:
            course = Course(list(rates), unknown=unknown, largest=max(map(abs, rates), default=0.0))
            self._courses[key], self._hands[key] = course, ByHand()
        return course

    def _lost(self, source: tuple[int, int], seq: int) -> bool:
        """Whether records of this process were lost just before this one."""
        last = self._last_seq.get(source)
        if last is not None or len(self._last_seq) < MAX_OPTIMIZERS:
            self._last_seq[source] = seq
        return last is not None and seq > last + 1
