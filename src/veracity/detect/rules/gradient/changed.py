"""Gradients were changed between the backward pass and the step.

## The law

What the last backward pass leaves is what the step is given, bit for bit, but for what is declared in
between: clipping by torch's own functions, and a `GradScaler` that divides by its scale.

## What breaks it

A sign turned, a layer's gradient scaled or zeroed, elements masked, noise added: by an edited `zero_grad`,
`clip_grad_norm_`, trainer or callback, in a thread, at some steps only.

## How it is checked

A few elements of every parameter's gradient, at places chosen by a key the program does not have, are read
when a backward pass has ended, around each clipping and unscaling, and right before the step. Programs may
change gradients themselves: what one does from its first steps on is taken as its habit and said in the
coverage, and a constant factor is a note. After three steps that were explained, one that is not is judged.
Some tensors changed among others that were not, a turned sign, elements zeroed for a few steps only, noise
in single steps: an error at the first such step. What a program may begin later is less. A note: all
gradients smaller, or a layer held at zero for good. A warning: all others changed from some step on, or
scaled up; single layers made smaller; single elements held at zero from the middle of a pass on; all
gradients smaller by one and the same factor at three steps, which no clipping of a norm does. A gradient set
to None is freezing and no change; one that is back after less than five steps is a warning. All of them set
to zero or to None at a step whose loss or gradients are far above those before are a batch passed over: a
note.

## What fools it

A change inside the backward pass (a hook, a custom function), which is the law *gradient-truth*'s matter. A
change in the first steps, which is taken as habit. Elements that are not sampled, until they are. Gradients
that torch's `backward` did not compute, steps that compute theirs in a closure, sharded parameters: not
covered, as coverage says.

## What to do

Look at what runs between `backward` and `step`: trainer, callbacks, clipping, the files of torch. If the
program means it, it should do so from the first step on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import ClassVar

from ....core.contract import TensorDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.gradients import GradientEvent, Gradients, Reading
from ....core.observation import LoaderStarted, Observation, OptimizerDeclared, StepRecord, StepsPassed
from ....core.rule import Confidence, Rule, Severity
from ...newpass import NewPasses
from .course import GIVEN_UP, Broken, Course, told
from .links import Comparison, Format, compare, named

MAX_OPTIMIZERS = 4096
BETWEEN = 100
SHOWN = 4
NO_READING = "no gradients were read"
NO_BACKWARD = "no backward pass of torch ended between the step before and this one"
MANY_CALLS = "more calls that clip came before a step than are followed"
INVALID = "gradients are not finite"


class GradientChanged:
    """Follows the gradients of each optimizer from the backward pass to the step."""

    rule: ClassVar[Rule] = Rule(
        "gradient-changed",
        "gradient-continuity",
        "Gradients were changed between the backward pass and the step",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        LoaderStarted,
        OptimizerDeclared,
        StepRecord,
        StepsPassed,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._courses: dict[tuple[int, int], Course] = {}
        self._declared: dict[tuple[int, int], list[TensorDeclaration]] = {}
        self._reported: set[tuple[int, int, Severity]] = set()
        self._ranks: dict[int, int] = {}
        self._passes = NewPasses()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """The worst of each severity once per optimizer and process, at its first step."""
        pid = observation.origin.pid
        if isinstance(observation, OptimizerDeclared):
            key = pid, observation.optimizer.index
            if key in self._declared or len(self._declared) < MAX_OPTIMIZERS:
                self._declared[key] = observation.optimizer.tensors
                self._courses[key] = Course()
                self._ranks[pid] = observation.origin.rank
        elif isinstance(observation, LoaderStarted):
            self._passes.begin(pid)
        elif isinstance(observation, StepsPassed):
            course = self._courses.get((pid, observation.optimizer))
            if course is not None:
                course.hole()
        elif isinstance(observation, StepRecord):
            key = pid, observation.optimizer
            at_pass = self._passes.step(pid, observation.optimizer)
            reason, found = self._step(key, observation, at_pass=at_pass)
            self._coverage.count(checked=not reason, reason=reason)
            yield from self._findings(key, found)

    def finish(self) -> Iterator[Finding]:
        """Changes that were still on in the last steps."""
        for key, course in self._courses.items():
            yield from self._findings(key, list(course.left()))

    def coverage(self) -> Coverage:
        """Steps whose gradients were followed and could be explained or not."""
        return self._coverage

    def _step(self, key: tuple[int, int], step: StepRecord, *, at_pass: bool) -> tuple[str, list[Broken]]:
        gradients, course = step.gradients, self._courses.get(key)
        if course is None:
            return "the optimizer was never declared", []
        if gradients.taken < 0 or not gradients.tensors:
            return NO_READING, []
        if gradients.raw < 0:
            return NO_BACKWARD, []
        if gradients.cut:
            return MANY_CALLS, []
        rounding = Format.of(self._declared[key])
        numels = [tensor.numel for tensor in self._declared[key]]
        size = _norm(gradients.readings[gradients.raw], numels)
        link, comparison = _first_change(gradients, numels, rounding, course.factors)
        if comparison.invalid and (comparison.changed or comparison.everywhere):
            return INVALID, []
        found = list(
            course.take(step.step, link, comparison, rounding, at_pass=at_pass, loss=step.loss, size=size)
        )
        return course.reason, found

    def _findings(self, key: tuple[int, int], found: list[Broken]) -> Iterator[Finding]:
        for broken in found:
            severity = broken.severity
            if (*key, severity) in self._reported:
                continue
            self._reported.add((*key, severity))
            yield self._finding(key, broken)

    def _finding(self, key: tuple[int, int], broken: Broken) -> Finding:
        declared = self._declared[key]
        changed = broken.comparison.changed
        everywhere = broken.comparison.everywhere or not changed
        everywhere = everywhere and broken.words != GIVEN_UP
        which = "all tensors" if everywhere else named([part.tensor for part in changed], declared)
        since = "from this step on" if broken.lasting else "before this step"
        words = told(broken, Format.of(declared))
        return finding_of(
            self.rule,
            f"gradients of optimizer {key[1]}: {which}",
            f"step {broken.step}: the gradients of {which} were changed between the backward pass and the "
            f"step, {since}: {words}",
            rank=self._ranks.get(key[0], -1),
            first_step=broken.step,
            severity=severity_or_none(broken, self.rule),
            evidence=tuple(
                Evidence(
                    f"gradient of {named([part.tensor], declared)}, sampled elements; "
                    f"{len(part.pairs)} changed, {part.same} not",
                    expected=", ".join(f"{due:.9g}" for due, _ in part.pairs[:SHOWN]),
                    observed=", ".join(f"{seen:.9g}" for _, seen in part.pairs[:SHOWN]),
                )
                for part in changed[:SHOWN]
            ),
        )


def _norm(reading: Reading, numels: Sequence[int]) -> float:
    """The norm of all gradients as far as sampled elements tell: those of a tensor stand for all of it."""
    squares = (
        numels[tensor] * sum(value * value for value in values) / len(values)
        for tensor, values in reading.by_tensor().items()
        if values and tensor < len(numels)
    )
    return sqrt(sum(squares))


def severity_or_none(broken: Broken, rule: Rule) -> Severity | None:
    """The severity where it is not the rule's own."""
    return None if broken.severity is rule.severity else broken.severity


