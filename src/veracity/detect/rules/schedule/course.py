"""The course of one optimizer's learning rates through its schedulers' steps.

A scheduler that alone moves the rates is a pure function of its position, SequentialLR included: the child
that is active starts at its own position 0 when its milestone is reached. Where several move the same rate
(ChainedScheduler, or two schedulers stepped side by side), their steps are applied one after the other,
because the result depends on the order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from ....core.contract import SchedulerDeclaration
from ....core.errors import EvidenceError
from ....core.observation import SchedulerStepped
from .formulas import ABSOLUTE, PREFIX, Leaf, leaf_of, same_rates

GOES_ON = "a scheduler was built later and goes on from the rate it found, not from where its formula begins"

MAX_SCHEDULERS = 64
MAX_REPLAY = 100_000

_COMPOSITES = {PREFIX + "SequentialLR", PREFIX + "ChainedScheduler"}


@dataclass(slots=True)
class Schedule:
    """One outermost scheduler: its leaves in order, where they begin, and its position.

    ``milestones`` is None for a chain, whose leaves all step together.
    """

    declaration: SchedulerDeclaration
    leaves: Sequence[Leaf]
    milestones: Sequence[int] | None
    position: int

    @classmethod
    def of(cls, declaration: SchedulerDeclaration) -> Schedule:
        """The schedule declared; raises EvidenceError with the reason when it cannot be derived."""
        position = declaration.last_epoch
        if declaration.class_name not in _COMPOSITES:
            return cls(declaration, [leaf_of(declaration)], (), position)
        if any(child.class_name in _COMPOSITES for child in declaration.children):
            raise EvidenceError("schedulers nested in more than one level are not derived")
        leaves = [leaf_of(child) for child in declaration.children]
        if not leaves:
            raise EvidenceError("the schedulers inside a composite could not be read")
        if declaration.class_name == PREFIX + "ChainedScheduler":
            positions = {child.last_epoch for child in declaration.children}
            if len(positions) != 1:
                raise EvidenceError("the schedulers of a chain stand at different positions")
            return cls(declaration, leaves, None, positions.pop())
        if any(leaf.kind == "OneCycleLR" for leaf in leaves):
            raise EvidenceError("OneCycleLR inside SequentialLR redefines the other schedulers' base rate")
        milestones = declaration.parameters.get("milestones")
        if not isinstance(milestones, list) or len(milestones) != len(leaves) - 1:
            raise EvidenceError("the milestones of SequentialLR could not be read")
        whole = [item for item in milestones if isinstance(item, int)]
        if len(whole) != len(milestones) or whole != sorted(whole):
            raise EvidenceError("the milestones of SequentialLR are not whole numbers in order")
        return cls(declaration, leaves, whole, position)

    def at(self, position: int) -> list[float]:
        """Rates at ``position`` when nothing else moves them; EvidenceError beyond the replay limit."""
        if self.milestones is not None:
            active = bisect_right(self.milestones, position)
            start = self.milestones[active - 1] if active else 0
            return self.leaves[active].at(position - start)
        if position > MAX_REPLAY:
            raise EvidenceError("a chain this far on is not derived again from its start")
        lrs = list(self.leaves[0].base_lrs)
        for leaf in self.leaves:
            lrs = leaf.begin(lrs)
        for passed in range(1, position + 1):
            lrs = self.advance(passed, lrs)
        return lrs

    def advance(self, position: int, lrs: Sequence[float]) -> list[float]:
        """Rates after the step that reaches ``position``, from the rates before it."""
        result = list(lrs)
        if self.milestones is None:
            for leaf in self.leaves:
                result = leaf.advance(position, result)
            return result
        active = bisect_right(self.milestones, position)
        start = self.milestones[active - 1] if active else 0
        if active and position == start:
            return self.leaves[active].at(0)
        return self.leaves[active].advance(position - start, result)

    def same(self, other: Schedule) -> bool:
        """Whether ``other`` is this schedule declared once more."""
        mine = (self.declaration.class_name, list(self.leaves), self.milestones, self.position)
        return mine == (other.declaration.class_name, list(other.leaves), other.milestones, other.position)

    @property
    def product(self) -> bool:
        """Whether every step only multiplies the rate, so that the order of schedulers does not matter."""
        return self.milestones in ((), None) and not any(
            leaf.kind in ABSOLUTE or leaf.kind == "CosineAnnealingLR" for leaf in self.leaves
        )


@dataclass(slots=True)
class Course:
    """What one optimizer's rates should be now. ``unknown`` says why they cannot be derived, if so.

    ``left`` are those that a scheduler left, or that were found when it was declared (until one ``stepped``).
    """

    lrs: list[float]
    schedules: dict[int, Schedule] = field(default_factory=dict)
    scheduled: bool = False
    unknown: str = ""
    left: list[float] | None = None
    stepped: bool = False
    restored: list[float] | None = None
    brought: bool = False
    largest: float = 0.0

    def declare(self, declaration: SchedulerDeclaration, *, reloaded: bool) -> None:
        """A scheduler was constructed, or took a position from a checkpoint."""
        self.scheduled = True
        self.left = None if reloaded else list(declaration.lrs)
        if reloaded:
            # Until it steps, the rates are those that the optimizer's own state brought along.
            self.restored = list(declaration.lrs)
        bases = [*declaration.base_lrs, *(lr for child in declaration.children for lr in child.base_lrs)]
        self.largest = max([self.largest, *map(abs, bases)])
        try:
            schedule = Schedule.of(declaration)
            self._take_in(schedule)
            known = self.schedules.get(declaration.index)
            if known is not None and known.same(schedule) and not reloaded:
                return
            if not reloaded and known is None and any(item.position > 0 for item in self.schedules.values()):
                # A new phase of training: what was stepped before has ended. Should it go on all the same,
                # its next step is one of an undeclared scheduler, and nothing can be derived.
                self.schedules.clear()
                if self._goes_on(schedule):
                    raise EvidenceError(GOES_ON)
            others = [item for index, item in self.schedules.items() if index != declaration.index]
            if len(others) >= MAX_SCHEDULERS:
                raise EvidenceError("more schedulers than are followed")
            self.lrs = self._start(schedule, others)
            self.schedules[declaration.index] = schedule
            if not others:
                self.unknown = ""
        except (EvidenceError, ArithmeticError, ValueError) as error:
            self.unknown = str(error)

    def _goes_on(self, schedule: Schedule) -> bool:
        """Whether a scheduler that is built later leaves the rates where the one before it had brought them.

        torch's go on from the rate they find; where their formulas begin is where the first one began.
        """
        found = schedule.declaration.lrs
        return same_rates(self.lrs, found) and not same_rates(self._start(schedule, []), found)

    def _take_in(self, schedule: Schedule) -> None:
        """Forget schedulers that were declared by themselves before this composite was built from them."""
        if schedule.declaration.class_name not in _COMPOSITES:
            return
        for index, inner in list(self.schedules.items()):
            if inner.milestones == () and inner.leaves[0] in schedule.leaves:
                del self.schedules[index]

    def add_groups(self, lrs: Sequence[float]) -> None:
        """The optimizer was declared again, with more groups."""
        if not self.scheduled:
            self.lrs += lrs[len(self.lrs) :]

    def step(self, seen: SchedulerStepped, *, resync: bool) -> None:
        """A scheduler made one step; ``resync``: records were lost, so its own position is believed."""
        self.left, self.stepped, self.restored, self.brought = list(seen.lrs), True, None, False
        explicit, last_epoch = seen.explicit, seen.last_epoch
        schedule = self.schedules.get(seen.scheduler)
        if schedule is None:
            self.unknown = self.unknown or "a scheduler stepped that was never declared"
            return
        follows = schedule.milestones is not None  # a chain has no position of its own
        position = schedule.position + 1
        if follows and (explicit or (resync and last_epoch != position)):
            position = last_epoch
        jumped = position != schedule.position + 1
        schedule.position = position
        if self.unknown:
            return
        try:
            if len(self.schedules) == 1 and follows:
                self.lrs = schedule.at(position)
            elif jumped:
                raise EvidenceError("a scheduler beside others was set to a position")
            else:
                self.lrs = schedule.advance(position, self.lrs)
        except (EvidenceError, ArithmeticError, ValueError) as error:
            self.unknown = str(error) or "the formula has no value here"
        if (
            explicit
            and schedule.leaves[0].kind == "CosineAnnealingWarmRestarts"
            and not self.agrees(seen.lrs)
        ):
            self.unknown = "CosineAnnealingWarmRestarts was given a fraction of an epoch"

    def agrees(self, lrs: Sequence[float]) -> bool:
        """Whether ``lrs`` are those derived, within 1e-6 of the largest base rate and float32 rounding."""
        return len(lrs) == len(self.lrs) and all(
            abs(seen - expected) <= 1e-6 * self.largest + 2.0**-22 * abs(expected)
            for seen, expected in zip(lrs, self.lrs, strict=True)
        )

    def _start(self, schedule: Schedule, others: list[Schedule]) -> list[float]:
        if schedule.position < 0:
            raise EvidenceError("a scheduler was declared before it had a position")
        if not others:
            return schedule.at(schedule.position)
        if schedule.position == 0 and schedule.declaration.index not in self.schedules:
            lrs = self.lrs
            for leaf in schedule.leaves if schedule.milestones is None else schedule.leaves[:1]:
                lrs = leaf.begin(lrs)
            return lrs
        if not (schedule.product and all(other.product for other in others)):
            raise EvidenceError("several schedulers were set to a position; their order is not known")
        bases = schedule.leaves[0].base_lrs
        shares = [1.0] * len(bases)
        for item in (schedule, *others):
            for leaf in item.leaves:
                share = leaf.at(item.position)
                shares = [
                    old * new / (base or 1.0)
                    for old, new, base in zip(shares, share, leaf.base_lrs, strict=True)
                ]
        return [base * share for base, share in zip(bases, shares, strict=True)]
