"""Programs that open an archive would find different things in it.

## The law

Load: nothing that can execute is loaded. What was looked at is what is loaded: an archive says the same to
whoever reads it.

## What breaks it

A zip says what it holds twice, in a directory at its end and in a header before each member, and nothing
makes the two agree. One reader goes by the directory, one by the headers from the front, one takes the first
of two members of one name, one the last; of several directories each takes another. So a scanner can be
shown a harmless pickle, and the loader another one.

## How it is checked

All readings are made and all their members are read; this rule says that there are several. It compares each
header with the directory (names, sizes, methods, whether it is encrypted), follows the archive from its front
and looks for members in what lies between, follows each end record that some reader would take, and compares
how many members are told and are there. Members of one name with the same checksum and size are no
ambiguity. Two members of one name are a warning, since programs that append to an archive make them; in an
archive that torch reads, which never has them, they are an error, and so are names that differ in case alone,
between which its reader does not tell.

## What fools it

Readers from a pipe that look for the end of an unpacked member by its descriptor's signature are not followed
into the member. Formats of others are held to what is known of their readers.

## What to do

Do not load it. An honest program does not write such a file, and damage seldom looks so: compare it with what
its author published, and ask where it was changed.
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
    Oddity.UNLISTED: Severity.ERROR,
    Oddity.NAMES: Severity.ERROR,
    Oddity.SIZES: Severity.ERROR,
    Oddity.METHODS: Severity.ERROR,
    Oddity.FLAGS: Severity.ERROR,
    Oddity.ENDS: Severity.ERROR,
    Oddity.COUNT: Severity.ERROR,
    Oddity.OVERLAP: Severity.ERROR,
    Oddity.NUL: Severity.ERROR,
    Oddity.CARVED: Severity.WARNING,
    Oddity.BEHIND: Severity.WARNING,
    Oddity.TWICE: Severity.WARNING,
}
_TORCH = {Oddity.TWICE: Severity.ERROR, Oddity.TWINS: Severity.ERROR}


class ArchiveAmbiguous:
    """One finding for each way in which an archive is ambiguous."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-archive-ambiguous",
        "load",
        "Programs that open an archive would find different things in it",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ArchiveOdd,)

    def __init__(self) -> None:
        self._judge = OddityJudge(self.rule, _WEIGHTS, _TORCH)

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge what is odd about an archive."""
        return self._judge.observe(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by who reads them."""
        return self._judge.coverage
