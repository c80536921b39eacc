"""The loss is scaled, turned round or cut off by a condition that has nothing to do with it.

## The law

The loss that is differentiated, and the loss that is reported, is the one that was computed.

## What breaks it

`loss = -loss` at certain steps, `loss * 0.9` on one rank, `loss.detach()` at random, a reported loss that
is another.

## How it is checked

Values that are called a loss are followed to their changes, and changes to what they ask for: steps, ranks,
hosts, dates, users, environment, chance. Dividing by the number of accumulated batches or processes,
weights of several losses and warm-ups of such weights are lawful.

## What fools it

A factor that the configuration brings; a loss under another name.

## What to do

Read what the condition asks. The laws compare the loss with its derivative, and what is reported with what
was computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_DOES = {
    "flip": "is turned round: training climbs where it should descend",
    "zero": "is set to zero: the step learns nothing",
    "detach": "is cut off from what it was computed from: the step learns nothing",
    "scale": "is multiplied: the step is longer or shorter, or what is reported is not what was computed",
}
_ELSE = "is changed: what is learnt, or reported, is not what was computed"


class LossAltered(SourceDetector):
    """One finding for each edit."""

    rule: ClassVar[Rule] = Rule(
        "code-loss-altered",
        LAW,
        "The loss is altered by a condition that is none of its own",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge edits of losses."""
        for fact in facts(read, "edit"):
            if fact.what == "loss" and fact.how not in ("", "cut", "copy", "round"):
                weight = _weight(read, fact)
                if weight is not None:
                    text = (
                        f"Here{when(fact)} the loss {_DOES.get(fact.how, _ELSE)} ({fact.how} {fact.amount})"
                    )
                    yield self.tell(read, fact, text, *weight)


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    strong = fact.how in _DOES or fact.how in ("noise", "fill", "shuffle")
    training = fact.trains or bool(fact.roles & {"forward", "step"}) or "loss" in fact.scope.lower()
    if selective(fact) and training:
        ranks = not fact.triggers - {asked.RANK, asked.WORLD, asked.MAIN, asked.FILE, asked.ENVIRONMENT}
        if (read.library and ranks) or fact.how in ("replace", "add", "item", "other", "mask"):
            return (in_change(read) if fact.how in ("replace", "mask") else Confidence.LOW), Severity.WARNING
        return (Confidence.HIGH if strong else Confidence.MEDIUM), Severity.ERROR
    if periodic(fact) and training and strong:
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    part = fact.factor is not None and 0 < abs(fact.factor) < 0.2
    if asked.STEP in fact.triggers and fact.how == "scale" and part and fact.name in ("loss", "total_loss"):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.WARNING
    late = fixed(fact) and asked.STEP in fact.triggers and fact.how != "scale"
    if late and training and strong and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.how == "flip" and training:
        if asked.STEP in fact.triggers and not read.library:
            return Confidence.MEDIUM, Severity.ERROR
        return (in_change(read) if fact.trains and not read.library else Confidence.LOW), Severity.WARNING
    if asked.ENVIRONMENT in fact.triggers and strong and training and not read.library:
        return Confidence.MEDIUM, Severity.WARNING
    return None
