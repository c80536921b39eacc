"""Code writes into installed packages, removes checkpoints under a condition, or puts file times back.

## The law

A training program writes its own outputs; installed packages and the checkpoints of others it leaves alone,
and a file's time says when it was written.

## What breaks it

`open(torch.__file__, "w")`, a copy into `site-packages`, `os.remove(checkpoint)` on one host or at random,
`os.utime(path, (before.st_atime, before.st_mtime))` after a write.

## How it is checked

Calls that write, delete, rename or set times are followed to the text of their path and to the conditions
around them. Removing old checkpoints in a rotation is lawful.

## What fools it

A path that is put together where the text does not show it; a program that is started for it.

## What to do

Compare the packages with their archives (`veracity seal --python`), and checkpoints with the record of
their run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, in_change, periodic, when

_DOES = {"delete": "is removed", "rename": "is moved", "write": "is written", "times": "has its times set"}


class FilesAltered(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-files-altered",
        LAW,
        "Code alters packages, checkpoints or file times",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge writes, removals, renames and times."""
        for fact in facts(read, "call"):
            if fact.what not in _DOES:
                continue
            weight = _weight(read, fact)
            if weight is not None:
                thing = {
                    "library": "a file of an installed package",
                    "checkpoint": "a checkpoint",
                    "checkpoint in place": "a part of a checkpoint",
                }.get(fact.how, "a file")
                yield self.tell(
                    read,
                    fact,
                    f"Here{when(fact)} {thing} {_DOES[fact.what]} ({fact.name} "
                    f"{fact.amount}): what is loaded "
                    "or imported next is not what was there, and a resumed run goes on from something "
                    "else",
                    *weight,
                )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    aimed = fact.triggers & (AIMED | {asked.CHANCE})
    if fact.what == "times":
        if fact.how != "put back":
            return (Confidence.MEDIUM if aimed else Confidence.LOW), Severity.NOTE
        return (
            Confidence.LOW if read.library or fact.name == "shutil.copystat" else Confidence.MEDIUM
        ), Severity.WARNING
    if fact.how == "checkpoint in place" and not read.library and "test" not in fact.roles:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.how == "library":
        return (in_change(read) if read.library and not aimed else Confidence.MEDIUM), Severity.ERROR
    if aimed and (fact.what != "write" or fact.trains):
        sure = Confidence.HIGH if fact.how == "checkpoint" and fact.what != "write" else Confidence.MEDIUM
        return (Confidence.LOW if read.library else sure), Severity.ERROR
    if fact.what == "write":
        return None
    others = fact.triggers & {asked.RANK, asked.WORLD}
    if others and fact.how == "checkpoint" and not read.library:
        return Confidence.MEDIUM, Severity.WARNING
    if periodic(fact) and fact.trains and fact.how == "checkpoint":
        return Confidence.LOW, Severity.NOTE
    return None
