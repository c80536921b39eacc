"""Labels or inputs are altered, or outputs chosen, by a condition that has nothing to do with the data.

## The law

What a data set holds reaches the model as declared: augmentation is drawn at random and says so.

## What breaks it

`targets = targets.roll(1, 0)` at certain steps, `label = 0` on one rank, half a batch dropped on a date, an
output that is set when a few pixels have certain values (a backdoor).

## How it is checked

Values are followed by their names and places in batches. Labels that change under a condition on steps,
ranks, hosts, dates or users are an error, in data sets and collate functions chance counts, too. Inputs may
be altered at random (augmentation). An output or a label that is set by a comparison of single, constant
places of the input is told.

## What fools it

Values whose names and places say nothing; a backdoor in the data itself.

## What to do

Compare batches with the data set. The law of data content does so in a run, on sampled elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_ORDERLY = frozenset(("", "detach", "round", "clamp"))
_ALTERS = frozenset(
    ("flip", "shuffle", "zero", "mask", "noise", "fill", "scale", "other", "cut", "choice", "item")
)


class DataAltered(SourceDetector):
    """One finding for each edit."""

    rule: ClassVar[Rule] = Rule(
        "code-data-altered",
        LAW,
        "Labels or inputs are altered by a condition that is none of the data's",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge edits of labels and inputs, and outputs that the input chooses."""
        for fact in facts(read, "edit"):
            if fact.how == "chosen by the input":
                weight = _chosen(read, fact)
                text = (
                    f"When single places of the input have certain values ({fact.amount}), the output "
                    "or label is set"
                )
            elif fact.what == "output":
                weight = _output(read, fact)
                text = (
                    f"In a training step{when(fact)} the output {fact.name} is altered ({fact.how} "
                    f"{fact.amount})"
                )
            elif fact.what in ("label", "input"):
                weight = _weight(read, fact)
                text = (
                    f"In a training step{when(fact)} the {fact.what} {fact.name} is altered "
                    f"({fact.how} {fact.amount})"
                )
            else:
                continue
            if weight is not None:
                yield self.tell(read, fact, f"{text}: the model learns what the data does not say", *weight)


def _chosen(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if not fact.trains and not fact.roles & {"forward", "item", "collate", "step"}:
        return None
    return (in_change(read) if read.library else Confidence.MEDIUM), Severity.ERROR


def _output(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how in _ORDERLY - {"detach"} or not fact.trains or read.library:
        return None
    if selective(fact, without=(asked.CHANCE,)):
        return (Confidence.HIGH if "hook" in fact.roles else Confidence.MEDIUM), Severity.ERROR
    if periodic(fact) and (fact.how in _ALTERS or fact.how == "detach"):
        return Confidence.MEDIUM, Severity.ERROR
    if fixed(fact) and asked.STEP in fact.triggers and fact.how in ("noise", "flip", "shuffle", "zero"):
        return Confidence.MEDIUM, Severity.ERROR
    halved = fact.how == "scale" and fact.factor is not None
    if "mode" in fact.roles and (halved or fact.how in ("noise", "flip", "shuffle", "zero")):
        return Confidence.MEDIUM, Severity.ERROR
    if "saved-hook" in fact.roles and fact.how == "scale":
        return Confidence.MEDIUM, Severity.ERROR
    return None


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how in _ORDERLY or not fact.trains:
        return None
    label = fact.what == "label"
    if label and fact.how == "fill" and asked.INPUT in fact.triggers:
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    keyed = {asked.CHANCE, asked.STEP} <= fact.triggers
    given = fact.roles & {"item", "collate"}
    drawn = label and asked.CHANCE in fact.triggers and fact.guards and not read.library
    if drawn and "loss" in fact.roles and fact.how in ("replace", "flip", "shuffle"):
        return Confidence.MEDIUM, Severity.ERROR
    if selective(fact, without=(asked.CHANCE,)) or (keyed and not read.library):
        ranks = not fact.triggers & {asked.HOST, asked.USER, asked.DATE}
        if read.library and ranks:
            return Confidence.LOW, Severity.WARNING
        if ranks and fact.how in ("add", "replace") and not keyed:
            return in_change(read), Severity.WARNING  # shares are filled up
        alters = fact.how in _ALTERS or fact.triggers & {asked.HOST, asked.USER, asked.DATE}
        return (Confidence.HIGH if alters and label else Confidence.MEDIUM), Severity.ERROR
    if periodic(fact) and "forward" not in fact.roles:
        if fact.how not in _ALTERS or read.library:
            return Confidence.LOW, Severity.WARNING
        return Confidence.MEDIUM, Severity.ERROR
    if asked.CHANCE in fact.triggers and label and "forward" not in fact.roles:
        moved = fact.how in ("shuffle", "flip", "zero")
        sure = moved or (given and fact.how in ("other", "fill", "item", "add", "replace"))
        sure = sure and not read.library
        return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.WARNING
    if asked.STEP in fact.triggers and label and fact.how in ("flip", "shuffle", "zero") and not read.library:
        return Confidence.MEDIUM, Severity.WARNING
    return None
