"""Parameters left their group, or their optimizer, in mid-run.

## The law

An optimizer goes on training the parameters that it was begun with, each with the settings of its group.

## What breaks it

A tensor taken out of ``param_groups``: it is never stepped on again, while all steps that are made are right.
A tensor moved to another group, old or new: it is stepped on with another rate, weight decay or betas, and no
declared value of any group changes.

## How it is checked

When its parameters are no longer the same an optimizer is declared anew, and the guard says of each tensor in
which group it was before, and which ones left that their module still has and would train. After ten steps,
tensors that are no longer with those that they were in a group with are a warning; at the first step of a
pass over a loader they are a note, and so is a group that leaves as a whole, as layers do that are frozen one
after another. Not told are groups and tensors that come in, tensors that are frozen (``requires_grad``), that
another optimizer has, or that were exchanged for others in their module, and groups that only change their
order. A program that does so within the first ten steps is not followed.

## What fools it

A tensor that is frozen as well, or exchanged for a copy. A group that leaves as a whole. What is done as a
pass begins, or by building another optimizer.

## What to do

Look for code that writes to ``param_groups`` or to the list of parameters of a group. A program that means to
stop training a part of its model does well to set ``requires_grad`` to False there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import LoaderStarted, Observation, OptimizerDeclared, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .groups import homes
from .not_declared import MAX_OPTIMIZERS

SETTLED = 10
SHOWN = 4
_Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Change:
    """Tensors of one group that are elsewhere, or ``left`` the optimizer; ``whole``: and no other stayed."""

    tensors: list[str]
    group: int
    left: bool
    whole: bool


@dataclass(slots=True)
class _Optimizer:
    """``waiting`` are the changes since the last step; ``early``: there were some before it had settled."""

    declared: OptimizerDeclaration
    steps: int = 0
    waiting: list[_Change] = field(default_factory=list)
    early: bool = False
    told: set[Severity] = field(default_factory=set)


class Regrouped:
    """Follows in which group each tensor of each optimizer is."""

    rule: ClassVar[Rule] = Rule(
        "update-parameters-regrouped",
        "update",
        "Parameters left their group, or their optimizer, in mid-run",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (LoaderStarted, OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage("update", "steps")
        self._optimizers: dict[_Key, _Optimizer] = {}
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A note and a warning for each optimizer, at the first step after the change."""
        rank, pid = observation.origin.rank, observation.origin.pid
        if isinstance(observation, LoaderStarted):
            self._passes.begin((rank, pid))
        elif isinstance(observation, OptimizerDeclared):
            self._declare((rank, pid, observation.optimizer.index), observation)
        elif isinstance(observation, StepRecord):
            at_pass = self._passes.step((rank, pid), observation.optimizer)
            optimizer = self._optimizers.get((rank, pid, observation.optimizer))
            if optimizer is not None:
                optimizer.steps += 1
                changes, optimizer.waiting = optimizer.waiting, []
                for change in changes:
                    yield from self._finding(optimizer, observation, change, at_pass=at_pass)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """No units: the steps of the law *update* are counted by ``update-not-declared``."""
        return self._coverage

    def _declare(self, key: _Key, seen: OptimizerDeclared) -> None:
        known = self._optimizers.get(key)
        if known is None:
            if len(self._optimizers) < MAX_OPTIMIZERS:
                self._optimizers[key] = _Optimizer(seen.optimizer)
            return
        changes = [*_moved(known.declared, seen), *_left(known.declared, seen, self._elsewhere(key))]
        known.declared = seen.optimizer
        if known.steps < SETTLED:
            known.early = known.early or bool(changes)
        elif not known.early:
            known.waiting = changes

    def _elsewhere(self, key: _Key) -> set[str]:
        """The names of what the other optimizers of that process train."""
        others = [one for other, one in self._optimizers.items() if other[:2] == key[:2] and other != key]
        return {tensor.name for one in others for tensor in one.declared.tensors}

    def _finding(
        self, optimizer: _Optimizer, step: StepRecord, change: _Change, *, at_pass: bool
    ) -> Iterator[Finding]:
        severity = Severity.NOTE if at_pass or change.whole else self.rule.severity
        if severity in optimizer.told:
            return
        optimizer.told.add(severity)
        index, path, line = optimizer.declared.index, optimizer.declared.path, optimizer.declared.line
        names = ", ".join(name[:80] for name in change.tensors[:SHOWN])
        names += f" and {len(change.tensors) - SHOWN} more" if len(change.tensors) > SHOWN else ""
        what = "went to another group" if not change.left else "are in no group any more"
        if change.whole:
            what += ", with all that was in theirs"
        when = ", as a pass over the data begins" if at_pass else ""
        yield finding_of(
            self.rule,
            f"optimizer {index}: {names}",
            f"before step {step.step}{when}, {quantity(len(change.tensors), 'tensor')} of parameter group "
            f"{change.group} ({names}) {what}",
            rank=step.origin.rank,
            first_step=step.step,
            locations=(Location(path, line),) if path else (),
            evidence=tuple(
                Evidence(name[:80], f"group {change.group}", "no group" if change.left else "another group")
                for name in change.tensors[:SHOWN]
            ),
            severity=None if severity is self.rule.severity else severity,
        )


def _moved(before: OptimizerDeclaration, seen: OptimizerDeclared) -> Iterator[_Change]:
    """Tensors that are no longer in the same group as most of those that they were in one with."""
    if len(seen.was) != len(seen.optimizer.tensors):
        return
    both = list(zip(seen.optimizer.tensors, seen.was, strict=True))
    stays = homes(before, seen)
    for was in range(len(before.groups)):
        names = [one.name for one, former in both if former == was and one.group != stays.get(was)]
        if names:
            yield _Change(names, was, left=False, whole=False)


def _left(before: OptimizerDeclaration, seen: OptimizerDeclared, elsewhere: set[str]) -> Iterator[_Change]:
    """Tensors that are in no group any more though their module would train them."""
    stays = set(seen.was)
    gone = {name for name in seen.left if name not in elsewhere}
    for group in range(len(before.groups)):
        names = [tensor.name for tensor in before.tensors if tensor.group == group and tensor.name in gone]
        if names:
            yield _Change(names, group, left=True, whole=group not in stays)
