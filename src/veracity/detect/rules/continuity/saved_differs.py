"""A saved checkpoint holds the tensors that were in memory.

## The law

What `torch.save` writes is what it was given, and the weights it is given are those that were trained.

## What breaks it

Weights multiplied by a number before they are saved. An edited `torch.save` or pickler that scales, swaps or
rounds tensors on their way to the file; a process that rewrites the file right after it was closed.

## How it is checked

Before `torch.save` runs, the digests of all tensors in its argument are taken. The file is then read outside
the training process, and each tensor must be found again among the digests of its raw storages. A tensor that
may be a view (of a larger storage, transposed, channels-last) proves nothing by being absent. It counts if an
earlier save showed it to be a storage of its own, or if several one-dimensional parameters are absent.

Saved tensors that have the name and shape of a parameter, and are not the parameter, are sampled beside it.
Where each of those under one prefix is the parameter, as far as the coarser of both formats tells, or one
number times it, and some are, that is a warning; it is a note when the same object holds the parameters
themselves as well, and before the second step. An average, an older state or another model is no multiple; a
copy in a 16-bit format is the parameter.

## What fools it

A copy that differs otherwise than by a factor. A multiple within two percent in a 16-bit format. A first save
in which only matrices were altered, one tensor set to what another holds, formats other than torch's zip,
lists cut short: `continuity-load-differs` sees the former when the file is loaded. Numbers in a checkpoint
that are not tensors.

## What to do

Do not resume from this file. See how the object that is saved is put together. Check the code of
`torch.serialization` and what else writes to the path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    CheckpointLoaded,
    CheckpointSaved,
    FileDigested,
    Observation,
    OptimizerDeclared,
    StepRecord,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .files import Files
from .multiples import Multiples, multiples
from .naming import SHOWN, bare, listed
from .storages import Storages

MAX_NAMES = 100_000
MAX_TOLD = 1024


class SavedDiffers:
    """Looks for each saved tensor among the storages of the file."""

    rule: ClassVar[Rule] = Rule(
        "continuity-saved-differs",
        "weight-continuity",
        "A saved checkpoint holds the tensors that were in memory",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        CheckpointLoaded,
        CheckpointSaved,
        FileDigested,
        OptimizerDeclared,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._files = Files(self._coverage)
        self._storages = Storages()
        self._parameters: set[str] = set()
        self._reported: set[tuple[int, str]] = set()
        self._told: set[tuple[int, str, Severity]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        yield from self._files.observe(observation)
        if isinstance(observation, OptimizerDeclared) and len(self._parameters) < MAX_NAMES:
            self._parameters.update(bare(tensor.name) for tensor in observation.optimizer.tensors)
        elif isinstance(observation, CheckpointSaved):
            yield from self._multiples(observation)
        elif isinstance(observation, FileDigested) and observation.event == "saved":
            yield from self._saved(observation)

    def finish(self) -> Iterator[Finding]:
        """Release what still waits."""
        yield from self._files.finish()

    def coverage(self) -> Coverage:
        """Reasons only: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage

    def _multiples(self, saved: CheckpointSaved) -> Iterator[Finding]:
        for part in multiples(saved.copies):
            # An average that began at zero is a multiple after its first step, and may be one of two states.
            alone = not any(saved.same.values()) or part.prefix in saved.same
            severity = Severity.WARNING if alone and saved.step > 0 else Severity.NOTE
            key = saved.origin.pid, part.prefix, severity
            if key in self._told or len(self._told) >= MAX_TOLD:
                continue
            self._told.add(key)
            yield self._multiple(saved, part, severity)

    def _multiple(self, saved: CheckpointSaved, part: Multiples, severity: Severity) -> Finding:
        names = [f"{copy.prefix}{copy.name}" for copy, _ in part.found]
        factors = sorted({f"{factor:.6g}" for _, factor in part.found})
        by = factors[0] if len(factors) == 1 else f"{factors[0]} and other factors"
        shown = [(copy, list(zip(copy.live, copy.saved, strict=False))[:3]) for copy, _ in part.found]
        return finding_of(
            self.rule,
            saved.path or "a buffer",
            f"{quantity(len(names), 'tensor was', 'tensors were')} saved multiplied, by {by}: "
            f"{listed(names)}",
            rank=saved.origin.rank,
            first_step=max(saved.step, 0),
            locations=(Location(saved.path),) if saved.path else (),
            evidence=tuple(
                Evidence(
                    f"tensor {copy.prefix}{copy.name}, some elements",
                    ", ".join(f"{live:.9g}" for live, _ in pairs),
                    ", ".join(f"{value:.9g}" for _, value in pairs),
                )
                for copy, pairs in shown[:SHOWN]
            ),
            severity=severity,
        )

    def _saved(self, seen: FileDigested) -> Iterator[Finding]:
        saved = self._files.spoken(seen)
        if not seen.digest or not seen.storages:
            self._coverage.skip("a saved file is not one whose storages can be read")
            return
        if not isinstance(saved, CheckpointSaved) or saved.truncated:
            self._coverage.skip("the tensors given to a save were not all recorded")
            return
        pid = seen.origin.pid
        missing, certain = self._storages.missing(pid, saved.tensors, seen.storages, self._parameters)
        if not certain:
            if missing:
                self._coverage.skip("some saved tensors may be views and were not compared with the file")
            return
        key = (pid, seen.path)
        if key in self._reported or len(self._reported) >= 1024:
            return
        self._reported.add(key)
        names = [tensor.key for tensor in missing]
        evidence = [
            Evidence(
                f"tensor {tensor.key}", f"a storage sha256:{tensor.sha256}", "no such storage in the file"
            )
            for tensor in missing[:SHOWN]
        ]
        finding = finding_of(
            self.rule,
            seen.path,
            f"{quantity(len(names), 'tensor in memory is', 'tensors in memory are')} not in the file that "
            f"torch.save wrote: {listed(names)}",
            rank=seen.origin.rank,
            first_step=max(saved.step, 0),
            locations=(Location(seen.path),),
            evidence=(*evidence, Evidence("file", digest=seen.digest)),
        )
        yield from self._files.hold(seen, finding)
