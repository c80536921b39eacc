"""A step is made of fewer backward passes than batches were drawn for it.

## The law

A step uses the sum of what the backward passes since the step before left. Each batch that is drawn for it
has one.

## What breaks it

One batch of several is never run backward: the step is made of the others, as if nothing were missing.

## How it is checked

The batches that a loader delivers and the backward passes that end are counted from step to step. Where they
were the same number at eight steps in a row, two or more, a step of as many batches with fewer passes is a
warning, if the pass over the data goes on behind it. Where one batch makes a step, one that was drawn and not
used is a note: programs pass over a loss that is no number.

Nothing is said of steps at which a pass over the data begins or ends, or a backward pass raised, nor of
programs in which these numbers vary.

## What fools it

Who runs a backward pass for each batch, but on the same one twice: that is seen by what became of batches
(`data-batch-altered`). Data that come from no DataLoader of torch. A batch left out by the program because
its loss is not finite looks the same.

## What to do

Look at what the loop does between drawing a batch and its `backward`, and whether the program passes over
batches by design.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import BatchesDrawn, Observation, StepRecord, StepsPassed
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity

SETTLED = 8
MAX_OPTIMIZERS = 4096
MAX_LOADERS = 4096


@dataclass(slots=True)
class _Drawn:
    """How far one loader is: its pass over the data, and how many batches of that were delivered."""

    iteration: int = -1
    delivered: int = 0


@dataclass(slots=True)
class _Counted:
    """Of one loader, for one step: how many batches came, and whether a pass over the data began or ended."""

    batches: int = 0
    edge: bool = False


@dataclass(slots=True)
class _Habit:
    """One loader at one optimizer's steps: as many ``batches`` as passes at so many steps in a row.

    ``suspect`` is a step with fewer passes, and how many those were.
    """

    batches: int = 0
    steps: int = 0
    suspect: tuple[int, int] | None = None


@dataclass(slots=True)
class _Steps:
    """One optimizer: its last step and its passes, what came since, and the habits by loader."""

    step: int = -1
    passes: int = 0
    whole: bool = False
    passed: bool = False
    counted: dict[int, _Counted] = field(default_factory=dict)
    habits: dict[int, _Habit] = field(default_factory=dict)


class BatchLeftOut:
    """Counts batches and backward passes from step to step."""

    rule: ClassVar[Rule] = Rule(
        "gradient-batch-left-out",
        "gradient-continuity",
        "A step is made of fewer backward passes than batches were drawn for it",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (BatchesDrawn, StepRecord, StepsPassed)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._drawn: dict[tuple[int, int], _Drawn] = {}
        self._steps: dict[tuple[int, int], _Steps] = {}
        self._reported: set[int] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding for each optimizer, by whichever rank shows it first."""
        pid = observation.origin.pid
        if isinstance(observation, BatchesDrawn):
            self._came(pid, observation)
        elif isinstance(observation, StepsPassed):
            self._passed(pid, observation)
        elif isinstance(observation, StepRecord):
            key = pid, observation.optimizer
            if key in self._steps or len(self._steps) < MAX_OPTIMIZERS:
                yield from self._step(self._steps.setdefault(key, _Steps()), observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end: the pass over the data does not go on."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: `gradient-accumulation` counts the steps."""
        return self._coverage

    def _passed(self, pid: int, seen: StepsPassed) -> None:
        """Steps were not looked at: the habits stand, and the last one that was is not judged."""
        steps = self._steps.get((pid, seen.optimizer))
        if steps is not None:
            steps.passed = True
            for habit in steps.habits.values():
                habit.suspect = None

    def _came(self, pid: int, drawn: BatchesDrawn) -> None:
        """Batches were delivered; what comes after a step's record came before the step."""
        key = pid, drawn.loader
        if key not in self._drawn and len(self._drawn) >= MAX_LOADERS:
            return
        before = self._drawn.setdefault(key, _Drawn())
        same = before.iteration == drawn.iteration
        new = drawn.delivered - (before.delivered if same else 0)
        self._drawn[key] = _Drawn(drawn.iteration, drawn.delivered)
        for (owner, _), steps in self._steps.items():
            if owner == pid:
                counted = steps.counted.setdefault(drawn.loader, _Counted())
                counted.batches += new
                counted.edge = counted.edge or not same or drawn.ended

    def _step(self, steps: _Steps, step: StepRecord) -> Iterator[Finding]:
        if steps.whole and steps.step == step.step - 1:
            for loader in (*steps.habits, *(one for one in steps.counted if one not in steps.habits)):
                habit = steps.habits.setdefault(loader, _Habit())
                finding = self._judge(habit, steps, steps.counted.get(loader, _Counted()), step)
                if finding is not None and step.optimizer not in self._reported:
                    self._reported.add(step.optimizer)
                    yield finding
        elif not steps.passed:
            steps.habits.clear()
        steps.passed = False
        gradients = step.gradients
        steps.step, steps.passes = step.step, gradients.backwards
        steps.whole = not gradients.failed and not step.closure
        steps.counted = {}

    def _judge(self, habit: _Habit, steps: _Steps, counted: _Counted, step: StepRecord) -> Finding | None:
        """The step before ``step``, for which all is counted now."""
        suspect, habit.suspect = habit.suspect, None
        if counted.edge:
            return None
        batches, passes = counted.batches, steps.passes
        if suspect is not None and habit.batches in (batches, 1):
            return self._finding(step, habit, *suspect)
        settled = habit.steps >= SETTLED
        if batches == passes == habit.batches:
            habit.steps += 1
        elif settled and batches == passes and not batches % habit.batches:
            pass  # a GradScaler skipped a step
        elif settled and batches == max(2, habit.batches) and 0 < passes < batches:
            habit.suspect = steps.step, passes
        else:
            habit.batches, habit.steps = passes, int(batches == passes)
        return None

    def _finding(self, step: StepRecord, habit: _Habit, first: int, passes: int) -> Finding:
        due = habit.batches
        batches = max(2, due)
        return finding_of(
            self.rule,
            f"batches of optimizer {step.optimizer}",
            f"step {first}: {batches} batches were drawn and {passes} run backward; at "
            f"{quantity(habit.steps, 'step')} before it was {due} and {due}",
            rank=step.origin.rank,
            first_step=first,
            severity=Severity.NOTE if due == 1 else None,
            evidence=(Evidence("backward passes of the step", expected=f"{batches}", observed=f"{passes}"),),
        )
