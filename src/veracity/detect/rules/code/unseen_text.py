"""A source holds characters that hide from its reader what it does.

## The law

What a reader sees is what Python reads.

## What breaks it

Characters that turn the direction of what follows, so that code looks like a comment (CVE-2021-42574);
invisible characters and letters of other alphabets in names, so that two names look alike (CVE-2021-42694);
a statement that stands behind another, far to the right of the window.

## How it is checked

Direction controls that are not closed within their string or comment, invisible characters and look-alike
letters in names, letters that Python reads as others, encodings that do so for a whole file, and code
behind eighty blanks or more. Marks that languages need in texts and names that are Greek throughout, or use
Greek letters as mathematics does, are lawful.

## What fools it

A name that differs from another in one ordinary letter.

## What to do

Look at the bytes of the line. No editor writes these by accident into code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts

_SAYS = {
    "direction": (
        "a control of direction ({name}, in a {how}): the line is not in the order in which it is shown"
    ),
    "invisible": "an invisible character ({name}, in a {how}): what is read is not what is seen",
    "lookalike": "a name that looks like another ({name!a}): it is read as something else than it seems",
    "encoding": "an encoding ({name}) in which Python reads other code than an editor shows",
    "off-screen": "code far to the right, behind blanks: it runs, and nobody sees it",
}


class UnseenText(SourceDetector):
    """One finding for each line."""

    rule: ClassVar[Rule] = Rule(
        "code-unseen-text",
        LAW,
        "A source hides from its reader what it does",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge oddities of characters."""
        for fact in facts(read, "text"):
            text = _SAYS[fact.what].format(name=fact.name, how=fact.how)
            yield self.tell(read, fact, f"The line holds {text}", _confidence(fact))


def _confidence(fact: SourceFact) -> Confidence:
    if fact.what == "direction":
        return Confidence.HIGH if fact.how.endswith("not closed") else Confidence.LOW
    if fact.what == "invisible":
        return Confidence.HIGH if fact.how == "code" else Confidence.LOW
    return Confidence.HIGH
