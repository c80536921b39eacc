"""Code loads files in a way that lets them execute, or falls back to such a way.

## The law

Nothing that can execute is loaded.

## What breaks it

`pickle.load`, `torch.load(…, weights_only=False)`, `joblib.load`, `numpy.load(allow_pickle=True)`,
`yaml.load` without a safe loader, `trust_remote_code=True`; and worst, a safe load whose failure leads to
an unsafe one: whoever writes the file decides that it fails.

## How it is checked

Calls are resolved to their functions and arguments to constants. A fall-back in an exception's handler, an
argument that is chosen by a condition, what another host sends, and a payload within the text are told of
always; plain unsafe loads in a change and in a notebook, which is handed on with the files that it loads, and
to auditors in a whole tree, since programs are full of them. A notebook may load what it writes itself.

## What fools it

A wrapper whose argument decides.

## What to do

Load with `weights_only=True`, safetensors or `yaml.safe_load`; convert old files once, after a scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, in_change, of_notebook, periodic, selective, when


class UnsafeLoad(SourceDetector):
    """One finding for each load."""

    rule: ClassVar[Rule] = Rule(
        "code-unsafe-load",
        LAW,
        "Code loads files in a way that lets them execute",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge loads."""
        loads = [fact for fact in facts(read, "call") if fact.what == "load"]
        for fact in loads:
            weight = _weight(read, fact)
            if weight is not None:
                yield self.tell(
                    read,
                    fact,
                    f"{_says(fact)}{when(fact).rstrip(',')}: whoever can write the file "
                    "executes code in the "
                    "training process",
                    *weight,
                )


def _says(fact: SourceFact) -> str:
    if fact.how == "decoded":
        return f"{fact.name} loads a payload that stands encoded in the source"
    if fact.how == "remote-code":
        return f"{fact.name} executes code that comes with a model (trust_remote_code=True)"
    if fact.how == "fetched":
        return f"{fact.name} loads what another host sends, and that can execute"
    if fact.how == "fallback":
        return f"When another load fails, {fact.name} loads what can execute"
    return f"{fact.name} loads what can execute"


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if fact.how == "safe":
        return None
    if fact.how == "decoded":
        return (Confidence.LOW if read.library else Confidence.HIGH), Severity.ERROR
    if fact.how == "fetched":
        return (Confidence.LOW if read.library else Confidence.HIGH), Severity.ERROR
    if fact.how == "conditional":
        if selective(fact) or periodic(fact):
            return Confidence.HIGH, Severity.ERROR
        return in_change(read, Confidence.MEDIUM) if fact.inline else Confidence.LOW, Severity.WARNING
    if fact.how == "default":
        return Confidence.LOW, Severity.NOTE
    if fact.how == "fallback":
        return (in_change(read) if read.library else Confidence.MEDIUM), Severity.ERROR
    if selective(fact):
        return (in_change(read) if read.library else Confidence.MEDIUM), Severity.ERROR
    if fact.name == "torch.load" or fact.how == "remote-code":
        return (in_change(read) if read.packaged else Confidence.MEDIUM), Severity.WARNING
    if of_notebook(read) and fact.how != "own":
        return Confidence.MEDIUM, Severity.WARNING
    return in_change(read), Severity.WARNING
