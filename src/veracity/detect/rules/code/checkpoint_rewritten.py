"""A checkpoint is changed between being loaded and saved, or what is saved is not what is in memory.

## The law

What is saved is what was in memory, and what is loaded is what was saved.

## What breaks it

A program that loads a checkpoint, scales its tensors and saves it under the same name; a state dict whose
values are multiplied on the way into the file.

## How it is checked

Loads and saves are compared by the text of their path; values that come from a checkpoint or a state dict
are followed to arithmetic with them. Converters, which load one file and save another, and changes of type,
device and names are lawful.

## What fools it

Two names for one path.

## What to do

Compare the file with the record of the run that saved it: the law of weight continuity digests each
checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, periodic, selective, when

_ARITHMETIC = frozenset(("scale", "flip", "zero", "noise", "add", "shuffle", "fill", "set", "mask", "item"))


class CheckpointRewritten(SourceDetector):
    """One finding for each change."""

    rule: ClassVar[Rule] = Rule(
        "code-checkpoint-rewritten",
        LAW,
        "A saved state is changed on its way",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge arithmetic with saved states."""
        again = _saved_again(read)
        for fact in facts(read, "edit"):
            if fact.how not in _ARITHMETIC:
                continue
            weight = _weight(read, fact, again)
            if weight is not None:
                into = "saved under the same name" if again else "saved or loaded"
                yield self.tell(
                    read,
                    fact,
                    f"Values of a saved state ({fact.name}) are "
                    f"changed{when(fact).rstrip(',')} ({fact.how} {fact.amount}) "
                    f"and {into}: whoever resumes goes on from other weights than were trained",
                    *weight,
                )


def _saved_again(read: SourceRead) -> bool:
    """Whether a path that is loaded from is saved to."""
    paths: dict[str, set[str]] = {"load": set(), "write": set()}
    for fact in read.facts:
        if fact.act == "call" and fact.what in paths and fact.amount:
            paths[fact.what].add(fact.amount)
    return bool(paths["load"] & paths["write"])


def _weight(read: SourceRead, fact: SourceFact, again: bool) -> tuple[Confidence, Severity] | None:
    if fact.what == "saved":
        if selective(fact) or periodic(fact):
            return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
        turned = fact.how in ("flip", "noise", "shuffle") and fact.roles & {"load", "hook"}
        if turned and not read.library:
            return Confidence.MEDIUM, Severity.ERROR
        arithmetic = fact.how in ("scale", "flip", "zero", "noise", "shuffle")
        if again and not read.library:
            return (Confidence.HIGH if arithmetic else Confidence.MEDIUM), Severity.ERROR
        saves = "save" in fact.roles and arithmetic and not read.library
        return (Confidence.MEDIUM if saves else Confidence.LOW), Severity.WARNING
    if not again or read.library or fact.trains or fact.roles & {"init", "update"}:
        return None
    moved = fact.what in ("weight", "moment") and fact.how in ("scale", "flip", "noise", "shuffle", "zero")
    if moved and not fact.triggers - {asked.FILE, asked.MAIN}:
        return Confidence.MEDIUM, Severity.ERROR
    return None
