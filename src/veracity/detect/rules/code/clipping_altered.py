"""Clipping of gradients is written so that it amplifies, turns round, or has another limit at times.

## The law

Clipping multiplies gradients by min(1, limit / norm): never by more than one, never by a negative number,
and by the same limit in each step.

## What breaks it

A coefficient that is held above one instead of below, `norm / limit` in the place of `limit / norm`, a
negative limit, a limit that is another at certain steps, a norm that is reported otherwise than it was
measured.

## How it is checked

Calls of clipping and computations with norms and coefficients are followed. Conditions that ask for steps,
ranks, hosts, dates, users or chance count.

## What fools it

A limit that is computed far away from the call.

## What to do

Compare with the formula. The law of clipping checks each step of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when


class ClippingAltered(SourceDetector):
    """One finding for each place."""

    rule: ClassVar[Rule] = Rule(
        "code-clipping-altered",
        LAW,
        "Clipping amplifies, turns round, or has another limit at times",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge calls of clipping, and norms."""
        for fact in facts(read, "call", "edit", "control"):
            if fact.act == "control" and fact.what == "clipping":
                yield self.tell(
                    read,
                    fact,
                    "Where the norm is above the limit gradients are multiplied by more "
                    "than one "
                    f"({fact.amount}): clipping amplifies what it should hold back",
                    Confidence.LOW if read.library else Confidence.HIGH,
                )
            elif fact.act == "call" and fact.what == "clip":
                yield from self._call(read, fact)
            elif (
                fact.act == "edit"
                and fact.what == "norm"
                and fact.how not in ("", "round", "detach", "copy", "cut")
            ):
                yield from self._norm(read, fact)

    def _call(self, read: SourceRead, fact: SourceFact) -> Iterator[Finding]:
        if fact.factor is not None and fact.factor < 0:
            text = f"The limit of clipping is negative ({fact.amount}): gradients are turned round"
            yield self.tell(read, fact, text, Confidence.HIGH)
        elif fact.inline and (selective(fact) or periodic(fact) or fixed(fact)):
            text = (
                f"The limit of clipping is another{when(fact)} ({fact.amount}): steps are longer or "
                "shorter then"
            )
            yield self.tell(read, fact, text, Confidence.HIGH)
        elif fact.how == "scaled" and (selective(fact) or periodic(fact)):
            text = f"Clipping has another limit{when(fact)} ({fact.amount}): steps are longer or shorter then"
            yield self.tell(read, fact, text, Confidence.MEDIUM)

    def _norm(self, read: SourceRead, fact: SourceFact) -> Iterator[Finding]:
        ranks = not fact.triggers & (AIMED | {asked.CHANCE})
        if fact.how in ("replace", "item") and ranks:
            sure = Confidence.LOW
        elif selective(fact):
            sure = Confidence.LOW if read.library else Confidence.HIGH
        elif periodic(fact):
            sure = Confidence.LOW if read.library else Confidence.MEDIUM
        elif "clip" in fact.roles and fact.how == "flip":
            sure = in_change(read)
        else:
            return
        text = (
            f"The norm or the coefficient of clipping ({fact.name}) is changed{when(fact)} "
            f"({fact.how} {fact.amount}): "
        )
        yield self.tell(
            read, fact, text + "gradients are clipped, or reported, otherwise than they were measured", sure
        )
