"""What the run declares, read from its own objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..contract import OptimizerDeclaration, RateFunction, SchedulerDeclaration
from .root import Observation


@dataclass(frozen=True, slots=True)
class OptimizerDeclared(Observation):
    """An optimizer before its first step, and again when its parameters are others or in other groups.

    Then ``was`` says of each tensor in which group it was at the declaration before, -1 of a new one, and
    ``left`` names parameters that it held, holds no more, and that their module has and would train.
    """

    optimizer: OptimizerDeclaration
    was: list[int] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SchedulerDeclared(Observation):
    """A scheduler when it was constructed, or again when its state was loaded (``reloaded``)."""

    scheduler: SchedulerDeclaration
    reloaded: bool


@dataclass(frozen=True, slots=True)
class SchedulerStepped(Observation):
    """Calls of a scheduler's ``step`` since the last optimizer step.

    ``scheduler`` is the outermost one's index. ``last_epoch`` is its position after the call, ``explicit``
    true when the program passed an epoch or a metric itself. ``before_step`` is the optimizer ordinal of the
    step that comes next. ``lrs`` are the rates it left in the groups, ``base_lrs`` those it starts from,
    empty where it keeps none. ``functions`` are those that it calls for its rates, when they are others than
    at the call before, else empty.
    """

    scheduler: int
    last_epoch: int
    explicit: bool
    before_step: int
    lrs: list[float]
    base_lrs: list[float] = field(default_factory=list)
    functions: list[RateFunction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SchedulerCall:
    """What :class:`SchedulerStepped` says, without where it comes from."""

    scheduler: int
    last_epoch: int
    explicit: bool
    before_step: int
    lrs: list[float]
    base_lrs: list[float] = field(default_factory=list)
    functions: list[RateFunction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SchedulersStepped(Observation):
    """Many calls in their order, between steps that the guard let pass: one by one they are dear."""

    calls: list[SchedulerCall]

    def each(self) -> Iterator[SchedulerStepped]:
        """The calls as if each had been told by itself."""
        for one in self.calls:
            yield SchedulerStepped(
                self.origin,
                one.scheduler,
                one.last_epoch,
                one.explicit,
                one.before_step,
                one.lrs,
                one.base_lrs,
                one.functions,
            )


@dataclass(frozen=True, slots=True)
class ReferenceDeclared(Observation):
    """A file of reference functions that ``run`` was given, as the monitor read it before the launch.

    ``digest`` is that of ``text`` as UTF-8. It is declared outside the training process, and never run.
    """

    path: str
    digest: str
    text: str
