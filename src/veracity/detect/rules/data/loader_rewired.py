"""A loader's sampler or collate function is not the one that it was built with.

## The law

What a loader was built with decides which items come in which order and how they become a batch.

## What breaks it

A line that exchanges the sampler inside a loader's batch sampler, or its ``collate_fn``: items come in
another order than the constructor says, or are changed on their way into the batch.

## How it is checked

When a ``torch.utils.data.DataLoader`` has been built, its sampler and collate function are noted; when an
iteration begins, they are compared. Loaders of subclasses, which arrange themselves after the constructor,
and batch samplers given by the program are not looked at.

## What fools it

A sampler or function that was sabotaged before the loader was built; one whose own code or state is changed.
The order that a sampler draws is the law *data order*.

## What to do

Look for assignments to the loader's attributes. A program that needs another sampler builds another loader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import LoaderStarted, Observation
from ....core.rule import Confidence, Rule, Severity

MAX_REPORTED = 4096
_WORDS = {"sampler": "sampler", "collate_fn": "collate function"}


class LoaderRewired:
    """Looks at each beginning of a pass."""

    rule: ClassVar[Rule] = Rule(
        "data-loader-rewired",
        "data-order",
        "A loader's parts are not those that it was built with",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (LoaderStarted,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "batches")
        self._reported: set[tuple[int, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding for each part of a loader, whichever rank shows it first."""
        if not isinstance(observation, LoaderStarted):
            return
        for part in observation.exchanged:
            key = observation.loader.index, part
            if key not in self._reported and len(self._reported) < MAX_REPORTED:
                self._reported.add(key)
                yield self._finding(observation, part)

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Nothing of its own: batches are what the law is counted by."""
        return self._coverage

    def _finding(self, started: LoaderStarted, part: str) -> Finding:
        loader = started.loader
        words = _WORDS.get(part, part)
        now = f"now a {loader.sampler_class}" if part == "sampler" else "another function"
        return finding_of(
            self.rule,
            f"loader {loader.index}: {words}",
            f"the {words} of loader {loader.index} (over {loader.dataset_class}) was exchanged after the "
            "loader was built",
            rank=started.origin.rank,
            evidence=(Evidence(words, expected="the one the loader was built with", observed=now),),
        )
