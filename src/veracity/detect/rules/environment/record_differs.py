"""RECORD says something else of a file than its archive, and the file is as in the archive.

## The law

Wheel truth: what is installed is what the index or a lock file names by the digest of its archive.

## What breaks it

An edit that was taken back while its line in RECORD was forgotten; a RECORD prepared for an edit to come.
Also an archive whose own RECORD does not fit its files: whoever made it, or changed it after, was careless
or worse.

## How it is checked

RECORD's digest of each file is compared with that of the archive's file. Where only RECORD differs this is a
warning; where the archive itself disagrees with its RECORD, a note, as the archive is the one that was
locked.

## What fools it

A RECORD line without a digest, which is allowed.

## What to do

Ask what was installed at the time of RECORD's last change, and install again from the lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import DistributionCompared, Observation
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity

MAX_NAMED = 20


class RecordDiffers:
    """One finding for each distribution."""

    rule: ClassVar[Rule] = Rule(
        "environment-record-differs",
        "wheel-truth",
        "RECORD says something else of a file than its archive",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (DistributionCompared,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one distribution."""
        if not isinstance(observation, DistributionCompared):
            return
        one = observation
        differing = [each for each in one.differing if each.change == "record"]
        if differing:
            first = differing[0]
            yield finding_of(
                self.rule,
                one.name,
                f"the RECORD of {one.name} {one.version} names other content than {one.archive} for "
                f"{quantity(len(differing), 'file that is', 'files that are')} as in the archive",
                locations=tuple(Location(each.path) for each in differing[:MAX_NAMED]),
                evidence=(Evidence(f"SHA-256 of {first.path}", first.expected, first.recorded),),
            )
        if one.unlike_record:
            named = tuple(one.unlike_record[:MAX_NAMED])
            yield finding_of(
                self.rule,
                one.name,
                f"the archive {one.archive} holds files that its own RECORD names otherwise",
                evidence=(Evidence("files", observed=str(len(one.unlike_record)), excerpt=named),),
                severity=Severity.NOTE,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by ``environment-file-altered``, once for the law."""
        return self._coverage
