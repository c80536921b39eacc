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

The guard samples elements chosen by a keyed function before and after each step: of eight tensors in turn
while a run is young or was just restored, and at steps drawn by the key, of two at the others, so
that it keeps to ``--overhead``; coverage counts those. Their update is derived
again in float64 from the published formula and compared with a bound on honest rounding, which is worked out
operation by operation (``formulas.py``, ``rounding.py``). A step is broken when two elements lie outside, or
one lies more than eight bounds away.

Covered are torch's SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, NAdam and RAdam in all their forms
(``foreach``, ``fused``, ``capturable``, ``differentiable``, ``maximize``, either weight decay). The loss
scale of a GradScaler is taken into account, and a step that it skips may change nothing. Covered is torch's
Adafactor, too: its factors over whole tensors are derived for tensors that are sampled whole and left open
for larger ones. Classes that inherit ``step`` from one of these are checked as their parent.

A class that overrides ``step`` of one of these, or that is called Lion and has Lion's settings, is not known
to follow the formula. When its first three steps do, to the last rounding, a later departure is a warning,
and the law has lost sight of it from there on; when they do not, nothing of it is checked and coverage says
so. So it does for optimizers of other classes, for each by name.

A class that overrides ``step``, or is no child of torch's, is checked against a declared reference where
``veracity run --optimizer-reference FILE`` gives one: a function of the class' name that says what a step
makes of one element. The file is parsed, never run; its text is in the record. How far honest rounding may be
off is worked out from the function, with room for other orders of its operations and for float32 scalars.
Where rounding decides (the sign of nearly nothing), and where a state is not there yet and the reference does
not say what it begins with, an element is passed over. A reference takes hyper-parameters as the group has
them at the call; ``update-hyper-drift`` tells when they change.

## What fools it

A change below the rounding of the weights' format: in bfloat16 and float16 that is about one percent of a
weight, so the check is weak there, as coverage says. A change to elements that are not sampled, until they
are. With Adafactor, one factor for all elements of a large tensor. A class of its own that departs from the
start. A gradient, learning rate or weight decay that is wrong before the step begins: those are other laws'
matter. Sparse gradients and closures are not checked. Whoever writes a reference can declare anything: it
needs approval as code does, and coverage names the file and its digest. A state that is kept in a narrow
format, or cut to look like it, makes the check of its tensor as weak as one in that format.

## What to do

Read the diagnosis and the file it points to; compare that file with its distribution. Weights and
optimizer state from the first named step on are not what the declared training would have produced. When
coverage names an optimizer that cannot be checked, use the class of torch that does the same, leave ``step``
to the class it is derived from, or declare a reference. When a step differs from a declared reference, one of
the two is wrong: read both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.errors import EvidenceError
from ....core.finding import Finding
from ....core.observation import Observation, OptimizerDeclared, ReferenceDeclared, StepRecord
from ....core.rule import Confidence, Rule, Severity
from ....core.sample import TensorSample
from .account import account_of
from .formulas import AdamSettings
from .groups import carried
from .judgement import Case, broken_kinds, judge, moves, prepare
from .reference.declared import References
from .reference.sampled import reference_settings
from .settings import settings_of
from .watched import BASELINE, NOT_DETERMINED, Watched

MAX_OPTIMIZERS = 4096
GLANCED = "two tensors were read, not eight, so that the guard takes no more time than it may"
NARROW = "optimizer state is kept in a narrow format: its rounding hides small changes, the check is weak"
PARTIAL = "Adafactor on tensors that are not sampled whole: a factor common to all elements is not checked"


