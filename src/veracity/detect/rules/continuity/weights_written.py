"""Single weights were written between two steps.

## The law

Weights are written by optimizer steps. A program that writes them in between (a bound, an average, a search
nearby) does so from its first steps on, or to all of them.

## What breaks it

One element of one tensor moved now and then: too few to be met by the sweep and the fingerprints that the
rule *continuity-weights-changed* compares. Weights exchanged for a forward pass and put back before the step.

## How it is checked

torch counts every write in place into a tensor. The counts of up to 48 of the swept parameters, by turns, are
noted when a step and the program's own hooks after it are over, and looked at again before the next step.
Writes in the first ten steps are a program's habit, and one that writes single tensors at some of them and
not at others decides by what it finds: nothing more is said of it. After ten steps between which a tensor was
left alone, a write to it and not to all others, or to all matrices, is a warning. Four or more tensors that
are all written the same even number of times are taken for an average that was put in for an evaluation and
out again. A write at the first step of a pass over the data, where a new phase may begin, is a note. What
`load_state_dict` or a load of a checkpoint comes with, and what hooks of another optimizer's step changed, is
not counted.

## What fools it

Writes through ``.data`` or NumPy, which torch does not count; a write to all tensors. A parameter that two
optimizers share is looked at by the one that stepped on it last.

## What to do

Look for what writes the tensor named between two steps. If the program means it, it should do so inside the
optimizer's `step`, from the first step on or at the beginning of a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import TensorDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import (
    CheckpointLoaded,
    HooksMoved,
    LoaderStarted,
    Observation,
    OptimizerDeclared,
    StateRestored,
    StepRecord,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from ...writes import Between, Writes
from .compare import name_of

MAX_OPTIMIZERS = 4096
SHOWN = 4
MANY = 4
"""So many tensors at least belong to an average that a program keeps of a part of its weights."""


@dataclass(slots=True)
class _Optimizer:
    """One optimizer of one process. ``explained``: something that may write was seen since its last step."""

    declared: list[TensorDeclaration]
    writes: Writes = field(default_factory=Writes)
    between: Between = field(default_factory=Between)
    explained: bool = False
    told: set[Severity] = field(default_factory=set)


class WeightsWritten:
    """Follows which weights are written between the steps."""

    rule: ClassVar[Rule] = Rule(
        "continuity-weights-written",
        "weight-continuity",
        "Single weights were written between two steps",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        CheckpointLoaded,
        HooksMoved,
        LoaderStarted,
        OptimizerDeclared,
        StateRestored,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._optimizers: dict[tuple[int, int], _Optimizer] = {}
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding of each severity for each optimizer of a process, at its first step."""
        pid = observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            self._declare((pid, observation.optimizer.index), observation.optimizer.tensors)
        elif isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, (CheckpointLoaded, StateRestored)):
            self._explain(pid)
        elif isinstance(observation, HooksMoved):
            if observation.optimizer != observation.stepping:
                self._explain(pid, observation.optimizer)
        elif isinstance(observation, StepRecord):
            at_pass = self._passes.step(pid, observation.optimizer)
            optimizer = self._optimizers.get((pid, observation.optimizer))
            if optimizer is not None:
                yield from self._step(optimizer, observation, at_pass=at_pass)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage

    def _declare(self, key: tuple[int, int], tensors: list[TensorDeclaration]) -> None:
        known = self._optimizers.get(key)
        if known is not None and [one.name for one in known.declared] == [one.name for one in tensors]:
            known.declared = tensors
        elif known is not None or len(self._optimizers) < MAX_OPTIMIZERS:
            self._optimizers[key] = _Optimizer(tensors)

    def _explain(self, pid: int, optimizer: int | None = None) -> None:
        for key, known in self._optimizers.items():
            if key[0] == pid and optimizer in (None, key[1]):
                known.explained = True

    def _step(self, optimizer: _Optimizer, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        explained, optimizer.explained = optimizer.explained, False
        seen = optimizer.between.take(step)
        if seen is None or explained:
            return
        looked, times = seen
        anew = optimizer.writes.take(looked, times, optimizer.declared)
        if not anew.tensors or anew.alike or _taken_back([times[tensor] for tensor in anew.tensors]):
            return
        severity = Severity.NOTE if at_pass else self.rule.severity
        if severity in optimizer.told:
            return
        optimizer.told.add(severity)
        names = [one.name for one in optimizer.declared]
        which = ", ".join(name_of(tensor, names) for tensor in anew.tensors[:SHOWN])
        more = f" and {len(anew.tensors) - SHOWN} more" if len(anew.tensors) > SHOWN else ""
        when = ", with a new pass over the data" if at_pass else ""
        quiet = min(optimizer.writes.quiet[tensor] for tensor in anew.tensors)
        yield finding_of(
            self.rule,
            f"weights of {which}{more}",
            f"{which}{more} were written in place between step {step.step - 1} and step {step.step}{when}; "
            f"at {quantity(quiet, 'step')} before nothing wrote there",
            rank=step.origin.rank,
            first_step=step.step,
            severity=None if severity is self.rule.severity else severity,
            evidence=tuple(
                Evidence(f"writes counted by torch into {name_of(tensor, names)}", "none", "written")
                for tensor in anew.tensors[:SHOWN]
            ),
        )


def _taken_back(times: list[int]) -> bool:
    """Whether several tensors were written equally often, once in and once out."""
    return len(times) >= MANY and len(set(times)) == 1 and times[0] % 2 == 0
