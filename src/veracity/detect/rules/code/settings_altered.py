"""Learning rate, betas or weight decay are changed by a condition that is no schedule.

## The law

The optimizer's settings are what the run declares: constant, or a function of the step that is the same for
all.

## What breaks it

`group["lr"] *= 0.7` from some step on beside a scheduler, another weight decay on one rank, `betas` changed
at random, a schedule's base rates edited, a negative rate.

## How it is checked

Entries of `param_groups`, attributes of schedulers and arguments of optimizers are followed to conditions.
Those on ranks, hosts, dates, users, environment and chance are errors; those on steps are told where a
scheduler is stepped in the same file, since by hand a schedule is written in this way.

## What fools it

A factor that the configuration brings.

## What to do

Write a schedule as a schedule. The law of schedule compares each step's rate with the declared function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when


class SettingsAltered(SourceDetector):
    """One finding for each change."""

    rule: ClassVar[Rule] = Rule(
        "code-settings-altered",
        LAW,
        "Settings of the optimizer are changed by a condition that is no schedule",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge changes of settings."""
        for fact in facts(read, "edit"):
            if fact.what == "setting" and not fact.roles & {"init", "load"}:
                weight = _weight(read, fact)
                if weight is not None:
                    does = "is negative" if fact.how == "flip" else "is changed"
                    yield self.tell(
                        read,
                        fact,
                        f"Here{when(fact)} the optimizer's setting {fact.name} {does} "
                        f"({fact.how} {fact.amount}): "
                        "steps are not of the length that the run declares",
                        *weight,
                    )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how == "flip":
        named = fact.name.endswith(("(lr)", "lr']", '["lr"]', ".lr")) or fact.name == "lr"
        if not named or fact.roles & {"update", "schedule"}:
            return None
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    if selective(fact):
        ranks = not fact.triggers - {asked.RANK, asked.WORLD, asked.MAIN, asked.FILE, asked.STEP}
        if read.library and ranks:
            return Confidence.LOW, Severity.WARNING
        return (Confidence.HIGH if fact.trains else Confidence.MEDIUM), Severity.ERROR
    if "schedule" in fact.roles or read.library:
        return None
    if fact.how == "rebuilt":
        sure = periodic(fact) or fixed(fact)
        return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.WARNING
    relative = fact.how in ("scale", "add", "zero") and "lr" not in fact.name.rpartition("[")[2]
    if fixed(fact) and relative and "[" in fact.name:
        return Confidence.MEDIUM, Severity.WARNING
    if "base_lrs" in fact.name and fact.how in ("scale", "add", "zero"):
        return (in_change(read) if read.packaged else Confidence.MEDIUM), Severity.WARNING
    if asked.ENVIRONMENT in fact.triggers:
        return Confidence.MEDIUM, Severity.WARNING
    other = any(
        part in fact.name for part in ("betas", "weight_decay", "momentum", "base_lrs", "eps", "maximize")
    )
    if periodic(fact) and fact.trains:
        return (Confidence.MEDIUM if read.scheduled or other else Confidence.LOW), Severity.WARNING
    if fact.trains and asked.STEP in fact.triggers and read.scheduled and fact.how in ("scale", "add", "set"):
        return in_change(read), Severity.WARNING
    return None