class UpdateNotDeclared:
    """Judges each StepRecord against its OptimizerDeclared."""

    rule: ClassVar[Rule] = Rule(
        "update-not-declared",
        "update",
        "The step applied is not the declared optimizer's",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ReferenceDeclared, OptimizerDeclared, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage("update", "steps")
        self._watched: dict[tuple[int, int, int], Watched] = {}
        self._steps = 0
        self._references = References()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Findings of one step, each kind once per optimizer and process, at its first step."""
        if isinstance(observation, ReferenceDeclared):
            self._references.take(observation)
        elif isinstance(observation, OptimizerDeclared):
            self._declare(observation)
        elif isinstance(observation, StepRecord):
            yield from self._step(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps of which at least one element could be checked; which optimizers have none is a reason."""
        found = replace(self._coverage, reasons=dict(self._coverage.reasons))
        for (rank, pid, _), watched in self._watched.items():
            found.stopped = found.stopped or watched.stopped(rank)
            unseen = watched.unseen(rank)
            if unseen:
                found.skip(unseen)
                if not found.stopped and any(
                    watched.takes_over(other)
                    for (of_rank, of_pid, _), other in self._watched.items()
                    if (of_rank, of_pid) == (rank, pid)
                ):
                    found.stopped = f"weights that were checked went to {unseen}"
        for text in self._references.reasons(self._watched.values()):
            found.skip(text)
        return found

    def _declare(self, seen: OptimizerDeclared) -> None:
        key = (seen.origin.rank, seen.origin.pid, seen.optimizer.index)
        known = self._watched.get(key)
        if known is not None:  # groups may come and go; what was declared once stays as it was declared
            first, now = known.declared.groups, seen.optimizer.groups
            whose = carried(known.declared, seen)
            groups = [now[at] if was is None else first[was] for at, was in enumerate(whose)]
            known.declared = replace(seen.optimizer, groups=groups)
        elif len(self._watched) < MAX_OPTIMIZERS:
            self._watched[key] = Watched.of(seen.optimizer, self._references)

    def _step(self, step: StepRecord) -> Iterator[Finding]:
        watched = self._watched.get((step.origin.rank, step.origin.pid, step.optimizer))
        self._steps += 1
        if watched is not None:
            watched.first, watched.last = watched.first or self._steps, self._steps
        reason = _why_not(step, watched)
        if reason or watched is None:
            self._coverage.count(checked=False, reason=reason)
            if watched is not None:
                watched.count(checked=False, reason=reason)
            return
        cases, reasons = _judged(watched, step)
        for text in sorted(reasons):
            self._coverage.skip(text)
        checked = any(case.checked for case in cases)
        broken = broken_kinds(cases)
        if watched.on_trial:
            watched.tried(agrees=not broken, moved=checked and any(map(moves, cases)))
            self._coverage.count(checked=False, reason=watched.no_formula() or BASELINE)
            watched.count(checked=False, reason=watched.no_formula() or BASELINE)
            return
        if broken and not watched.certain:
            watched.departed = watched.departed or step.step + 1
        gone = watched.no_formula()
        self._coverage.count(checked=checked and not gone, reason=gone)
        watched.count(checked=checked and not gone, reason=gone or min(reasons, default=""))
        for kind, found in broken.items():
            if kind not in watched.reported:
                watched.reported.add(kind)
                yield account_of(
                    self.rule,
                    kind,
                    step,
                    watched.declared,
                    found,
                    watched.formula,
                    observed=not watched.certain,
                )


def _judged(watched: Watched, step: StepRecord) -> tuple[list[Case], set[str]]:
    """The tensors that could be judged, and what kept others from it or weakens the check."""
    cases: list[Case] = []
    reasons: set[str] = set()
    for sample in step.samples:
        if sample.repeated and not sample.after:
            continue  # read again for continuity only
        try:
            cases.append(judge(_case(watched, step, sample), skipped=step.skipped))
        except EvidenceError as error:
            reasons.add(str(error))
    if any(case.skipped for case in cases):
        reasons.add(NOT_DETERMINED)
    tensors = watched.declared.tensors
    if any(case.narrowed for case in cases):
        reasons.add(NARROW)
    weak = {tensors[case.sample.tensor].dtype for case in cases if case.precision.weak and not case.narrowed}
    for dtype in sorted(weak):
        reasons.add(f"{dtype} parameters: their rounding hides small changes, the check is weak")
    if any(case.partial for case in cases):
        reasons.add(PARTIAL)
    if not step.close:
        reasons.add(GLANCED)
    return cases, reasons


def _case(watched: Watched, step: StepRecord, sample: TensorSample) -> Case:
    declared = watched.declared
    if sample.tensor >= len(declared.tensors):
        raise EvidenceError("a sample names a tensor that was not declared")
    tensor = declared.tensors[sample.tensor]
    if not 0 <= tensor.group < min(len(declared.groups), len(step.groups)):
        raise EvidenceError("a parameter group was added or removed after the declaration")
    was, now = declared.groups[tensor.group], step.groups[tensor.group]
    scale = step.scale if step.scaled and step.scale else 1.0
    if watched.reference is not None:
        return prepare(sample, reference_settings(watched.reference, now), tensor.dtype, scale)
    settings = settings_of(watched.formula, was, now, tensor=tensor)
    if step.compiled and isinstance(settings, AdamSettings):
        settings = replace(settings, single_bias=True)
    return prepare(sample, settings, tensor.dtype, scale)


def _why_not(step: StepRecord, watched: Watched | None) -> str:
    if watched is None:
        return "the optimizer was never declared"
    no_formula = watched.no_formula()
    if no_formula:
        return no_formula
    if step.closure:
        return "step was given a closure: the gradient is computed within the step"
    if step.scaled and not (step.scale is not None and 0.0 < step.scale < inf):
        return (
            "gradients are unscaled within the step (GradScaler with a fused optimizer) by an unknown scale"
        )
    return "" if step.samples else "no elements were sampled"
