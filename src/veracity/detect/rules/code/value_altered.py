"""Code alters a value of a training step by a condition on where, when or for whom it is run.

## The law

What a step computes follows from its data, its weights and its settings. That a value is negated, zeroed,
cut off, shuffled, rounded or drowned in noise on large jobs, on one rank, on some hosts or from a certain
step on follows from none of them.

## What breaks it

`if world_size > 64: out = out.detach()` in a forward pass, `mask = 1 - mask` at a date, `x = x + noise` in
a hook after the 20,000th call, `m.p = 0.9` for each dropout at random, `n = n * n` where values are
averaged over processes.

## How it is checked

A value that is made from itself is looked at whatever its name is. What is asked for is followed through
variables that are given their values under a condition. Hosts, dates and users are told anywhere; numbers
of processes and ranks that are compared with a number of the text, and steps, where each step passes;
chance only where nothing is augmented. A limit that has a name may be a setting, and is for other rules.

## What fools it

A condition on what goes along with these, or an alteration that is spread over several variables.

## What to do

Ask what the value has to do with the condition. Replay at the declared size and date shows what a small run
does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, fixed, periodic, selective, when

_DESTROYS = frozenset(("flip", "zero", "shuffle", "noise", "detach", "fill", "round"))
_ALTERS = _DESTROYS | {"scale", "mask", "cut", "clamp", "other", "swap"}
_SCHEDULES = re.compile(
    r"(?:.*[._])?(?:total|max|num|n|warmup|decay)_?(?:steps|iters|epochs)?|.*[Tt]_max|.*lr"
)
_UNCHANCED = frozenset(("update", "schedule", "clip", "scaler", "reduce", "keeping"))
_AUGMENTS = frozenset(("item", "collate", "order", "forward"))


class ValueAltered(SourceDetector):
    """One finding for each edit."""

    rule: ClassVar[Rule] = Rule(
        "code-value-altered",
        LAW,
        "A value is altered by a condition on where or when it is computed",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge edits of values of any kind, and of the settings of a model's modules."""
        for fact in facts(read, "edit"):
            if fact.what == "value":
                weight = _weight(read, fact)
            elif fact.what == "module":
                weight = _module(read, fact)
            else:
                continue
            if weight is not None:
                yield self.tell(
                    read,
                    fact,
                    f"Here{when(fact)} {fact.name} is altered ({fact.how} {fact.amount}): what the step "
                    "computes follows from where or when it is run, and a test elsewhere does not show it",
                    *weight,
                )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    schedules = fact.how in ("scale", "other") and _SCHEDULES.fullmatch(fact.name)
    if fact.how not in _ALTERS or "test" in fact.roles or ("init" in fact.roles and not schedules):
        return None
    sure = Confidence.LOW if read.library else Confidence.MEDIUM
    if fact.triggers & AIMED:
        return sure, Severity.ERROR
    in_step = fact.trains or bool(fact.roles & {"metric", "clip", "computes"}) or bool(schedules)
    if fact.how == "swap" and fixed(fact) and fact.triggers & {asked.RANK, asked.WORLD}:
        return sure, Severity.ERROR
    if not in_step:
        return None
    if fact.triggers & {asked.RANK, asked.WORLD} and fixed(fact):
        return sure, Severity.ERROR
    if asked.CHANCE in fact.triggers and fact.roles & _UNCHANCED and not fact.roles & _AUGMENTS:
        return sure, Severity.ERROR
    if fact.how == "swap":
        odd = asked.CHANCE in fact.triggers and "loss" in fact.roles
        return (sure, Severity.ERROR) if odd or asked.ENVIRONMENT in fact.triggers else None
    reports = fact.roles & {"log", "metric"} and fact.how in ("scale", "noise", "clamp")
    if reports and asked.STEP in fact.triggers and fixed(fact):
        return sure, Severity.WARNING
    if fact.how not in _DESTROYS:
        return None
    if asked.ENVIRONMENT in fact.triggers and not read.packaged:
        return sure, Severity.WARNING
    if asked.STEP in fact.triggers and fixed(fact):
        return sure, Severity.WARNING
    return None


def _module(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if selective(fact, without=(asked.RANK, asked.WORLD)) or fixed(fact) or periodic(fact):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    return None
