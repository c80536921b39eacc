"""An error in an update is swallowed: the step is left out, and nobody hears of it.

## The law

An update that fails is an error that is told.

## What breaks it

`try: optimizer.step()` with `except Exception: pass`, `contextlib.suppress(Exception)` around the backward
pass or around an all-reduce, a `return` in `finally`.

## How it is checked

Handlers of broad exceptions around a backward pass, a step, unscaling, clipping or a reduction over
processes, that neither raise nor log nor do anything else. A handler that names what it expects, or that
says so, is lawful.

## What fools it

A handler that logs where nobody looks.

## What to do

Let it raise, or count and report the steps that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, when


class ErrorSwallowed(SourceDetector):
    """One finding for each handler."""

    rule: ClassVar[Rule] = Rule(
        "code-error-swallowed",
        LAW,
        "An error in an update is swallowed",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge handlers around updates."""
        for fact in facts(read, "control"):
            if fact.what == "swallowed":
                reduces = set(fact.name.split(", ")) <= {
                    "all_reduce",
                    "all_gather",
                    "reduce",
                    "reduce_scatter",
                }
                yield self.tell(
                    read,
                    fact,
                    f"When {fact.name} fails{when(fact).rstrip(',')}, nobody hears of it: "
                    "the step is left out, "
                    "or processes go on with different "
                    "weights",
                    Confidence.LOW if reduces and read.library else Confidence.MEDIUM,
                )
