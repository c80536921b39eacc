"""A hyper-parameter other than the learning rate changed after it was declared.

## The law

Betas, eps, weight decay, momentum and the flags of a parameter group stay as they were before the first step.

## What breaks it

``optimizer.param_groups[0]["weight_decay"] = 0`` somewhere in the run; a checkpoint of other settings
loaded into the optimizer; a patched scheduler that moves more than the learning rate.

## How it is checked

The values in force at each step are compared with the declaration, group by group. The learning rate is
the law *schedule*'s matter; ``betas`` and ``momentum`` may move where a declared OneCycleLR or CyclicLR
cycles them; flags that only choose how torch computes the same formula are left out. What the program sets in
its first steps, as schedules of its own do, and what it sets as a pass over its data begins, is a note.

## What fools it

A value that the program schedules by itself, changed once more. A value changed and put back within ``step``
itself: then the update is wrong, which ``update-not-declared`` sees.

## What to do

If the program schedules the value on purpose (weight decay often is), declare it in contract.toml.
Otherwise find out who set it: the steps from the first one named were computed with another value than
declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ....core.contract import Hyper, SchedulerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    LoaderStarted,
    Observation,
    OptimizerDeclared,
    SchedulerDeclared,
    StepRecord,
)
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .groups import carried
from .not_declared import MAX_OPTIMIZERS
from .settings import IMPLEMENTATION, LEARNING_RATES, first_difference

EARLY = 3
_CYCLERS = frozenset({"torch.optim.lr_scheduler.OneCycleLR", "torch.optim.lr_scheduler.CyclicLR"})
_NOT_OURS = LEARNING_RATES | IMPLEMENTATION | {"params", "param_names"}
_CYCLED = frozenset({"betas", "momentum"})


class HyperDrift:
    """Compares the groups of each StepRecord with the declaration; reports each entry once."""

    rule: ClassVar[Rule] = Rule(
        "update-hyper-drift",
        "update",
        "A declared hyper-parameter changed during the run",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        LoaderStarted,
        OptimizerDeclared,
        SchedulerDeclared,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage("update", "steps")
        self._declared: dict[tuple[int, int, int], OptimizerDeclared] = {}
        self._cycled: set[tuple[int, int, int]] = set()
        self._reported: set[tuple[int, int, int, str]] = set()
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A finding for each entry at the first step at which it differs."""
        rank, pid = observation.origin.rank, observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            key = (rank, pid, observation.optimizer.index)
            known = self._declared.get(key)
            if known is not None:
                self._declared[key] = _rearranged(known, observation)
            elif len(self._declared) < MAX_OPTIMIZERS:
                self._declared[key] = observation
        elif isinstance(observation, SchedulerDeclared):
            if _cycles(observation.scheduler) and len(self._cycled) < MAX_OPTIMIZERS:
                self._cycled.add((rank, pid, observation.scheduler.optimizer))
        elif isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StepRecord):
            at_pass = self._passes.step(pid, observation.optimizer)
            yield from self._step((rank, pid, observation.optimizer), observation, at_pass=at_pass)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """No units: the steps of the law *update* are counted by ``update-not-declared``."""
        return self._coverage

    def _step(self, key: tuple[int, int, int], step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        declared = self._declared.get(key)
        if declared is None:
            return
        optimizer = declared.optimizer
        ignored = _NOT_OURS | _CYCLED if key in self._cycled else _NOT_OURS
        for index, (was, now) in enumerate(zip(optimizer.groups, step.groups, strict=False)):
            if was == now:
                continue
            reported = frozenset(name for *head, name in self._reported if tuple(head) == key)
            difference = first_difference(was, now, ignored | reported)
            if difference is None:
                continue
            name, before, after = difference
            self._reported.add((*key, name))
            when = ""
            if step.step < EARLY:
                when = "; the program sets it from its first steps on"
            elif at_pass:
                when = "; a pass over the data has just begun"
            yield finding_of(
                self.rule,
                f"optimizer {optimizer.index}, group {index}: {name}",
                f"step {step.step}: {name} of parameter group {index} is {_show(after)}, "
                f"declared {_show(before)}{when}",
                rank=step.origin.rank,
                first_step=step.step,
                locations=(Location(optimizer.path, optimizer.line),) if optimizer.path else (),
                evidence=(Evidence(name, expected=_show(before), observed=_show(after)),),
                severity=Severity.NOTE if when else None,
            )


def _rearranged(first: OptimizerDeclared, seen: OptimizerDeclared) -> OptimizerDeclared:
    """The groups as they are now with what was declared of them first.

    A later declaration would declare what it should be compared with: of a new group nothing is known.
    """
    groups = [{} if was is None else first.optimizer.groups[was] for was in carried(first.optimizer, seen)]
    return replace(seen, optimizer=replace(seen.optimizer, groups=groups))


def _cycles(scheduler: SchedulerDeclaration) -> bool:
    """Whether it, or a scheduler inside it, moves momentum along with the learning rate."""
    if scheduler.class_name in _CYCLERS:
        return scheduler.parameters.get("cycle_momentum", True) is not False
    return any(_cycles(child) for child in scheduler.children)


def _show(value: Hyper) -> str:
    return repr(value)[:120]
