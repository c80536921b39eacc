"""The index of a sharded checkpoint points to other bytes than those that were saved.

## The law

Load: what is loaded is what was saved.

## What breaks it

An entry of ``.metadata`` whose first byte and length lie in the middle of an archive: a tensor's own numbers
can hold a pickle, and torch loads objects of such a checkpoint with ``weights_only=False``. Every shard by
itself is as it was written, and so is its digest.

## How it is checked

``torch.distributed.checkpoint`` writes one archive of torch after the other into each file. Each entry is
compared with where these begin and end, in the file beside the index. A slice that is none of them is an
error, and is read as the file that torch would take it for. One that reaches beyond the file, or overlaps
another one in a file of another format, is a warning. Paths that lead out of the folder are told by
``checkpoint-outside-file``.

## What fools it

An index and its shards in an archive, or on another machine: they are not compared. Two entries that were
exchanged for each other, which only the names in the model could tell.

## What to do

Do not load the checkpoint. Compare its files with what the run recorded when it saved them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, ShardSlice
from ....core.rule import Confidence, Rule, Severity

_WHY = {
    "within": "are no whole archive of those that were saved there",
    "beyond": "reach beyond the file",
    "overlaps": "overlap those of another entry",
}


class ShardIndex:
    """One finding for each slice."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-shard-index",
        "load",
        "The index of a sharded checkpoint points to other bytes than those that were saved",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ShardSlice,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "slices")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one slice."""
        if not isinstance(observation, ShardSlice):
            return
        one = observation
        self._coverage.count(checked=True)
        yield finding_of(
            self.rule,
            one.name,
            f"{one.name} has torch load {one.length:,} bytes of {one.path} from byte {one.offset:,}, which "
            f"{_WHY[one.how]}",
            locations=(Location(one.name),),
            evidence=(Evidence(one.path, observed=f"{one.offset}, {one.length} bytes"),),
            severity=Severity.ERROR if one.how == "within" else Severity.WARNING,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Slices that were compared."""
        return self._coverage
