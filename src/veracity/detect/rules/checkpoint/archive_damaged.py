"""The content of an archive is not what the archive says of it.

## The law

Load: what is loaded is what its author wrote.

## What breaks it

A pickle that was exchanged inside a zip without its checksum: readers that compare checksums refuse the
archive, so that a scanner built on them sees nothing, and torch loads it all the same. A copy that went wrong
looks the same.

## How it is checked

Of each member that is read as a pickle, text or nested file (up to 64 MB when it is stored as it is, at any
size when it is packed) the checksum and the length are compared with those in the directory and in its
header, and these with each other; and a directory that names members where none stand is reported. torch
can be told to leave checksums out: where none is written in an archive of torch, that is no finding.

## What fools it

A checksum is no signature: who changes a member can write the checksum that fits it. The memory of tensors is
not read for it.

## What to do

Fetch the file again and compare it with the digest its author published. If the copy was good, ask who
changed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding
from ....core.observation import ArchiveOdd, Observation, Oddity
from ....core.rule import Confidence, Rule, Severity
from .oddities import OddityJudge

_KINDS = (Oddity.CHECKSUM, Oddity.LENGTH, Oddity.LEFT, Oddity.CHECKSUMS, Oddity.HEADERLESS)


class ArchiveDamaged:
    """One finding for each kind of disagreement of an archive with its content."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-archive-damaged",
        "load",
        "The content of an archive is not what the archive says of it",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ArchiveOdd,)

    def __init__(self) -> None:
        self._judge = OddityJudge(self.rule, dict.fromkeys(_KINDS, Severity.WARNING))

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge what is odd about an archive."""
        return self._judge.observe(observation)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by who reads them."""
        return self._judge.coverage
