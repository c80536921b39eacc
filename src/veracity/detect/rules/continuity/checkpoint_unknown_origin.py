"""A checkpoint that is loaded has a recorded origin.

## The law

What a run starts from was recorded when it was made, so that its history can be followed.

## What breaks it

Nothing need be wrong: pretrained weights, files from before Veracity, files copied or converted. It is also
what a checkpoint slipped in under a new name looks like.

## How it is checked

The file's SHA-256 and path are looked up among all those recorded by the runs of this home; neither is known.

## What fools it

A record in a home the adversary can write to; a file that a guarded run loaded and saved again.

## What to do

Make sure where the file comes from and scan it. Once a guarded run has recorded it, its digest is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import FileDigested, Observation, StepRecord
from ....core.rule import Confidence, Rule, Severity

MAX_FILES = 256


class CheckpointUnknownOrigin:
    """Lists loaded files that nobody recorded, once each."""

    rule: ClassVar[Rule] = Rule(
        "continuity-checkpoint-unknown-origin",
        "weight-continuity",
        "A checkpoint that is loaded has a recorded origin",
        Severity.NOTE,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FileDigested, StepRecord)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "steps")
        self._listed: set[str] = set()
        self._next_step: dict[int, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one observation in."""
        pid = observation.origin.pid
        if isinstance(observation, StepRecord):
            self._next_step[pid] = max(self._next_step.get(pid, 0), observation.step + 1)
        if not isinstance(observation, FileDigested) or observation.event != "loaded":
            return
        if not observation.digest or observation.known or observation.path_known:
            return
        if observation.digest in self._listed:
            return
        if len(self._listed) >= MAX_FILES:
            self._coverage.skip("more loaded files of unknown origin than are listed")
            return
        self._listed.add(observation.digest)
        yield finding_of(
            self.rule,
            observation.path,
            "nobody recorded this checkpoint before it was loaded",
            rank=observation.origin.rank,
            first_step=self._next_step.get(pid, 0),
            locations=(Location(observation.path),),
            evidence=(Evidence("digest of the file", "recorded by a run", observation.digest),),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing shows only at the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Reasons only: `continuity-weights-changed` counts the steps of this law."""
        return self._coverage
