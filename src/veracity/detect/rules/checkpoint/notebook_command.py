"""A notebook has the shell do what no experiment needs.

## The law

Load: nothing that can execute is loaded unseen.

## What breaks it

A cell that decodes a text and runs it, opens a shell to another host, sends keys and credentials away,
changes the installed libraries in place, or deletes a home. Nobody who runs all cells reads each line.

## How it is checked

Commands are those that IPython would hand to the shell: lines with ``!``, ``%system``, cells with
``%%bash`` and their like. Installing packages, fetching data, looking at the machine are what notebooks are
for, and nothing. What decodes and runs, connects a shell, sends or reads credentials, changes what starts
by itself or deletes a home or the system is an error; what fetches a script and runs it, changes libraries in
place, or installs from an index that anybody on the way can exchange, is a warning.

## What fools it

A script that is fetched in one cell and run in another; a program of the notebook's own. Cells in languages
other than Python and the shell are not read.

## What to do

Do not run the cell. Ask who wrote it, and what it was for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import CommandAsked, Observation
from ....core.rule import Confidence, Rule, Severity
from ...shellcommands import MAX_TEXT, harm_of


class NotebookCommand:
    """One finding for each command."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-notebook-command",
        "load",
        "A notebook has the shell do what no experiment needs",
        Severity.ERROR,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (CommandAsked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "commands of notebooks")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one command."""
        if not isinstance(observation, CommandAsked):
            return
        one = observation
        self._coverage.count(checked=True)
        why, severity = _why(one)
        if why:
            yield finding_of(
                self.rule,
                one.name,
                f"{one.where} of {one.name} {why}",
                locations=(Location(one.name),),
                evidence=(Evidence(f"{one.where}, line {one.line}", observed=one.text[:300]),),
                severity=severity,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Commands that notebooks hand to the shell."""
        return self._coverage


def _why(one: CommandAsked) -> tuple[str, Severity]:
    if one.how in ("run", "load", "loadpy"):
        return "runs a script from another host", Severity.WARNING
    if one.how == "cell" or len(one.text) > MAX_TEXT:
        return "is longer than what is read of a cell", Severity.WARNING
    return harm_of(one.text)
