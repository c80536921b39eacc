"""A file breaks a rule of its format, so that not everybody who reads it sees the same.

## The law

Load: what is loaded is what was looked at.

## What breaks it

Two tensors of one name, of which one reader takes the first and another the last. Tensors that share bytes,
or whose shape asks for other bytes than they have. Bytes that belong to nothing, in which a second file can
lie. A reader that checks all of this refuses the file; others take it.

## How it is checked

The rules are those of the format's own reader (safetensors, GGUF). What two readers can see differently, and
bytes that no reader looks at, are errors: no program that writes the format leaves them. What the own reader
refuses is a warning. A file that is merely cut off is not a finding: it is incomplete.

## What fools it

Bytes that belong to a tensor and are something else besides.

## What to do

Do not load the file with a reader that takes it. Get it again from where it was published, and compare
digests. If that is the same file, ask who wrote it, and with what.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Finding, Location, finding_of
from ....core.observation import FormatRuleBroken, Observation
from ....core.rule import Confidence, Rule, Severity


class FormatBroken:
    """One finding for each rule that is broken."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-format-broken",
        "load",
        "A file breaks a rule of its format",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FormatRuleBroken,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "broken rules")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one broken rule."""
        if not isinstance(observation, FormatRuleBroken):
            return
        one = observation
        self._coverage.count(checked=True)
        yield finding_of(
            self.rule,
            one.name,
            f"{one.name} is no sound {one.format}: {one.what}",
            locations=(Location(one.name),),
            severity=Severity.WARNING if one.effect == "refused" else Severity.ERROR,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Rules that files break."""
        return self._coverage
