"""What `torch.load` returns is what the file holds.

## The law

Loading a recorded file gives the tensors that were recorded when it was saved.

## What breaks it

An edited `torch.load`, unpickler or storage reader; an object in the file that rebuilds other tensors; a file
changed for the moment of the load and changed back.

## How it is checked

The file's SHA-256 is known, and the digests of the tensors in the object that was saved were recorded with
it. The digests of the tensors in the object that `torch.load` returned must be the same, key by key.

## What fools it

Tensors changed after `torch.load` returned (see `continuity-resume-differs`). Loaders other than
`torch.load`. Keys that one side does not have are not compared.

## What to do

Check the code of `torch.serialization` and of the program's loading against what its distribution says, then
load the file in a clean environment and compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CheckpointLoaded, CheckpointSaved, FileDigested, Observation, StepRecord
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .files import Files
from .naming import differing, listed, tensor_evidence


class LoadDiffers:
    """Compares loaded tensors with those recorded for the file's digest."""

    rule: ClassVar[Rule] = Rule(
        "continuity-load-differs",
        "weight-continuity",
        "What torch.load returns is what the file holds",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        CheckpointLoaded,
        CheckpointSaved,
        FileDigested,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._files = Files(self._coverage)
        self._reported: set[tuple[int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        yield from self._files.observe(observation)
        if not isinstance(observation, FileDigested) or observation.event != "loaded":
            return
        if not observation.digest or not observation.known:
            return
        loaded = self._files.spoken(observation)
        if not isinstance(loaded, CheckpointLoaded):
            self._coverage.skip("the record of a load was lost")
            return
        shared, pairs = differing(observation.saved_tensors, loaded.tensors)
        if not shared:
            self._coverage.skip("no tensor of a loaded checkpoint was recorded when it was saved")
        key = (observation.origin.pid, observation.path)
        if pairs and key not in self._reported and len(self._reported) < 1024:
            self._reported.add(key)
            names = listed([pair[1].key for pair in pairs])
            finding = finding_of(
                self.rule,
                observation.path,
                f"torch.load returned {len(pairs)} of {quantity(shared, 'tensor')} other than the file "
                f"holds: {names}",
                rank=observation.origin.rank,
                first_step=self._files.next_step(observation),
                locations=(Location(observation.path),),
                evidence=(*tensor_evidence(pairs), Evidence("file", digest=observation.digest)),
            )
            yield from self._files.hold(observation, finding)

    def finish(self) -> Iterator[Finding]:
        """Release what still waits."""
        yield from self._files.finish()

    def coverage(self) -> Coverage:
        """Reasons only: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage
