r"""Unpacking an archive would write, or lead, outside of the folder that is meant.

## The law

Load: what is unpacked stays where it is unpacked.

## What breaks it

A member called ``../../home/user/.bashrc``; one written through a symbolic link that the archive itself
brings and that leads outside: who unpacks it with a program that takes names as they are has a file of
the attacker's where programs start from.

## How it is checked

Each name of each member, with ``/`` and ``\`` as separators, and by all readings of a zip. A name that
climbs above the folder is an error, and so is a member below a link that leads outside. A name that begins
at the root is a warning, since some back-ups have such names, and so are a link that leads outside under the
name of a model's file, and a device anywhere but in a folder called ``dev``. Any other link that leads
outside and a device there are notes: images of systems are full of them.

## What fools it

Links that only together lead outside, when neither does alone. What a program does with names that it
changes before it uses them.

## What to do

Do not unpack it, least of all as root. Python's own ``tarfile`` refuses such members with ``filter="data"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding
from ....core.observation import ArchiveOdd, Observation, Oddity
from ....core.rule import Confidence, Rule, Severity
from .oddities import OddityJudge

_WEIGHTS = {
    Oddity.PARENT: Severity.ERROR,
    Oddity.THROUGH_LINK: Severity.ERROR,
    Oddity.ABSOLUTE: Severity.WARNING,
    Oddity.LOADED_OUTSIDE: Severity.WARNING,
    Oddity.STRAY_DEVICE: Severity.WARNING,
    Oddity.LINK_OUTSIDE: Severity.NOTE,
    Oddity.DEVICE: Severity.NOTE,
}


class ArchiveEscapes:
    """One finding for each way in which an archive leads outside."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-archive-escapes",
        "load",
        "Unpacking an archive would write, or lead, outside of the folder that is meant",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ArchiveOdd,)

    def __init__(self) -> None:
        self._judge = OddityJudge(self.rule, _WEIGHTS)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge what is odd about an archive."""
        return self._judge.observe(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by who reads them."""
        return self._judge.coverage
