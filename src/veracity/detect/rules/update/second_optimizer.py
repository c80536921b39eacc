"""A second optimizer steps on parameters that another one has been training.

## The law

Parameters are stepped by the optimizer that the run was begun with, or by another one that takes over from
it.

## What breaks it

An optimizer built in mid-run, `torch.optim.SGD(model.parameters(), lr=1e-3).step()` in a callback, each step
of which is a correct one: weights then move twice for each batch, or by rules that the run did not declare.

## How it is checked

At each step the guard says which other optimizers were the last to step on its parameters, by the parameters
themselves and only those with a gradient. An optimizer that made ten steps without sharing is the trainer of
its parameters. When one that was built after that steps on them, in between its steps, and it goes on, and so
again within a hundred steps, that is a warning at the second time. Once is a note, and so is an optimizer
that was built early but joins late. Not told are optimizers that share from the first steps on (generators
and critics, a task each), one that takes over for good (L-BFGS after Adam, an optimizer built anew), one that
makes more than three steps in a row (a phase of its own), and a wrapper that steps the other one within its
own step.

## What fools it

A second optimizer that is there within the first ten steps, or that makes its steps in long rows. One that
steps so rarely that a hundred steps lie between. Optimizers whose `step` fires no hook: what they change is
`continuity-weights-changed`'s matter, and so is code that moves the weights by itself.

## What to do

See where the second optimizer is built, and who calls its step. If it is meant to be there, build it before
the training begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, OptimizerDeclared, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .not_declared import MAX_OPTIMIZERS

ALONE = 10
WITHIN = 100
IN_A_ROW = 3
REPEATED = 2


@dataclass(slots=True)
class _Stepper:
    """One optimizer: ``born``, ``began`` and ``tenth`` count the steps of all optimizers of the process until
    it was declared, made its first step, and had made ten; -1 until then.

    ``seen`` are the steps that others had made when it last stepped after them. ``shared``: others stepped on
    its parameters in its first steps. ``returns`` are the steps at which it went on after a newcomer.
    """

    declared: OptimizerDeclaration
    born: int
    began: int = -1
    tenth: int = -1
    steps: int = 0
    shared: bool = False
    seen: dict[int, int] = field(default_factory=dict)
    returns: list[int] = field(default_factory=list)
    told: set[Severity] = field(default_factory=set)


@dataclass(slots=True)
class _Process:
    steppers: dict[int, _Stepper] = field(default_factory=dict)
    steps: int = 0


class SecondOptimizer:
    """Follows who steps after whom on the same parameters, in each process."""

    rule: ClassVar[Rule] = Rule(
        "update-second-optimizer",
        "update",
        "A second optimizer steps on parameters that another one has been training",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage("update", "steps")
        self._processes: dict[int, _Process] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A note and a warning for each optimizer that another one joined."""
        pid = observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            if pid in self._processes or len(self._processes) < MAX_OPTIMIZERS:
                process = self._processes.setdefault(pid, _Process())
                known = process.steppers.get(observation.optimizer.index)
                if known is None and len(process.steppers) < MAX_OPTIMIZERS:
                    known = _Stepper(observation.optimizer, process.steps)
                    process.steppers[observation.optimizer.index] = known
        elif isinstance(observation, StepRecord) and pid in self._processes:
            yield from self._step(self._processes[pid], observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """No units: the steps of the law *update* are counted by ``update-not-declared``."""
        return self._coverage

    def _step(self, process: _Process, step: StepRecord) -> Iterator[Finding]:
        own = process.steppers.get(step.optimizer)
        if own is None:
            return
        if own.began < 0:
            own.began = process.steps
        for index, tensors in step.shared:
            other = process.steppers.get(index)
            if other is not None and other.began > own.began:
                yield from self._returned(own, other, tensors, step)
        own.steps += 1
        process.steps += 1
        if own.steps == ALONE:
            own.tenth = process.steps

    def _returned(self, own: _Stepper, other: _Stepper, tensors: int, step: StepRecord) -> Iterator[Finding]:
        """An optimizer goes on after one that began later has stepped on its parameters."""
        row = other.steps - own.seen.get(other.declared.index, 0)
        if len(own.seen) < MAX_OPTIMIZERS:
            own.seen[other.declared.index] = other.steps
        own.shared = own.shared or not 0 <= own.tenth <= other.began
        if own.shared or row > IN_A_ROW:
            return
        severity = Severity.NOTE
        if other.born >= own.tenth:
            own.returns = [at for at in own.returns if step.step - at <= WITHIN] + [step.step]
            severity = Severity.WARNING if len(own.returns) >= REPEATED else Severity.NOTE
        if severity in own.told:
            return
        own.told.add(severity)
        yield self._finding(own.declared, other.declared, tensors, step, severity)

    def _finding(
        self,
        trainer: OptimizerDeclaration,
        second: OptimizerDeclaration,
        tensors: int,
        step: StepRecord,
        severity: Severity,
    ) -> Finding:
        kind, former = (one.class_name.rpartition(".")[2] for one in (second, trainer))
        again = "again" if severity is Severity.WARNING else "once"
        return finding_of(
            self.rule,
            f"optimizer {second.index} ({kind}) beside optimizer {trainer.index} ({former})",
            f"before step {step.step} of optimizer {trainer.index} ({former}), which has trained these "
            f"parameters, another one, {second.index} ({kind}), stepped {again} on {tensors} of them",
            rank=step.origin.rank,
            first_step=step.step,
            locations=(Location(second.path, second.line),) if second.path else (),
            evidence=(
                Evidence(
                    "optimizer that stepped on these parameters",
                    expected=f"{trainer.index} ({former})",
                    observed=f"{second.index} ({kind})",
                ),
            ),
            severity=severity,
        )
