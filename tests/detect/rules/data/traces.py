"""Observations of a data loader, made from torch's real samplers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import BatchSampler, DistributedSampler, RandomSampler, SequentialSampler

from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import (
    BatchesDrawn,
    LoaderStarted,
    Observation,
    SamplerStarted,
    StepRecord,
)
from veracity.core.origin import Origin, Trust
from veracity.detect.detector import Detector

Edit = Callable[[int, list[list[int]]], list[list[int]]]


def state_of(generator: torch.Generator) -> str:
    return bytes(generator.get_state().tolist()).hex()


def judge(detector: Detector, observations: Iterable[Observation]) -> list[Finding]:
    found = [finding for seen in observations for finding in detector.observe(seen)]
    return found + list(detector.finish())


@dataclass
class Trace:
    """A process whose training loop is written down as the guard would."""

    pid: int = 100
    rank: int = 0
    step: int = 0
    seen: list[Observation] = field(default_factory=list)
    seq: int = 0

    def origin(self) -> Origin:
        self.seq += 1
        return Origin("guard", Trust.USERLAND, self.pid, self.rank, self.seq, self.seq)

    def steps(self, count: int = 1) -> None:
        for _ in range(count):
            self.seen.append(step_record(self.origin(), self.step))
            self.step += 1

    def epoch(
        self,
        sampler: Any,
        batch_size: int,
        *,
        number: int,
        drop_last: bool = False,
        loader: int = 0,
        edit: Edit | None = None,
        stop_after: int | None = None,
        prefetch: int = 0,
        accumulate: int = 1,
        sampler_class: str = "",
        exact: bool = True,
        ended: bool = True,
        sampler_first: bool = False,
        train: bool = True,
    ) -> None:
        """One pass: draws ahead by ``prefetch`` batches, one optimizer step per ``accumulate`` batches."""
        name = sampler_class or f"{type(sampler).__module__}.{type(sampler).__qualname__}"
        loader_started = LoaderStarted(
            self.origin(),
            declaration(loader, dataset_length(sampler), batch_size, drop_last, name),
            number,
            loader,
        )
        sampler_started = SamplerStarted(self.origin(), loader, name, len(sampler), *captured(sampler), exact)
        pair: list[Observation] = [loader_started, sampler_started]
        self.seen += reversed(pair) if sampler_first else pair
        batches = [list(batch) for batch in BatchSampler(sampler, batch_size, drop_last)]
        if edit is not None:
            batches = edit(number, batches)
        sent = 0
        for delivered in range(len(batches) if stop_after is None else stop_after):
            ahead = min(len(batches), delivered + 1 + prefetch)
            if ahead > sent:
                self.drew(loader, number, sent, batches[sent:ahead], delivered + 1)
                sent = ahead
            if train and (delivered + 1) % accumulate == 0:
                self.steps()
        if ended and stop_after is None:
            self.drew(loader, number, sent, [], len(batches), ended=True)

    def drew(
        self,
        loader: int,
        number: int,
        first: int,
        batches: list[list[int]],
        delivered: int,
        *,
        ended: bool = False,
    ) -> None:
        self.seen.append(BatchesDrawn(self.origin(), loader, number, first, batches, delivered, [], ended))


def dataset_length(sampler: Any) -> int:
    source = getattr(sampler, "data_source", getattr(sampler, "dataset", None))
    return len(source) if source is not None else 10_000


def captured(sampler: Any) -> tuple[bool, str, dict[str, Any]]:
    """own_generator, generator_state and parameters, read before the draw."""
    own = getattr(sampler, "generator", None)
    names = ("replacement", "num_replicas", "rank", "epoch", "seed", "shuffle", "drop_last", "num_samples")
    parameters = {name: getattr(sampler, name) for name in (*names, "initial_seed") if hasattr(sampler, name)}
    if hasattr(sampler, "data_source") or hasattr(sampler, "dataset"):
        parameters["dataset_length"] = dataset_length(sampler)
    if hasattr(sampler, "indices"):
        parameters["indices"] = list(sampler.indices)
    if isinstance(sampler, (SequentialSampler, DistributedSampler)):
        return False, "", parameters
    return own is not None, state_of(own or torch.random.default_generator), parameters


def declaration(index: int, length: int, batch_size: int, drop_last: bool, sampler: str) -> LoaderDeclaration:
    return LoaderDeclaration(
        index=index,
        dataset_class="digits.Dataset",
        dataset_length=length,
        batch_size=batch_size,
        drop_last=drop_last,
        sampler_class=sampler,
        batch_sampler_class="torch.utils.data.sampler.BatchSampler",
        num_workers=0,
        persistent_workers=False,
        iterable=False,
    )


def step_record(origin: Origin, step: int) -> StepRecord:
    return StepRecord(origin, 0, step, [], {}, None, 0, {}, [], [], None, None, False, False, [])


def shuffled(length: int, *, seed: int | None = None, **options: Any) -> RandomSampler:
    generator = torch.Generator().manual_seed(seed) if seed is not None else None
    return RandomSampler(range(length), generator=generator, **options)
