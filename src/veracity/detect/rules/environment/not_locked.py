"""A distribution is installed that no lock names, or in another version.

## The law

Wheel truth: what is installed is what the index or a lock file names by the digest of its archive.

## What breaks it

A package installed by hand into a shared environment, or a folder that only looks like one: a `dist-info`
with a RECORD of its own explains any file. A package exchanged for another version.

## How it is checked

Each `dist-info` in the environment is looked up, by its normalised name, in the lock files or among the
wheels that were given. A warning for one that is in none of them or has another version than they name.

## What fools it

A lock that was edited as well. A distribution that the lock names as an editable install or a folder: it is
sealed by its content.

## What to do

Add it to the lock where everybody sees the change, or remove it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import DistributionCompared, Observation
from ....core.rule import Confidence, Rule, Severity


class NotLocked:
    """One finding for each distribution."""

    rule: ClassVar[Rule] = Rule(
        "environment-not-locked",
        "wheel-truth",
        "A distribution is installed that no lock names",
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
        if one.standing not in ("unlocked", "version"):
            return
        what = one.reason if one.standing == "unlocked" else f"the version that was named is {one.reason}"
        yield finding_of(
            self.rule,
            one.name,
            f"{one.name} {one.version} is installed: {what}",
            locations=(Location(one.directory),),
            evidence=(Evidence("version", one.reason if one.standing == "version" else "", one.version),),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by ``environment-file-altered``, once for the law."""
        return self._coverage
