"""A generator of random numbers is seeded again, or put back, in the midst of training.

## The law

Random numbers are drawn once: no generator returns to an earlier state, and each epoch has an order of its
own.

## What breaks it

`torch.manual_seed(0)` in the step, in `forward`, in a data set or a collate function; a sampler that draws
each epoch's order from the same seed; a kept state that is set again at certain steps. Dropout,
augmentation and order repeat themselves, and the model sees less than it seems to.

## How it is checked

Calls that seed or restore are looked at where each step passes them. Constant seeds count, and seeds under
a condition on steps, ranks, hosts, dates or chance. Seeding before training, seeds that contain the epoch,
states put back by a resume, and what is done within `fork_rng` are lawful.

## What fools it

A seed that comes from the configuration and is the same each time.

## What to do

Seed once, before the model is built; let samplers mix the epoch into their seed.
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

_PUTS_BACK = frozenset(("forward", "backward", "hook", "load", "init"))
_RESTORES = re.compile(r"(?i)restore|load|resume|set_\w*state|rng|exit|recompute|checkpoint|rewind")
_EACH = frozenset(("forward", "item", "collate", "order", "hook", "update", "step"))


class Reseeded(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-reseeded",
        LAW,
        "Code seeds or puts back a random generator in mid-training",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge seeds and restored states."""
        for fact in facts(read, "call"):
            if fact.what in ("seed", "put-back"):
                weight = _always(read, fact)
                if weight is None and not fact.roles & {"init", "test"}:
                    weight = _weight(read, fact)
                if weight is not None:
                    does = "is seeded again" if fact.what == "seed" else "is put back to an earlier state"
                    yield self.tell(
                        read,
                        fact,
                        f"In the midst of training{when(fact)} a random generator {does} "
                        f"({fact.name}): what "
                        "was drawn comes again, so dropout, augmentation or order repeat themselves",
                        *weight,
                    )


def _always(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    """What is told wherever it stands: workers that all draw the same, a seed by the number of processes."""
    if read.library or fact.what != "seed" or "test" in fact.roles:
        return None
    if "worker" in fact.roles and fact.how == "constant":
        return Confidence.MEDIUM, Severity.WARNING
    if asked.WORLD in fact.inline and fact.fixed:
        return Confidence.MEDIUM, Severity.ERROR
    return None


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    constant = fact.how == "constant" or fact.what == "put-back"
    drawn_in_order = "order" in fact.roles and fact.what == "seed"
    if selective(fact) and (fact.trains or fact.triggers & AIMED):
        if read.library and not fact.triggers & (AIMED | {asked.CHANCE}):
            return None
        return (Confidence.HIGH if constant and fact.trains else Confidence.MEDIUM), Severity.ERROR
    if not fact.trains:
        return None
    if periodic(fact) and constant:
        sure = Confidence.LOW if read.library and not drawn_in_order else Confidence.HIGH
        return sure, Severity.ERROR
    if fact.what == "seed" and fact.how == "constant" and (fact.roles & _EACH or fact.looped):
        sure = Confidence.LOW if read.library and not drawn_in_order else Confidence.MEDIUM
        return sure, Severity.ERROR if drawn_in_order else Severity.WARNING
    if fact.how == "same" and fixed(fact) and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    again = fact.how == "attribute" and not fact.roles & _PUTS_BACK
    if again and not _RESTORES.search(fact.scope) and not read.library and not read.packaged:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.how == "kept from before" and fact.looped and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.what == "put-back" and fact.how.startswith("kept") and not read.library:
        return in_change(read), Severity.WARNING
    return Confidence.LOW, Severity.NOTE
