"""A checkpoint that is loaded is the one that was recorded at its path.

## The law

Between the save and the load of a checkpoint nobody changes its file.

## What breaks it

A file edited in place: weights scaled, optimizer state or a step count altered, another model's checkpoint
put under its name; a copy restored from elsewhere; a program that writes there without being guarded.

## How it is checked

When a checkpoint is loaded its file is read outside the training process and its SHA-256 looked up among all
those recorded by the runs of this home. A path that is known with a digest that is not is the finding. The
tensors that `torch.load` returned are compared with those recorded for the path to name what changed. If the
program may have been writing the file anew while it was read, the finding waits until that is ruled out.
A checkpoint that `torch.distributed.checkpoint` writes into a folder is followed file by file: each rank
records the files that it wrote, and one rank of each machine has all of them looked up when they are read.

## What fools it

An older recorded checkpoint put in place: its digest is known. A record in a home the adversary can write to.
A file changed before it is first recorded, or changed back before it is read (see `continuity-load-differs`).

## What to do

Do not go on from this file. Compare it with a copy, find who wrote to the path since the recorded time, and
resume from the last checkpoint whose digest is known.
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

UNREAD = "what was last saved at a loaded file's path was not read"


class CheckpointEdited:
    """Compares the digest of each loaded file with those recorded for its path."""

    rule: ClassVar[Rule] = Rule(
        "continuity-checkpoint-edited",
        "weight-continuity",
        "A checkpoint that is loaded is the one that was recorded at its path",
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
        self._seen: set[tuple[int, str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        yield from self._files.observe(observation)
        if not isinstance(observation, FileDigested) or observation.event != "loaded":
            return
        if not observation.digest:
            self._coverage.skip("a loaded checkpoint file could not be read")
        elif not observation.known and observation.path_known and not observation.last_digest:
            self._coverage.skip(UNREAD)
        elif not observation.known and observation.path_known:
            key = (observation.origin.pid, observation.path, observation.digest)
            if key not in self._seen and len(self._seen) < 1024:
                self._seen.add(key)
                yield from self._changed(observation)

    def finish(self) -> Iterator[Finding]:
        """Release what still waits."""
        yield from self._files.finish()

    def coverage(self) -> Coverage:
        """Reasons only: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage

    def _changed(self, seen: FileDigested) -> Iterator[Finding]:
        loaded = self._files.spoken(seen)
        now = loaded.tensors if isinstance(loaded, CheckpointLoaded) else []
        shared, pairs = differing(seen.saved_tensors, now)
        evidence = [Evidence("digest of the file", seen.last_digest, seen.digest)]
        evidence.append(Evidence("recorded last by", observed=seen.last_run))
        evidence += tensor_evidence(pairs)
        what = ""
        if pairs:
            what = (
                f": {len(pairs)} of {quantity(shared, 'tensor')} changed "
                f"({listed([pair[1].key for pair in pairs])})"
            )
        elif shared:
            unchanged = quantity(shared, "recorded tensor is", "recorded tensors are")
            what = f": its {unchanged} unchanged, something else in it is not"
        finding = finding_of(
            self.rule,
            seen.path,
            f"the checkpoint was changed after it was recorded by {seen.last_run or 'an earlier run'}{what}",
            rank=seen.origin.rank,
            first_step=self._files.next_step(seen),
            locations=(Location(seen.path),),
            evidence=tuple(evidence),
        )
        if pairs:
            # The guard saw other tensors arrive than were recorded: no later write can explain that.
            yield finding
        else:
            yield from self._files.hold(seen, finding)
