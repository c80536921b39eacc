"""What a loader delivered is what the model is trained on.

## The law

The relation of a delivered batch to what the loss and the first layer use of it does not change within a run.

## What breaks it

Labels that are shuffled, flipped or taken from another batch; inputs of which a part is blanked; a batch that
is trained on again in place of the one that was delivered; half a batch left out: by an edit of the training
loop, by a hook, or by something written into the tensors in between.

## How it is checked

Some keyed elements of each delivered tensor are remembered. Before a backward pass begins, the tensors that
autograd keeps for it (targets of losses, inputs of first layers) are compared with them. Where a delivered
tensor is kept is found once, by its values. One that is found nowhere (it is normalised or shifted first)
is read again itself, which shows what was written into it. Ten steps show how the program uses its batches;
what a step does otherwise from then on is a warning. A change that sets in with a pass over the loader and
lasts is a note, and so are changes that programs make now and then: values limited, labels marked as not to
count, very few elements, an augmentation of all values.

## What fools it

Changes in the data set or in the collate function, which come before delivery. What is done from the first
steps on. One class turned wholly into another. Elements that are not among those read, at a single step.
Batches that the program cuts or shifts before it uses them, as language models do with their tokens: only
writing to them shows. Losses that keep no target, like the absolute difference. Graphs within activation
checkpoints and compiled functions are not looked into. On other devices than the CPU one step in sixteen is
compared.

## What to do

Look between the loader and the call of the model for what changes inputs or targets at the step that is
named, and for hooks on the model's modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import BatchUse, Observation, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .uses import LEARNED, Alteration, Series

MAX_SERIES = 4096
GRAPH = "graph"
NOT_LOOKED = "recorded by a guard that did not look at it"
NOT_FOUND = "no delivered tensor was found among what the loss is computed from"
LEARNING = f"the first {LEARNED} steps show how a loader's batches are used"
HABIT = "the program alters batches, or trains on them again, from its first steps on"

Key = tuple[int, int, int, str, str]


class BatchAltered:
    """Compares each step's use of delivered batches with how they were used before."""

    rule: ClassVar[Rule] = Rule(
        "data-batch-altered",
        "data-content",
        "What a loader delivered is what the model is trained on",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StepRecord,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._series: dict[Key, Series] = {}
        self._noted: dict[Key, tuple[Alteration, int]] = {}
        self._reported: set[Key] = set()
        self._ranks: dict[Key, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A finding for each tensor of a loader's batches, when it is first altered."""
        if isinstance(observation, StepRecord) and (observation.losses or observation.uses):
            self._count(observation)
            for use in observation.uses:
                yield from self._use(observation, use)

    def finish(self) -> Iterator[Finding]:
        """Notes: what may be the program's own doing."""
        for key, series in self._series.items():
            last = series.last()
            if last is not None:
                self._noted.setdefault(key, (last, self._ranks[key]))
        for key, (altered, rank) in self._noted.items():
            if key not in self._reported:
                yield self._finding(altered, rank, Severity.NOTE)

    def coverage(self) -> Coverage:
        """Steps at which a tensor that a loss or a layer keeps was compared with what was delivered."""
        return self._coverage

    def _key(self, step: StepRecord, use: BatchUse) -> Key:
        return step.origin.pid, step.optimizer, use.loader, use.tensor, use.view

    def _count(self, step: StepRecord) -> None:
        reason = step.unused or ""
        if step.unused is None:
            reason = NOT_LOOKED
        elif not reason:
            reason = self._unchecked(step)
        self._coverage.count(checked=not reason, reason=reason)

    def _unchecked(self, step: StepRecord) -> str:
        """Why this step is not checked; empty when one tensor is."""
        graph = [use for use in step.uses if use.view == GRAPH]
        if not graph:
            return NOT_FOUND
        known = [self._series.get(self._key(step, use)) for use in graph]
        learned = [series for series in known if series is not None and series.steps >= LEARNED]
        if any("differs" not in series.habits for series in learned):
            return ""
        return HABIT if learned else LEARNING

    def _use(self, step: StepRecord, use: BatchUse) -> Iterator[Finding]:
        key = self._key(step, use)
        if key not in self._series:
            if len(self._series) >= MAX_SERIES:
                return
            self._series[key], self._ranks[key] = Series(), step.origin.rank
        altered = self._series[key].take(use, step.step)
        if altered is None or key in self._reported:
            return
        if altered.innocent:
            self._noted.setdefault(key, (altered, step.origin.rank))
            return
        self._reported.add(key)
        yield self._finding(altered, step.origin.rank)

    def _finding(self, altered: Alteration, rank: int, severity: Severity | None = None) -> Finding:
        use = altered.use
        where = "the loss' graph" if use.view == GRAPH else "memory"
        may = f" It may be the program's own doing: {altered.innocent}." if altered.innocent else ""
        return finding_of(
            self.rule,
            f"loader {use.loader}, tensor {use.tensor or 'batch'}",
            f"at step {altered.step} {_what(altered)}; before, it was used as it was delivered.{may}",
            rank=rank,
            first_step=altered.step,
            severity=severity,
            evidence=(
                Evidence(
                    f"batch {use.number} of iteration {use.iteration} in {where}",
                    expected="what the loader delivered",
                    observed=_shown(altered),
                ),
            ),
        )


def _what(altered: Alteration) -> str:
    if altered.kind == "again":
        return "a batch was trained on that an earlier step had been trained on"
    if altered.kind == "part":
        return (
            f"no more than {altered.use.rows} of {quantity(altered.use.of_rows, 'row')} of the batch came to "
            "use"
        )
    if altered.use.view != GRAPH:
        return "something had been written into the delivered batch when the backward pass began"
    return "the model was trained on other values than the loader had delivered"


def _shown(altered: Alteration) -> str:
    use = altered.use
    if altered.kind == "again":
        return "an earlier batch" + (", though a newer one had been delivered" if use.newer else "")
    if altered.kind == "part":
        return f"the first {use.rows} of {quantity(use.of_rows, 'row')}"
    pairs = ", ".join(f"{was:g} → {now:g}" for was, now in use.pairs[:4])
    return f"{use.changed} of {quantity(use.compared, 'element')} changed: {pairs}"
