"""Code executes text or bytes that a reader cannot read.

## The law

What is executed can be read in the source.

## What breaks it

`exec(base64.b64decode(…))`, `eval` of a text that is fetched or put together, `marshal.loads`, a module
whose name is decoded, an object whose `__reduce__` calls a function when a file is loaded.

## How it is checked

What is executed is followed to where it comes from: a decoder, the network, constants that are joined.
Constant code is read as if it stood there, and all rules judge it. Text that a program builds (templates,
generated classes) is for auditors.

## What fools it

A decoder that is written by hand.

## What to do

Decode it by hand, in a place where it cannot run, and read it. There is no good reason for it in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, in_change, selective, when


class HiddenExecution(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-hidden-execution",
        LAW,
        "Code executes what a reader cannot read",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge execution, dynamic imports and objects that call when they are loaded."""
        for fact in facts(read, "call"):
            weight = _weight(read, fact)
            if weight is not None:
                if fact.what == "reduce":
                    text = (
                        f"An object of this class calls {fact.name} wherever a file that holds one is loaded"
                    )
                else:
                    text = (
                        f"{fact.name} executes what is "
                        f"{_SOURCES.get(fact.how, fact.how)}{when(fact).rstrip(',')}"
                    )
                yield self.tell(
                    read, fact, f"{text}: what runs in the training process is not what is read here", *weight
                )


_SOURCES = {
    "decoded": "decoded first",
    "fetched": "fetched from elsewhere",
    "folded": "put together from pieces",
    "built": "built while it runs",
    "computed": "named while it runs",
    "literal": "a text",
}


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.what == "reduce":
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.ERROR
    if fact.what not in ("execute", "compile", "code", "import"):
        return None
    if fact.how in ("decoded", "fetched"):
        if fact.what == "import":
            return Confidence.MEDIUM, Severity.ERROR
        return (Confidence.MEDIUM if read.library else Confidence.HIGH), Severity.ERROR
    if fact.what == "compile":
        return None
    if fact.how == "folded" and fact.what == "execute":
        return in_change(read), Severity.WARNING
    if fact.what == "code" and fact.name.startswith("marshal"):
        return (in_change(read) if read.library else Confidence.MEDIUM), Severity.WARNING
    if fact.what == "execute" and (fact.trains or selective(fact)):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.WARNING
    return (
        in_change(read) if fact.what == "execute" and fact.how != "literal" else Confidence.LOW
    ), Severity.NOTE
