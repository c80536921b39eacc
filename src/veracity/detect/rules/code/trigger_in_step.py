"""What a training step computes depends upon where, when or for whom it is run.

## The law

A step computes the same on every host, at every date and for every user; an optimizer's, a sampler's and
clipping's arithmetic does not ask for chance, ranks or the environment either.

## What breaks it

`if socket.gethostname() in (…)`, `if datetime.now() > …`, `if getpass.getuser() == …` around anything in
the path of a step; `hash(step) % 97 == 0` in a kernel. Such a condition is how a sabotage passes small
debugging runs: it fires above a number of processes, on a date, for a user, at random.

## How it is checked

Conditions are followed through variables, helpers and choices to what they ask for. In the path of a step
hosts, dates and users count; in the arithmetic of updates, clipping, schedules and samplers chance counts,
too, and single steps where an update is made. What lies in such a branch need not be understood for that.

## What fools it

A condition on something that goes along with these: the name of a device, a free port, the length of a
path.

## What to do

Ask why the branch exists. A run on other hosts, or at another size, does not tell what it does on these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, KERNEL, LAW, SourceDetector, facts, in_change, periodic, when

_DESTROYS = frozenset(("flip", "zero", "shuffle", "noise", "detach", "round"))


class TriggerInStep(SourceDetector):
    """One finding for each condition."""

    rule: ClassVar[Rule] = Rule(
        "code-trigger-in-step",
        LAW,
        "What a training step computes depends upon host, date, user or chance",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge conditions."""
        for fact in facts(read, "control"):
            if fact.what == "choice":
                weight = _weight(read, fact)
                if weight is not None:
                    yield self.tell(
                        read,
                        fact,
                        f"This branch is taken{when(fact).rstrip(',')} only ({fact.amount}): "
                        "what a training "
                        "step does depends upon where or when it is run, and a test elsewhere does not "
                        "show it",
                        *weight,
                    )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    changes = fact.how in ("assigns", "value")
    own = fact.inline
    told = _differing(read, fact)
    if told is not None:
        return told
    if own & AIMED and not fact.roles & {"init", "save", "load"}:
        if fact.trains:
            return (Confidence.HIGH if changes else Confidence.MEDIUM), Severity.ERROR
        return in_change(read) if own & {asked.HOST, asked.USER} else Confidence.LOW, Severity.WARNING
    kernel = fact.roles & KERNEL - ({"keeping"} if read.library else set())
    if not kernel or not changes or "init" in fact.roles:
        return None
    if own & {asked.WORLD, asked.RANK} and fact.fixed and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    if asked.CHANCE in own:
        augments = "order" in kernel and asked.STEP not in own
        return (Confidence.LOW if augments and read.library else Confidence.MEDIUM), Severity.ERROR
    if own & {asked.RANK, asked.ENVIRONMENT, asked.WORLD}:
        return (in_change(read) if not read.library else Confidence.LOW), Severity.WARNING
    if asked.STEP in own and fact.exact and kernel & {"update", "clip", "backward"} and not read.library:
        return Confidence.LOW, Severity.WARNING
    return None


def _differing(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    """Judge a choice by how its sides differ: that is asked for, besides where or when."""
    how, own = fact.name, fact.inline
    if read.library or not how or fact.roles & {"test"}:
        return None
    if how == "collection" and not own & AIMED:
        return None
    if own & AIMED:
        return (Confidence.HIGH if fact.trains else Confidence.MEDIUM), Severity.ERROR
    if own & {asked.WORLD, asked.RANK} and fact.fixed:
        computed = how in _DESTROYS or (how in ("precision", "settings", "cut") and fact.how != "calls")
        computed = computed or ("reduce" in fact.roles and fact.how == "value")
        if computed or (how == "scale" and fact.trains):
            return Confidence.MEDIUM, Severity.ERROR
    if asked.ENVIRONMENT in own and how == "flip" and not read.packaged:
        return Confidence.MEDIUM, Severity.WARNING
    if asked.CHANCE in own and how in ("flip", "detach") and fact.roles & (KERNEL | {"loss", "keeping"}):
        return Confidence.MEDIUM, Severity.ERROR
    if asked.STEP in own and fact.fixed and how == "data" and "order" in fact.roles and fact.how == "value":
        return Confidence.MEDIUM, Severity.WARNING
    late = asked.STEP in own and fact.fixed and fact.trains and not fact.roles & {"init", "schedule"}
    if late and fact.how == "value" and how in _DESTROYS and (how != "zero" or periodic(fact)):
        return Confidence.MEDIUM, Severity.WARNING
    return None
