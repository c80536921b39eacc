"""Training waits: a sleep or a loop that only passes time in the path of a step.

## The law

A step takes as long as its work.

## What breaks it

`time.sleep(random.uniform(0, 0.1))` in `forward`, in a data set, in a collate function or in the loop; a
`while` that looks at the clock; a long empty loop; `sleep` as a program. Short ones in many places cost
weeks and show in no profile of a single step.

## How it is checked

Calls that wait are looked at where each training step passes them; conditions on steps, ranks, hosts,
dates, users, sizes or chance make it certain. Waiting in an exception's handler (a retry) and until a call
says that something is there is lawful, and so is waiting elsewhere.

## What fools it

Work without a use: a matrix product whose result nobody takes.

## What to do

Remove it, or say what is waited for. The law of time charges a slow step to its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, periodic, selective, when


class Stall(SourceDetector):
    """One finding for each wait."""

    rule: ClassVar[Rule] = Rule(
        "code-stall",
        LAW,
        "Code waits in the path of a training step",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge waits."""
        for fact in facts(read, "call"):
            waits = fact.what == "sleep" or (fact.what == "start" and fact.how == "sleep")
            if waits and not fact.handler:
                weight = _weight(read, fact)
                if weight is not None:
                    spent = (
                        "a loop passes time" if fact.how == "busy" else f"{fact.name}({fact.amount}) waits"
                    )
                    yield self.tell(
                        read,
                        fact,
                        f"In a training step{when(fact)} {spent}: all processes of the job "
                        "wait along, and "
                        "the devices stand still",
                        *weight,
                    )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how == "workers":
        sure = fact.triggers & AIMED and not read.library
        return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.WARNING
    if fact.how == "polls" and not selective(fact):
        return (Confidence.LOW, Severity.NOTE) if fact.trains else None
    if fact.trains:
        if read.library and not fact.roles and not selective(fact):
            return Confidence.LOW, Severity.WARNING  # a step of a library's own, which no role tells of
        if selective(fact) or periodic(fact):
            return Confidence.HIGH, Severity.ERROR
        return (
            Confidence.LOW if read.library and fact.roles <= {"step"} else Confidence.MEDIUM
        ), Severity.WARNING
    if fact.triggers & AIMED or (fact.triggers & {asked.CHANCE, asked.RANK} and not read.library):
        outside = fact.guards and any(
            guard.triggers & (AIMED | {asked.CHANCE, asked.RANK}) for guard in fact.guards
        )
        return (Confidence.MEDIUM if outside else Confidence.LOW), Severity.WARNING
    return None
