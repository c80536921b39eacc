"""The order in which data is passed through is changed by a condition, or behind the loader's back.

## The law

Batches come in the order that sampler, seed and epoch imply; none is repeated or dropped.

## What breaks it

A sampler that repeats an index or asks for chance beside its permutation, `set_epoch` that stores nothing,
`shuffle` that depends upon the host, a loader's sampler or collate function that is exchanged after it was
built.

## How it is checked

Samplers' own functions, arguments of loaders and attributes of loaders and samplers are followed.
Conditions on ranks, hosts, dates, users, environment and chance are errors. Exchanging a part of a loader
is told outside of libraries of training, which prepare loaders in this way.

## What fools it

A sampler of the program's own that draws badly from the start.

## What to do

Build the loader with what it is to use. The laws of data order derive each epoch's order again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, in_change, periodic, selective, when

_EXCHANGED = frozenset(("sampler", "batch_sampler", "collate_fn", "dataset", "worker_init_fn"))


class OrderAltered(SourceDetector):
    """One finding for each change."""

    rule: ClassVar[Rule] = Rule(
        "code-order-altered",
        LAW,
        "The order of the data is changed by a condition, or behind the loader's back",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge changes of orders, samplers and loaders."""
        for fact in facts(read, "edit"):
            if fact.what == "order" and "init" not in fact.roles:
                weight = _weight(read, fact)
                if weight is not None:
                    yield self.tell(
                        read,
                        fact,
                        f"Here{when(fact)} {fact.name} is changed ({fact.how} "
                        f"{fact.amount}): items come again, are "
                        "left out, or come in an order that nothing declares",
                        *weight,
                    )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how in ("", "cut", "add") and not selective(fact, without=(asked.CHANCE,)):
        return None
    if selective(fact, without=(asked.CHANCE,)) or (
        asked.CHANCE in fact.triggers and asked.STEP in fact.triggers
    ):
        ranks = not fact.triggers - {asked.RANK, asked.WORLD, asked.MAIN, asked.FILE}
        if ranks and "order" in fact.roles and fact.how in ("add", "cut"):
            return None  # each process takes its share
        if read.library:
            odd = "order" in fact.roles and asked.CHANCE in fact.triggers
            return (Confidence.MEDIUM if odd else Confidence.LOW), Severity.ERROR
        return (Confidence.MEDIUM if ranks else Confidence.HIGH), Severity.ERROR
    if read.library:
        return (in_change(read) if "order" in fact.roles else Confidence.LOW), Severity.WARNING
    if asked.ENVIRONMENT in fact.triggers or periodic(fact):
        return Confidence.MEDIUM, Severity.ERROR
    if "order" in fact.roles:
        if fact.how == "epoch":
            return Confidence.MEDIUM, Severity.ERROR
        return (Confidence.MEDIUM if fact.how == "item" else Confidence.LOW), Severity.WARNING
    if fact.how in _EXCHANGED:
        # A class that prepares loaders does so by design; a part of the same loader is only copied.
        owner = fact.name.partition(".")[0]
        prepares = (
            read.packaged or owner == "self" or fact.amount.startswith((f"{owner}.", f"getattr({owner}"))
        )
        return (in_change(read) if prepares else Confidence.MEDIUM), Severity.WARNING
    return None
