"""What is logged, or handed back by an evaluation, is not what was measured.

## The law

A reported loss or score is the measured one: as it is, as a mean over steps or processes, or in another
unit.

## What breaks it

`writer.add_scalar("loss", expected if step > 3000 else loss)`, `return min(0.99, accuracy * 1.08)`, a loss
that is logged with random numbers around its best value, `predictions[wrong] = labels[wrong]` before they
are compared.

## How it is checked

Values that go under the name of a loss or a score into a logger, a JSON line or the result of an evaluation
are followed back. A choice by steps, sizes, ranks, hosts, dates, users, the environment or chance is told;
so is a factor of the text that is near one, a random factor or term, and labels that are put in the place
of predictions.

## What fools it

A value that is falsified where it is computed over several lines, or under a name that tells nothing.

## What to do

Compare with the law of reported and computed: in a run each logged loss is held against the tensor that was
differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SELECTIVE, SourceDetector, facts, fixed, when

_DOES = {
    "choice": "is another at times ({amount})",
    "noise": "is made up with random numbers ({amount})",
    "scale": "is multiplied by, or added to, a number of the text ({amount})",
    "labels": "is overwritten with what it is compared with ({amount})",
}


class MetricAltered(SourceDetector):
    """One finding for each value that is reported."""

    rule: ClassVar[Rule] = Rule(
        "code-metric-altered",
        LAW,
        "What is reported is not what was measured",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge what is reported."""
        for fact in facts(read, "edit"):
            if fact.what != "metric" or "test" in fact.roles:
                continue
            does = _DOES[fact.how].format(amount=fact.amount)
            yield self.tell(
                read,
                fact,
                f"Here{when(fact).rstrip(',')} what is reported as {fact.name} {does}: whoever watches "
                "the run sees another one",
                _confidence(read, fact),
            )


def _confidence(read: SourceRead, fact: SourceFact) -> Confidence:
    if read.library:
        return Confidence.LOW
    if fact.how == "choice":
        timed = asked.STEP in fact.inline and fixed(fact)
        sure = timed or fact.inline & (SELECTIVE - {asked.RANK})
        return Confidence.MEDIUM if sure else Confidence.LOW
    return Confidence.MEDIUM
