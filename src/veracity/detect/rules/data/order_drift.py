"""Batches arrive in the order that sampler, seed and epoch imply.

## The law

The indices a data loader draws follow from its sampler, the state of the sampler's generator (or seed and
epoch) when the pass began, the length of the data, and the batch size. None is repeated, none dropped.

## What breaks it

An edited sampler or loader; a generator re-seeded or replaced between capture and draw; indices filtered,
repeated or re-ordered on their way; batches thrown away or cut; another batch size than declared.

## How it is checked

The generator's state is captured at the sampler's first draw. torch's `randperm`, `randint` and seeding are
re-derived from it with the standard library alone, and every drawn batch is compared index by index: its
position, its size, the last short batch as `drop_last` says. A pass that ran to its end must have drawn and
delivered all its batches. RandomSampler (with and without generator or replacement), SequentialSampler,
DistributedSampler and short SubsetRandomSamplers are derived, and so are accelerate's: its seeded sampler,
and what it deals out to the ranks or skips after a resume.

## What fools it

A generator state changed before it is captured: that order is derived faithfully (see
`data-order-repeated`). Samplers of other classes, IterableDatasets, explicit batch samplers, passes above two
million shuffled indices: not checked, and coverage says so. Whether an index still means the same data is
another law's matter.

## What to do

Look at what the order looks like (the same as an earlier epoch, sorted, an index repeated or missing), then
at the sampler and loader code that executed, and at what touches the generator. Models trained on that order
are not what the configuration says; repeat from the last checkpoint before the first deviating step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.digest import Digest
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import BatchesDrawn, LoaderStarted, Observation, SamplerStarted, StepRecord
from ....core.rule import Confidence, Rule, Severity
from .follow import Deviation, Follower
from .sampling import kind_of

MAX_FINDINGS = 256


class OrderDrift:
    """Compares drawn batches with re-derived ones, per process, loader and iteration."""

    rule: ClassVar[Rule] = Rule(
        "data-order-drift",
        "data-order",
        "Batches arrive in the order that sampler, seed and epoch imply",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        BatchesDrawn,
        LoaderStarted,
        SamplerStarted,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "batches")
        self._follower = Follower(self._coverage)
        self._reported: set[tuple[int, int]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        process = self._follower.process(observation.origin.pid)
        if isinstance(observation, StepRecord):
            process.next_step = max(process.next_step, observation.step + 1)
        elif isinstance(observation, LoaderStarted):
            self._follower.begin(process, observation)
        elif isinstance(observation, SamplerStarted):
            process.sampler(observation)
        elif isinstance(observation, BatchesDrawn):
            for deviation in self._follower.drawn(process, observation):
                key = (observation.origin.pid, observation.loader)
                # One finding per loader: what follows the first deviation mostly follows from it.
                if key not in self._reported and len(self._reported) < MAX_FINDINGS:
                    self._reported.add(key)
                    yield self._finding(deviation, observation.origin.rank)

    def finish(self) -> Iterator[Finding]:
        """Nothing shows only at the end: a pass that was cut off is not a deviation."""
        return iter(())

    def coverage(self) -> Coverage:
        """Batches compared, of those drawn."""
        return self._coverage

    def _finding(self, deviation: Deviation, rank: int) -> Finding:
        owner = deviation.owner
        sampler = kind_of(owner.loader.sampler_class)
        place = f"batch {deviation.batch} of iteration {owner.number}"
        evidence = [Evidence(place, deviation.expected, deviation.observed)]
        if deviation.looks_like:
            evidence.append(Evidence("looks like", observed=deviation.looks_like))
        if owner.sampled is not None and owner.sampled.generator_state:
            digest = str(Digest.of(owner.sampled.generator_state.encode("utf-8", "replace")))
            evidence.append(Evidence("generator state at the first draw", digest=digest))
        looks = f" (looks like {deviation.looks_like})" if deviation.looks_like else ""
        return finding_of(
            self.rule,
            f"loader {owner.loader.index} over {owner.loader.dataset_class}",
            f"{place} of loader {owner.loader.index} {deviation.what} as {sampler} implies{looks}",
            rank=rank,
            first_step=deviation.step,
            evidence=tuple(evidence),
        )
