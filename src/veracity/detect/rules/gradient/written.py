"""Single gradients were written between the backward pass and the step.

## The law

What the last backward pass leaves is what the step is given. Most programs write into no gradient in between,
or into all of them at once.

## What breaks it

A mask that zeroes a few elements of one layer's gradient, one element changed: too few to be met by the
sampled elements that the rule *gradient-changed* compares.

## How it is checked

torch counts every write in place into a tensor. When a backward pass has ended and right before the step the
count of up to 48 of the gradients that are read, by turns, is noted, and where they lie in memory. A gradient
whose count rose in between, or that is another tensor, was written, outside clipping and unscaling by torch's
own functions. A program that writes at its first ten steps has that habit, and one that writes single tensors
at some of them and not at others decides by what it finds: nothing more is said of it. After ten steps at
which a tensor was left alone, a write to it and not to the others is a warning, if at least two of its
sampled elements are not zero and stayed what they were: it was not scaled as a whole, as clipping layer by
layer does. A note: writes into all tensors or all matrices alike; writes at the first step of a pass over the
data, where a new phase may begin; sampled elements that shrank, as a bound on them does; values that are not
finite anywhere among the samples, which a program may clear.

## What fools it

Writes through ``.data`` or NumPy, which torch does not count. A write to all layers. Gradients that are views
of one buffer (DistributedDataParallel's ``gradient_as_bucket_view``) count as one. A program that clears
values that are not finite from one layer only, which no sample met, and only when it finds some, looks alike.

## What to do

Look at what runs between `backward` and `step`, and at what it does to the tensor named. A program that
clears or bounds gradients best does so at every step, to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar

from ....core.contract import TensorDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.gradients import Gradients
from ....core.observation import LoaderStarted, Observation, OptimizerDeclared, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from ....core.sweep import counted
from ...newpass import NewPasses
from ...writes import Anew, Writes
from .links import Comparison, Format, Part, compare, named, shrunk, zeroed

MAX_OPTIMIZERS = 4096
UNCHANGED = 2
"""So many elements that are not zero and stayed as they were show that a tensor was not scaled."""


@dataclass(slots=True)
class _Optimizer:
    """One optimizer of one process: its tensors, what it writes, and what was told of it."""

    declared: list[TensorDeclaration]
    writes: Writes = field(default_factory=Writes)
    told: set[Severity] = field(default_factory=set)


class GradientWritten:
    """Follows which gradients are written between the backward pass and the step."""

    rule: ClassVar[Rule] = Rule(
        "gradient-written",
        "gradient-continuity",
        "Single gradients were written between the backward pass and the step",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (LoaderStarted, OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._optimizers: dict[tuple[int, int], _Optimizer] = {}
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding of each severity for each optimizer of a process, at its first step."""
        pid = observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            key = pid, observation.optimizer.index
            if key in self._optimizers or len(self._optimizers) < MAX_OPTIMIZERS:
                self._optimizers[key] = _Optimizer(observation.optimizer.tensors)
        elif isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StepRecord):
            at_pass = self._passes.step(pid, observation.optimizer)
            optimizer = self._optimizers.get((pid, observation.optimizer))
            if optimizer is not None and observation.gradients.raw >= 0:
                yield from self._step(optimizer, observation, at_pass=at_pass)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: `gradient-changed` counts the steps of this law."""
        return self._coverage

    def _step(self, optimizer: _Optimizer, step: StepRecord, *, at_pass: bool) -> Iterator[Finding]:
        gradients = step.gradients
        if gradients.written is None or gradients.taken < 0:
            return
        at_end, at_step = gradients.readings[gradients.raw], gradients.readings[gradients.taken]
        turn = gradients.tensors[counted(step.step, gradients.tensors)]
        looked = set(turn).intersection(at_end.tensors, at_step.tensors)
        anew = optimizer.writes.take(looked, gradients.written, optimizer.declared)
        if not anew.tensors:
            return
        parts = _parts(gradients, anew, optimizer.declared)
        if not parts:
            return  # scaled or replaced as a whole: what that is the rule `gradient-changed` sees
        finite = all(map(isfinite, at_end.values))
        innocent = anew.alike or at_pass or not finite or _bounded(parts)
        severity = Severity.NOTE if innocent else self.rule.severity
        if severity not in optimizer.told:
            optimizer.told.add(severity)
            yield self._finding(optimizer, step, anew, parts, severity, at_pass=at_pass)

    def _finding(
        self,
        optimizer: _Optimizer,
        step: StepRecord,
        anew: Anew,
        parts: list[Part],
        severity: Severity,
        *,
        at_pass: bool,
    ) -> Finding:
        tensors = [part.tensor for part in parts]
        which = "all tensors" if anew.alike else named(tensors, optimizer.declared)
        quiet = min(optimizer.writes.quiet.get(tensor, 0) for tensor in tensors)
        before = f"; at {quantity(quiet, 'step')} before nothing wrote there" if not anew.alike else ""
        when = ", the first of a pass over the data" if at_pass else ""
        return finding_of(
            self.rule,
            f"gradients of optimizer {step.optimizer}: {which}",
            f"step {step.step}{when}: the gradients of {which} were written between the backward pass and "
            f"the step{before}",
            rank=step.origin.rank,
            first_step=step.step,
            severity=None if severity is self.rule.severity else severity,
            evidence=tuple(
                Evidence(
                    f"gradient of {named([part.tensor], optimizer.declared)}",
                    expected="no write counted",
                    observed=f"written; of the sampled elements {part.same} unchanged, "
                    f"{len(part.pairs)} changed",
                )
                for part in parts[:4]
            ),
        )


def _parts(gradients: Gradients, anew: Anew, declared: list[TensorDeclaration]) -> list[Part]:
    """The tensors written anew that were not changed as a whole, with their sampled elements."""
    numels = [tensor.numel for tensor in declared]
    rounding = Format.of(declared)
    least: dict[int, Part] = {}
    for first, second in _stretches(gradients):
        found: Comparison = compare(gradients.readings[first], gradients.readings[second], numels, rounding)
        for tensor in anew.tensors:
            part, known = found.parts.get(tensor), least.get(tensor)
            if part is not None and (known is None or part.same < known.same):
                least[tensor] = part
    return [part for part in least.values() if part.same >= UNCHANGED]


def _stretches(gradients: Gradients) -> Iterator[tuple[int, int]]:
    """The readings at both ends of each part of the way that lies outside known calls."""
    at = gradients.raw
    for event in gradients.events:
        yield at, event.before
        at = event.after
    yield at, gradients.taken


def _bounded(parts: list[Part]) -> bool:
    """Whether what changed among the samples only shrank, as under a bound on each element."""
    pairs = [pair for part in parts for pair in part.pairs]
    return bool(pairs) and shrunk(pairs) and not zeroed(pairs)
