"""The arithmetic of an optimizer, of clipping, of a schedule or of a sampler is changed.

## The law

A library's kernel computes its published formula.

## What breaks it

A bias correction that is a constant, a moment that is averaged with another beta, a sign, a factor: one
line of an optimizer's file, and every job that imports it trains a little worse.

## How it is checked

In a whole file: a correction of an optimizer's moments that is set to a constant where the file computes it
elsewhere. In a change: each function of an update, of clipping, of a schedule, of a gradient scaler or of a
sampler whose arithmetic the change touches is named once, so that somebody reads it; in the copy of a known
library this is shown every day, in a program's own optimizer to auditors.

## What fools it

A kernel under another name; a formula that was wrong from the start.

## What to do

Compare with the release (`veracity seal --python` does, for whole environments) and with the paper. The law
of update computes sampled elements again in a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, when


class UpdateAltered(SourceDetector):
    """One finding for each constant term, and one for each changed function."""

    rule: ClassVar[Rule] = Rule(
        "code-update-altered",
        LAW,
        "The arithmetic of an update is changed",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge constant terms and changed arithmetic."""
        told: set[str] = set()
        for fact in facts(read, "edit", "control"):
            if fact.act == "edit" and fact.what == "term" and fact.roles & {"update"}:
                yield self.tell(
                    read,
                    fact,
                    f"{fact.name} is a constant here{when(fact).rstrip(',')} "
                    f"({fact.amount}): the averages are not "
                    "corrected, and the first steps are of another length",
                    Confidence.HIGH,
                    Severity.ERROR,
                )
            elif fact.act == "control" and fact.what == "arithmetic" and read.change == "changed":
                if fact.scope in told:
                    continue
                told.add(fact.scope)
                yield self.tell(
                    read,
                    fact,
                    f"The change touches the arithmetic of {fact.scope} ({fact.how}): each job that runs "
                    "this file steps, clips, schedules or draws by another formula than before",
                    Confidence.MEDIUM if read.library or read.copied else Confidence.LOW,
                )
