"""A step changed weights in another way than the declared optimizer would have.

## The law

The values after ``optimizer.step()`` are those that the declared optimizer computes from the values before
it: parameters, moments, momentum and step count. A tensor without a gradient does not change in a single
bit.

## What breaks it

An edited optimizer file (a bias correction removed, a sign turned, weight decay dropped), a replaced
``step``, a hook that writes to weights or gradients within the step, a flag such as ``maximize`` set
later.

## How it is checked

The guard samples elements chosen by a keyed function before and after each step. Their update is derived
again in float64 from the published formula of Adam, AdamW or SGD and compared with a bound on honest
rounding (``formulas.py``). A step is broken when two elements lie outside, or one lies more than eight
bounds away.

## What fools it

A change below the rounding of the weights' format: in bfloat16 and float16 that is about one percent of a
weight, so the check is weak there, as coverage says. A change to elements that are not sampled, until they
are. A gradient, learning rate or weight decay that is wrong before the step begins: those are other laws'
matter.

## What to do

Read the diagnosis and the file it points to; compare that file with its distribution. Weights and
optimizer state from the first named step on are not what the declared training would have produced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.errors import EvidenceError
from ....core.finding import Finding
from ....core.observation import Observation, OptimizerDeclared, StepRecord
from ....core.rule import Confidence, Rule, Severity
from ....core.sample import TensorSample
from .account import account_of
from .formulas import AdamSettings
from .judgement import Case, broken_kinds, judge, prepare
from .settings import KINDS, settings_of
from .watched import NOT_DETERMINED, Watched

MAX_OPTIMIZERS = 4096


class UpdateNotDeclared:
    """Judges each StepRecord against its OptimizerDeclared."""

    rule: ClassVar[Rule] = Rule(
        "update-not-declared",
        "update",
        "The step applied is not the declared optimizer's",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage("update", "steps")
        self._watched: dict[tuple[int, int, int], Watched] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Findings of one step, each kind once per optimizer and process, at its first step."""
        if isinstance(observation, OptimizerDeclared):
            self._declare(observation)
        elif isinstance(observation, StepRecord):
            yield from self._step(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps of which at least one element could be checked."""
        for (rank, _, _), watched in self._watched.items():
            self._coverage.stopped = self._coverage.stopped or watched.stopped(rank)
        return self._coverage

    def _declare(self, seen: OptimizerDeclared) -> None:
        key = (seen.origin.rank, seen.origin.pid, seen.optimizer.index)
        known = self._watched.get(key)
        if known is not None:  # groups may be added; what was declared once stays as it was declared
            first = known.declared.groups
            known.declared = replace(seen.optimizer, groups=first + seen.optimizer.groups[len(first) :])
        elif len(self._watched) < MAX_OPTIMIZERS:
            self._watched[key] = Watched(seen.optimizer)

    def _step(self, step: StepRecord) -> Iterator[Finding]:
        watched = self._watched.get((step.origin.rank, step.origin.pid, step.optimizer))
        reason = _why_not(step, watched)
        if reason or watched is None:
            self._coverage.count(checked=False, reason=reason)
            if watched is not None:
                watched.count(checked=False, reason=reason)
            return
        cases: list[Case] = []
        reasons: set[str] = set()
        for sample in step.samples:
            if sample.repeated and not sample.after:
                continue  # read again for continuity only
            try:
                cases.append(judge(_case(watched.declared, step, sample)))
            except EvidenceError as error:
                reasons.add(str(error))
        if any(case.skipped for case in cases):
            reasons.add(NOT_DETERMINED)
        tensors = watched.declared.tensors
        for dtype in sorted({tensors[case.sample.tensor].dtype for case in cases if case.precision.weak}):
            reasons.add(f"{dtype} parameters: their rounding hides small changes, the check is weak")
        for text in sorted(reasons):
            self._coverage.skip(text)
        checked = any(case.checked for case in cases)
        self._coverage.count(checked=checked)
        watched.count(checked=checked)
        for kind, found in broken_kinds(cases).items():
            if kind not in watched.reported:
                watched.reported.add(kind)
                yield account_of(self.rule, kind, step, watched.declared, found)


def _case(declared: OptimizerDeclaration, step: StepRecord, sample: TensorSample) -> Case:
    if sample.tensor >= len(declared.tensors):
        raise EvidenceError("a sample names a tensor that was not declared")
    tensor = declared.tensors[sample.tensor]
    if not 0 <= tensor.group < min(len(declared.groups), len(step.groups)):
        raise EvidenceError("a parameter group was added or removed after the declaration")
    kind = KINDS[declared.class_name]
    settings = settings_of(kind, declared.groups[tensor.group], step.groups[tensor.group])
    if step.compiled and isinstance(settings, AdamSettings):
        settings = replace(settings, single_bias=True)
    return prepare(sample, settings, tensor.dtype)


def _why_not(step: StepRecord, watched: Watched | None) -> str:
    if watched is None:
        return "the optimizer was never declared"
    if watched.declared.class_name not in KINDS:
        return f"no formula is known for optimizer class {watched.declared.class_name[:120]}"
    if step.closure:
        return "step was given a closure: the gradient is computed within the step"
    if step.scaled:
        return "gradients are unscaled within the step (GradScaler with a fused optimizer)"
    return "" if step.samples else "no elements were sampled"
