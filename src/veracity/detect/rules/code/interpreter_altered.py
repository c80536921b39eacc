"""Code reaches into the interpreter: import hooks, tracing, memory, objects and frames of others.

## The law

The interpreter runs the program as it is written.

## What breaks it

`sys.meta_path.insert(0, …)` alters each module that is imported later; `sys.settrace` sees and changes each
line; `ctypes.CDLL("/shared/x.so")` runs compiled code, and `ctypes.memmove` writes where the interpreter
keeps its objects; `gc.get_objects()` finds the optimizer of others; frames give away the variables of
callers.

## How it is checked

Calls are resolved to their functions, and files that Python executes by their name (`sitecustomize.py`) are
told. In the path of a training step, in a change, and where a finder of modules names one of a library of
training, they are told of; elsewhere they are for auditors, since debuggers, import machinery and bindings
need them.

## What fools it

Compiled code.

## What to do

Ask what it is for. Start-up purity and code identity tell in a run what was altered by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import SourceFact, SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, in_change, selective, when

_DOES = {
    "memory": "writes into the process' memory",
    "trace": "sees, and can change, each line that runs from here on",
    "objects": "finds objects that it was not given, such as another's optimizer",
    "frames": "reaches the variables of its callers",
    "native": "loads compiled code from a place where no package keeps any",
    "import-hook": "can alter each module that is imported from here on",
}


_START_UP = frozenset(("sitecustomize.py", "usercustomize.py"))
_SEPARATORS = re.compile(r"[/\\!]")


class InterpreterAltered(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-interpreter-altered",
        LAW,
        "Code reaches into the interpreter",
        Severity.WARNING,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge calls that reach into the interpreter."""
        if read.change != "changed" and _SEPARATORS.split(read.path)[-1] in _START_UP:
            yield finding_of(
                self.rule,
                read.path,
                f"{read.path} is executed at the start of every Python that finds "
                "it on its path, before "
                "the program: it can alter anything that is imported "
                "later",
                locations=(Location(read.path, 1),),
                evidence=(Evidence("SHA-256", observed=read.sha256),),
            )
        for fact in facts(read, "call", "edit"):
            if (
                fact.act == "edit"
                and "tracer" in fact.roles
                and fact.what in ("setting", "weight", "gradient")
            ):
                text = (
                    f"A function that sees each line which runs changes a {fact.what} ({fact.name}): what "
                    "training computes no longer follows from its text"
                )
                yield self.tell(read, fact, text, Confidence.LOW if read.library else Confidence.MEDIUM)
            elif fact.act == "call" and fact.what in _DOES:
                text = (
                    f"{fact.name}{when(fact)} {_DOES[fact.what]}: what training computes no longer "
                    "follows from its text"
                )
                yield self.tell(read, fact, text, _confidence(read, fact))


def _confidence(read: SourceRead, fact: SourceFact) -> Confidence:
    if fact.what == "frames":
        return Confidence.LOW
    if read.library:
        return Confidence.MEDIUM if selective(fact) and fact.trains else Confidence.LOW
    if fact.how == "targets":
        return Confidence.HIGH
    if fact.trains or selective(fact) or fact.what in ("import-hook", "native"):
        return Confidence.MEDIUM
    return in_change(read)
