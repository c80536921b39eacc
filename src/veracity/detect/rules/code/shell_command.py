"""A source starts a command that no training needs.

## The law

Code: what a program does follows from its text.

## What breaks it

A command that fetches a script and runs it, decodes a text and runs it, opens a shell to another host,
sends credentials away, changes installed libraries in place or deletes a home. What it does is decided
elsewhere, or cannot be undone.

## How it is checked

Commands that a source hands to `os.system`, `subprocess` and their like as constant text, looked through for
what is known of such commands, as those of notebooks are (`checkpoint-notebook-command`).

## What fools it

A command that is put together while the program runs, that begins with more than 160 characters of something
else, or that is written in a script beside the source.

## What to do

Ask who wrote it. Fetch what is needed beforehand, by its digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from ...shellcommands import harm_of
from .reading import LAW, SourceDetector, facts, when


class ShellCommand(SourceDetector):
    """One finding for each command."""

    rule: ClassVar[Rule] = Rule(
        "code-shell-command",
        LAW,
        "A source starts a command that no training needs",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge programs that are started."""
        for fact in facts(read, "call"):
            if fact.what != "start":
                continue
            why, severity = harm_of(fact.amount)
            if why:
                tests = fact.roles & {"test"}
                yield self.tell(
                    read,
                    fact,
                    f"Here{when(fact)} {fact.name} starts a command that {why}: what the program does is "
                    "decided where nobody looks",
                    Confidence.LOW if tests else Confidence.HIGH,
                    severity,
                )
