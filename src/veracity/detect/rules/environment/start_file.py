"""A file executes code at each start of Python.

## The law

Start-up purity: nothing runs before the program that nobody asked for.

## What breaks it

A line in a ``.pth`` file of a package, which every Python of that environment executes before anything else;
a ``sitecustomize.py`` that comes with a package or lies in a folder of the path.

## How it is checked

Each such file is read wherever it lies, in archives too. Lines that known tools write (setuptools,
virtualenv, coverage, pytest-cov, editable installs, namespace packages) are nothing, and so are folders.
Code that runs programs, opens connections, decodes what it executes or changes torch, numpy or random is an
error. Any other line of a ``.pth`` file that executes is a warning: it may be honest, and it runs in every
process.

## What fools it

What an imported module does. A known tool's line beside a file that is not that tool's.

## What to do

Do not install the package. Look into the archive for what the line imports, and ask who published it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, StartCode
from ....core.pickled import SENTENCES, Danger, danger_of
from ....core.rule import Confidence, Rule, Severity

# What the lines of tools call that many environments have: setuptools with its namespaces and editable
# installs, virtualenv, coverage, pytest-cov. A line counts as one of theirs when it calls nothing else.
_KNOWN_CALLS = re.compile(
    r"_distutils_hack\.add_shim|__editable___\w+_finder\.install|_?coverage\.process_startup"
    r"|pytest_cov\.embed\.init|os\.environ\.get|os\.getenv|os\.path\.(join|dirname)|sys\._getframe|builtins\.__import__"
    r"|sys\.modules\.setdefault|importlib\.(util\.module_from_spec|machinery\.PathFinder\.find_spec)"
    r"|types\.ModuleType|imp\.new_module|m\.__dict__\.setdefault|mp\.append|builtins\.(len|getattr|print|format)"
    r"|sys\.stderr\.write"
)
_KNOWN_MODULES = re.compile(
    r"sys|os|types|importlib(\.util|\.machinery)?|imp|_virtualenv|_?coverage|pytest_cov(\.embed)?|_distutils_hack"
    r"|__editable___\w+_finder|pywin32_bootstrap|site"
)
_GRAVE = (Danger.RUNS, Danger.CONNECTS, Danger.WRITES, Danger.CARRIES)
_READS = frozenset({"os.environ.get", "os.environ.setdefault", "os.environ.pop"})
MAX_TEXT = 4_000
_CHANGES = ("hides", "replaces", "targets")


class StartFile:
    """One finding for each line of a .pth file, or for each other file."""

    rule: ClassVar[Rule] = Rule(
        "environment-start-file",
        "start-up-purity",
        "A file executes code at each start of Python",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StartCode,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "start-up code at rest")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one line or file."""
        if not isinstance(observation, StartCode):
            return
        one = observation
        self._coverage.count(checked=True)
        why, severity = _why(one)
        if why:
            subject = f"line {one.line} of {one.name}" if one.kind == "pth" else one.name
            yield finding_of(
                self.rule,
                one.name,
                f"{subject} is executed at each start of Python and {why}",
                locations=(Location(one.name, one.line),),
                evidence=(Evidence("the code", observed=one.text[:300]),),
                severity=severity,
                confidence=Confidence.HIGH if severity is Severity.ERROR else None,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Start-up code in files."""
        return self._coverage


def _why(one: StartCode) -> tuple[str, Severity]:
    if one.kind == "pth" and not one.unread and _is_of_a_tool(one):
        return "", Severity.NOTE
    for call in one.calls:
        module, _, name = call.rpartition(".")
        found = None if call in _READS else danger_of(module, name)
        if found in _GRAVE and found is not None:
            return f"calls {call}, which {SENTENCES[found]}", Severity.ERROR
    if one.effect in _CHANGES:
        return "changes torch, numpy or random, or hides what it executes", Severity.ERROR
    if one.unread:
        return f"cannot be read: {one.unread}", Severity.WARNING
    if one.kind == "pth":
        return f"imports {', '.join(one.modules[:5]) or 'something'}", Severity.WARNING
    if one.effect == "hooks":
        return "puts itself into the import system", Severity.WARNING
    return "", Severity.NOTE


def _is_of_a_tool(one: StartCode) -> bool:
    if one.effect in _CHANGES or len(one.text) >= MAX_TEXT:
        return False
    known = all(_KNOWN_CALLS.fullmatch(call) for call in one.calls)
    return known and all(_KNOWN_MODULES.fullmatch(module) for module in one.modules)
