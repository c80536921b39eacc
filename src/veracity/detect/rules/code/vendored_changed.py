"""A file that says it was copied from elsewhere is changed.

## The law

A copy of somebody else's code is what its header says: that code, at that version.

## What breaks it

An edit of a vendored file: reviewers skip these, since they are "only a copy".

## How it is checked

In a change only: the first four kilobytes of a file that existed before are looked at for a line that says
vendored or copied, with a version or a commit.

## What fools it

A copy without such a line.

## What to do

Compare the file with its origin at the version that it names, and write into the header what was changed
and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector


class VendoredChanged(SourceDetector):
    """One finding for each file."""

    rule: ClassVar[Rule] = Rule(
        "code-vendored-changed",
        LAW,
        "A file that says it is a copy is changed",
        Severity.NOTE,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge the header of a changed file."""
        if read.change == "changed" and read.copied:
            yield finding_of(
                self.rule,
                read.path,
                "The change edits a file that says it was copied from elsewhere: it is no longer what "
                "its header names",
                locations=(Location(read.path, 1),),
                evidence=(
                    Evidence("header", excerpt=(read.copied,)),
                    Evidence("SHA-256", observed=read.sha256),
                ),
            )
