"""A shuffled loader does not repeat an earlier order.

## The law

A loader that shuffles gives another order in each epoch: a model learns an order that it sees repeatedly.

## What breaks it

A DistributedSampler whose `set_epoch` is never called; a generator that is re-seeded or restored to the same
state before each epoch; a program, or an edit of one, that seeds the default generator in its epoch loop.

## How it is checked

The generator's state (for DistributedSampler: seed and epoch) captured when a pass began is compared with
those of earlier passes of the same loader. Only passes that were trained on count, not a look at the first
batch or an evaluation that rewinds the generator. A forgotten `set_epoch` is a note: it is common.

## What fools it

A loader made anew for each epoch is a new loader. States that differ but give similar orders. Samplers whose
passes are not captured at all (see the coverage of `data-order`).

## What to do

Call `sampler.set_epoch(epoch)` before each epoch; seed once, or with a seed that contains the epoch.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import BatchesDrawn, LoaderStarted, Observation, SamplerStarted, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .sampling import kind_of, whole

MAX_KEPT = 256


@dataclass(slots=True)
class _Loader:
    """Passes of one loader. ``seen``: iteration by starting point; ``trained``: this pass counts."""

    iteration: int = -1
    start_step: int = 0
    begun: SamplerStarted | None = None
    trained: bool = False
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)
    reported: bool = False


class OrderRepeated:
    """Compares where each pass of a sampler starts with the earlier passes of the same loader."""

    rule: ClassVar[Rule] = Rule(
        "data-order-repeated",
        "data-order",
        "A shuffled loader does not repeat an earlier order",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        BatchesDrawn,
        LoaderStarted,
        SamplerStarted,
        StepRecord,
    )

    def __init__(self) -> None:
        self._loaders: OrderedDict[tuple[int, int], _Loader] = OrderedDict()
        self._samplers: OrderedDict[tuple[int, int], _Loader] = OrderedDict()
        self._next_step: dict[int, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        pid = observation.origin.pid
        if isinstance(observation, StepRecord):
            self._next_step[pid] = max(self._next_step.get(pid, 0), observation.step + 1)
        elif isinstance(observation, LoaderStarted):
            self._begin(pid, observation)
        elif isinstance(observation, SamplerStarted):
            owner = self._samplers.get((pid, observation.sampler))
            if owner is not None and owner.begun is None:
                owner.begun = observation
        elif isinstance(observation, BatchesDrawn):
            loader = self._loaders.get((pid, observation.loader))
            if loader is not None and loader.iteration == observation.iteration:
                yield from self._drawn(loader, observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing shows only at the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Nothing: `data-order-drift` counts the batches of this law."""
        return Coverage(self.rule.law, "batches")

    def _begin(self, pid: int, seen: LoaderStarted) -> None:
        key = (pid, seen.loader.index)
        if seen.iteration == 0 or key not in self._loaders:
            self._loaders[key] = _Loader()
        loader = self._loaders[key]
        self._keep(loader)
        loader.iteration, loader.begun, loader.trained = seen.iteration, None, False
        loader.start_step = self._next_step.get(pid, 0)
        self._samplers[pid, seen.sampler] = loader
        for known in (self._loaders, self._samplers):
            while len(known) > MAX_KEPT:
                known.popitem(last=False)

    def _keep(self, loader: _Loader) -> None:
        """The pass before is over: its start counts from now on if it was trained on."""
        start = _start(loader.begun) if loader.begun is not None and loader.trained else ""
        if start:
            loader.seen.setdefault(start, loader.iteration)
            if len(loader.seen) > MAX_KEPT:
                loader.seen.popitem(last=False)

    def _drawn(self, loader: _Loader, seen: BatchesDrawn) -> Iterator[Finding]:
        stepped = self._next_step.get(seen.origin.pid, 0) > loader.start_step
        # A single batch may be a look at the data; without a step it is an evaluation.
        loader.trained = loader.trained or (stepped and (seen.delivered > 1 or seen.ended))
        start = _start(loader.begun) if loader.begun is not None and loader.trained else ""
        earlier = loader.seen.get(start, -1) if start else -1
        if earlier < 0 or loader.reported or loader.begun is None:
            return
        loader.reported = True
        distributed = kind_of(loader.begun.sampler_class) == "DistributedSampler"
        cause = "set_epoch was not called" if distributed else "its generator was in the same state"
        yield finding_of(
            self.rule,
            f"loader {seen.loader}",
            f"iteration {seen.iteration} repeats the order of iteration {earlier}: {cause}",
            rank=seen.origin.rank,
            first_step=loader.start_step,
            evidence=(Evidence("start of the pass", "differs in each iteration", start),),
            severity=Severity.NOTE if distributed else None,
        )


def _start(begun: SamplerStarted) -> str:
    """What decides the order of a pass; empty when nothing is drawn or it is not known."""
    kind = kind_of(begun.sampler_class)
    if kind == "DistributedSampler":
        seed, epoch = whole(begun, "seed"), whole(begun, "epoch")
        shuffled = begun.parameters.get("shuffle") is True and seed is not None and epoch is not None
        return f"{kind} seed {seed} epoch {epoch}" if shuffled else ""
    if kind == "SequentialSampler" or not begun.generator_state or begun.length < 2:
        return ""
    digest = hashlib.sha256(begun.generator_state.encode("utf-8", "replace")).hexdigest()
    return f"{kind or begun.sampler_class} generator sha256:{digest}"
