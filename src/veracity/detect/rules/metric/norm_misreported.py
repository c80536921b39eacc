"""The gradient norm that is logged is not the norm that clipping measured.

## The law

Reported = computed: what a program writes down as its gradient norm is the number that torch's clipping
returned.

## What breaks it

A log line that writes another number: exploding or vanishing gradients that the curve does not show.

## How it is checked

As the logged loss is (see `metric-loss-misreported`): series in the job's metric files are compared with the
norms that ``clip_grad_norm_`` returned, step by step. A series that fits is followed, and eight values that
share one factor or difference break the law, unless the computed norm is what moved.

Three values that are the computed ones to all of their digits, four or more, are no chance, so a series that
begins so is followed too. One value alone that departs from it, with exact ones before and after, or several
with one factor at the end, are a warning: unless it is a norm of another step, a mean of norms, the largest
norm that clipping allows, or a round number, or steps are logged twice in one file.

## What fools it

Programs that compute their norm themselves, or that log it after clipping: that series leaves the computed
one as soon as something is clipped, and is a note.

## What to do

Look at the line that writes the metric, and at who changed it last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import Observation, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .loss_misreported import SEVERITY, Computed, LossMisreported
from .losses import Losses

MAX_BOUNDS = 1024


class Norms(Computed):
    """The norms of one optimizer's steps."""

    __slots__ = ()

    def put(self, step: StepRecord) -> dict[str, float]:
        """Note one step; not a number where nothing was clipped."""
        value = step.total_norm if step.total_norm is not None else math.nan
        self.last.put(step.step, value)
        return {"norm": value}


class NormMisreported(LossMisreported):
    """Compares what is logged with the norms that clipping returned."""

    rule: ClassVar[Rule] = Rule(
        "metric-norm-misreported",
        "reported-computed",
        "The logged gradient norm is not the computed one",
        Severity.ERROR,
        Confidence.HIGH,
    )
    # A norm after clipping is a multiple of the one before, or leaves it, by design.
    severity: ClassVar[Mapping[str, Severity]] = {
        **SEVERITY,
        "multiple": Severity.NOTE,
        "lost": Severity.NOTE,
    }

    def __init__(self) -> None:
        super().__init__()
        self._bounds: set[float] = set()
        self.bounds = self._allowed

    def _allowed(self) -> Collection[float] | None:
        """The largest norms that clipping allowed, which a norm after clipping is; None for too many."""
        return self._bounds if len(self._bounds) < MAX_BOUNDS else None

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """As for losses; the largest norms allowed are kept."""
        largest = observation.max_norm if isinstance(observation, StepRecord) else None
        if largest is not None and len(self._bounds) < MAX_BOUNDS:
            self._bounds.add(largest)
        yield from super().observe(observation)

    def begun(self, step: StepRecord) -> Computed | None:
        """Followed from the first step on that clips."""
        if step.total_norm is None:
            return None
        return Norms(Losses("the norm that clipping returned", step.origin.rank))