def _first_change(
    gradients: Gradients, numels: list[int], rounding: Format, factors: dict[int, float]
) -> tuple[int, Comparison]:
    """The first link of the way on which gradients changed otherwise than declared; else the last one.

    Links are numbered from 0: up to the first call, across it, up to the second one, and so on to the step;
    those between two backward passes, if gradients changed there, from ``BETWEEN`` on. What
    ``clip_grad_norm_`` and ``clip_grad_value_`` do is judged by the law *clipping*.
    """
    links: list[tuple[int, int, int, float]] = []
    between = gradients.between
    if between is not None:
        links += _links(BETWEEN, between.raw, between.taken, between.events)
    links += _links(0, gradients.raw, gradients.taken, gradients.events)
    invalid = 0
    result = Comparison()
    for at, (number, first, second, declared) in enumerate(links):
        factor = declared * factors.get(number, 1.0)
        if first == second and factor == 1.0 and at < len(links) - 1:
            continue
        was, now = gradients.readings[first], gradients.readings[second]
        result = compare(was, now, numels, rounding, lambda _, factor=factor: factor)  # type: ignore[misc]
        invalid += result.invalid
        if result.changed:
            break
    result.invalid = invalid
    return number, result


def _links(
    begin: int, raw: int, taken: int, events: Sequence[GradientEvent]
) -> Iterator[tuple[int, int, int, float]]:
    """Number, first and second reading, and factor of each link that no clipping function made."""
    at, number = raw, begin
    for event in events:
        yield number, at, event.before, 1.0
        if event.kind == "unscale":
            yield number + 1, event.before, event.after, 1.0 / event.limit if event.limit > 0.0 else 1.0
        at, number = event.after, number + 2
    yield number, at, taken, 1.0
