"""The gradient of a protected loss function is not its derivative.

## The law

The gradient that a loss function hands back to what it was given is the derivative of what it returned.

## What breaks it

An autograd function in the place of a loss whose backward pass drops a class, scales rare examples or flips
signs, from some step on, or through a name that was exchanged in an imported module. A model that returns its
predictions is checked up to them only (`gradient-not-derivative`); how the loss depends on them is taken from
the program.

## How it is checked

The program hands its loss to `veracity.protect(loss_fn=…)` and uses what that returns. On steps that a keyed
draw chooses one call is kept: arguments, random numbers, outputs, the gradients that came back to these, and
the one that left the function towards one of its inputs, read at the edges of the graph. When the backward
pass has ended, the call is repeated: unmoved, which must give the recorded outputs bit for bit, and with that
input moved a little forwards and backwards, along its gradient or along keyed random signs. How the outputs
change, weighted with what came back to them, is compared with the inner product of gradient and displacement.
A fourth evaluation estimates the error; what looks wrong is repeated at a third and a ninth of the
displacement, and counts only if it is as wrong there: kinks that are crossed make another thing of each. A
loss in half precision or under autocast is repeated bit for bit as it was, and then moved in full precision.

No factor is taken for the program's own: by what it scales its loss lies outside of the function, and in what
came back to it.

## What fools it

A gradient that is wrong at steps that are not drawn, or in a call that is not: of several calls in a step and
of several protected losses one is checked. A gradient that is wrong in a small part: along random signs three
hundredths of what its norm lets expect are allowed, so that one class of a thousand is seen in some of the
checks only. Code that is right whenever it notices that it runs again. A function that is compiled, or called
within compiled code, is not checked, nor one that does not repeat bit for bit, nor what
`backward(inputs=…)` brings. Where a loss has many kinks (the hardest of many examples) most checks tell
nothing.

What the function takes out of the graph (`detach`, parts without gradients) is a constant to autograd. Where
a gradient is right with all of that held constant, it is right; where the function has begun later to do so,
it is a warning. An autograd function of the program, or a hook, that has been in the way from the first
checks on, and was wrong before it had been right at six, may replace the derivative on purpose: a note. Both
are errors where the program says `protect(loss_fn=…, differentiable=True)`. All else that is wrong is an
error.

A function that keeps something from call to call (writes into a tensor that it closes over, appends to a
list, counts in a global, trains a normalisation) is not called again, and so not checked, as far as what it
names itself shows that.

## What to do

Look at the function named, at what it calls, and at the autograd functions that are listed. If it means to
replace a derivative, leave `differentiable=True` out, or do not protect it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LossChecked, Observation, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .not_derivative import BLURRED, CONVINCED, CUT, FIRST_CHECKS, HOOKED, evidence_of, words
from .slopes import GRADIENT, Agreement, Series, Slope, of_loss

MAX_INPUTS = 1024
MAX_PLACES = 256
LOOKS = 4
CLEARED = {GRADIENT: 2, "random": 4}
"""Checks along each direction that clear a place; along random signs one may agree by chance."""
LAW = "loss-truth"
"""How much of it was checked is told apart from gradient truth, where any loss is protected."""


@dataclass(slots=True)
class _Input:
    """One input of one protected loss in one process.

    ``places``: those that may replace its derivative and were there at the first checks. ``right`` counts,
    for each of them and each direction, checks at which the gradient was right nevertheless; ``replacing``
    are those that it was wrong below before it had been right for long.
    """

    checks: int = 0
    agreed: int = 0
    places: set[str] = field(default_factory=set)
    right: Counter[tuple[str, str]] = field(default_factory=Counter)
    replacing: set[str] = field(default_factory=set)
    said: set[Severity | None] = field(default_factory=set)

    def learn(self, surrogates: Sequence[str]) -> None:
        """What is met before the gradient was seen to be right is the function's own.

        What it takes out of the graph is told at its first checks whatever they show, later when in doubt.
        """
        for place in surrogates[:MAX_PLACES]:
            cut = place.startswith(CUT)
            early = self.checks < (LOOKS if cut else FIRST_CHECKS) and (cut or self.agreed < CONVINCED)
            if early and len(self.places) < MAX_PLACES:
                self.places.add(place)


class LossNotDerivative:
    """Compares slopes of protected loss functions with the gradients that they hand back."""

    rule: ClassVar[Rule] = Rule(
        "gradient-loss-not-derivative",
        "gradient-truth",
        "A protected loss function's gradient is not its derivative",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StepRecord, LossChecked)

    def __init__(self) -> None:
        self._coverage = Coverage("gradient-truth", "steps")
        self._steps = 0
        self._inputs: dict[tuple[int, int, str], _Input] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in; yield what it shows."""
        if isinstance(observation, StepRecord):
            self._steps += 1
            if self._coverage.law == LAW:
                self._coverage.possible = self._steps
        elif isinstance(observation, LossChecked):
            if self._coverage.law != LAW:
                self._coverage.law, self._coverage.possible = LAW, self._steps
            yield from self._take(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left to be said at the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Steps at which a call was checked; where no loss is protected an empty part of gradient truth."""
        return self._coverage

    def _take(self, record: LossChecked) -> Iterator[Finding]:
        key = record.origin.pid, record.loss, record.input_name
        if record.reason or (key not in self._inputs and len(self._inputs) >= MAX_INPUTS):
            self._coverage.skip(record.reason or "too many losses are protected")
            return
        known = self._inputs.setdefault(key, _Input())
        known.learn(record.surrogates)
        known.checks += 1
        trials, held = of_loss(record) or (Series(()), Series(()))
        found = trials.agreement() if trials.slopes else Agreement.UNSEEN
        if found is Agreement.UNSEEN:
            self._coverage.skip(BLURRED)
        elif found is Agreement.AGREES:
            self._coverage.checked += 1
            known.agreed += 1
            if len(known.right) < MAX_PLACES:
                known.right.update((place, trials.slopes[0].direction) for place in record.surrogates)
        else:
            constant = held.agreement() if held.slopes else Agreement.DIFFERS
            yield from self._differs(record, known, trials.slopes[0], constant)

    def _differs(
        self, record: LossChecked, known: _Input, first: Slope, constant: Agreement
    ) -> Iterator[Finding]:
        """``constant``: what is found where all is held constant that the function takes out of the graph."""
        cut = constant is not Agreement.DIFFERS
        if cut and all(place in known.places for place in record.surrogates if place.startswith(CUT)):
            if constant is Agreement.UNSEEN:
                self._coverage.skip(BLURRED)
            else:
                self._coverage.checked += 1
                known.agreed += 1
            return
        meant = [] if record.strict or cut else _meant(known, record)
        severity = Severity.NOTE if meant else Severity.WARNING if cut and not record.strict else None
        if meant:
            self._coverage.skip(f"the program itself may replace the derivative: {meant[0]}")
        else:
            self._coverage.checked += 1
        if severity not in known.said:
            known.said.add(severity)
            why = "; it is, with all held constant that the function has begun to take out of the graph"
            if meant:
                why = f"; the program itself may replace the derivative, and mean it: {meant[0]}"
            yield self._finding(record, known, first, severity, why if meant or cut else "")

    def _finding(
        self, record: LossChecked, known: _Input, first: Slope, severity: Severity | None, why: str
    ) -> Finding:
        name = f"{record.name}({record.input_name})"
        message = f"step {record.step}: what {record.name} hands back to {record.input_name} is not its "
        message += f"derivative: {words(first, 1.0)}"
        if known.agreed >= CONVINCED:
            message += "; at earlier steps it was"
        return finding_of(
            self.rule,
            name,
            message + why,
            first_step=record.step,
            severity=severity,
            evidence=(
                evidence_of(name, first, 1.0),
                *(Evidence("in the loss function", observed=place) for place in record.surrogates),
            ),
        )


def _meant(known: _Input, record: LossChecked) -> list[str]:
    """What may replace the derivative, was there from the first checks on, and was not right until now.

    A gradient that is masked is right along itself, so that must be seen along random signs as well.
    """
    meant = []
    for place in record.surrogates:
        if place.startswith(HOOKED) or (place.startswith(CUT) and record.held):
            continue
        cleared = all(known.right[place, direction] >= times for direction, times in CLEARED.items())
        if place in known.places and not (cleared and place not in known.replacing):
            known.replacing.add(place)
            meant.append(place)
    return meant
