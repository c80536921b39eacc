"""Code changes weights, or an optimizer's averages, outside an optimizer's step.

## The law

Weights change in the optimizer's step, by what it computes, and nowhere else.

## What breaks it

`p.data.mul_(0.999)` in the loop, `layer.weight.add_(noise)` under `no_grad` in `forward`, a hook after the
step that nudges, averages of the optimizer that are scaled between steps.

## How it is checked

Values are followed from `parameters()`, `.weight`, `.data` and the optimizer's state. An edit in the path
of a training step that is made at certain steps, on certain ranks, hosts, dates or at random is an error.
Initialisation, loading, averages of weights (EMA, target networks: copies and interpolations) and limits
(clamping) are lawful. An edit that is always made is told where a hook of the optimizer makes it, or where
a change brings it.

## What fools it

Edits by compiled code or through memory that is shared; an edit that reads like an average of weights.

## What to do

Compare with what the method asks for. The law of weight continuity tells in a run whether weights change
outside of steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_STRONG = frozenset(
    ("scale", "noise", "zero", "flip", "shuffle", "mask", "fill", "add", "round", "frozen", "item")
)
_ANNOUNCED = re.compile(r"(?i)reset|restart|re_?init|prune|merge|clear|rewind|unscale")
_AVERAGES = re.compile(r"world_size|num_replicas|num_processes|n_?procs\b")
_LAWFUL = frozenset(("init", "load", "save", "test"))


class WeightsEdited(SourceDetector):
    """One finding for each edit."""

    rule: ClassVar[Rule] = Rule(
        "code-weights-edited",
        LAW,
        "Code changes weights outside an optimizer's step",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge each edit of a weight or of an optimizer's average."""
        for fact in facts(read, "edit"):
            if fact.what not in ("weight", "moment"):
                continue
            weight = _weight(read, fact)
            if weight is not None:
                kind = "weights" if fact.what == "weight" else "the optimizer's averages"
                yield self.tell(
                    read,
                    fact,
                    f"Outside of the optimizer's step{when(fact)} {kind} ({fact.name}) are "
                    "changed "
                    f"({fact.how} {fact.amount}): training goes on from another point than it came "
                    "to",
                    *weight,
                )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    strong = fact.how in _STRONG
    if fact.what == "moment" and not fact.roles & (_LAWFUL | {"update"}):
        told = _moment(read, fact)
        if told is not None or _ANNOUNCED.search(fact.scope):
            return told
    if fact.how == "scale" and _AVERAGES.search(fact.amount) and not fact.triggers & AIMED:
        return Confidence.LOW, Severity.NOTE
    if fact.how == "put back":
        sure = periodic(fact) and not read.library and not fact.roles & _LAWFUL
        return (Confidence.MEDIUM, Severity.ERROR) if sure and fact.fixed else None
    if "background" in fact.roles and fact.how in ("scale", "noise", "flip", "zero", "shuffle"):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    aimed_size = fact.triggers & {asked.WORLD, asked.RANK} and fixed(fact) and not read.library
    sized = fact.how != "frozen" or asked.WORLD in fact.triggers
    if aimed_size and (strong or fact.how == "cut") and sized:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.how == "cut":
        return None
    if fact.roles & _LAWFUL and not fact.triggers & AIMED:
        moves = fact.how in ("scale", "noise", "flip", "zero", "shuffle") and "load" in fact.roles
        if moves and selective(fact) and not read.library:
            return Confidence.MEDIUM, Severity.ERROR
        return None
    update = "update" in fact.roles
    if fact.how == "average" and asked.CHANCE in fact.inline and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    late = fixed(fact) and asked.STEP in fact.triggers and not update and not read.library
    if late and fact.trains and fact.how in ("noise", "flip", "shuffle", "round", "scale"):
        return Confidence.MEDIUM, Severity.ERROR
    if selective(fact):
        ranks = not fact.triggers - {asked.RANK, asked.WORLD, asked.MAIN, asked.FILE}
        if fact.how == "frozen":
            sure = fact.trains and not read.library
            return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.WARNING
        if ranks and (read.library or not fact.trains):
            return Confidence.LOW, Severity.WARNING
        if not fact.trains:
            return (
                Confidence.MEDIUM if fact.triggers & AIMED and strong else Confidence.LOW
            ), Severity.WARNING
        if not strong and ranks:
            return Confidence.LOW, Severity.WARNING
        return (Confidence.HIGH if strong else Confidence.MEDIUM), Severity.ERROR
    if periodic(fact) and fact.trains and strong:
        if read.library and fact.how in ("add", "item", "mask", "round", "frozen"):
            return Confidence.LOW, Severity.WARNING
        vague = fact.how in ("frozen", "item") or (fact.how == "add" and fact.factor is None)
        return (Confidence.LOW if vague else Confidence.MEDIUM), Severity.ERROR
    if update or not fact.trains or not strong:
        return None
    if fact.what == "moment":
        return in_change(read), Severity.WARNING
    if "hook" in fact.roles and fact.how in ("scale", "noise", "flip", "zero", "shuffle"):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.WARNING
    if fact.how in ("scale", "noise", "flip", "shuffle") and ".data" in fact.name:
        return in_change(read), Severity.WARNING
    return Confidence.LOW, Severity.NOTE


def _moment(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    """An optimizer's averages are changed where no optimizer is written.

    A function that is called a reset says what it does.
    """
    if read.library or _ANNOUNCED.search(fact.scope):
        return None
    if fact.how in ("flip", "noise", "shuffle"):
        return Confidence.MEDIUM, Severity.ERROR
    timed = selective(fact) or periodic(fact) or fixed(fact)
    if timed and fact.how in ("zero", "fill", "scale", "reset", "mask", "clamp", "item"):
        return Confidence.MEDIUM, Severity.ERROR
    return None
