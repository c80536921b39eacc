"""A name that a file asks for is another thing in the environment that will load it.

## The law

Load: nothing that can execute is loaded. A name is permitted because its makers' definition only holds data.

## What breaks it

An environment in which somebody has changed what the name stands for: a line in a `.pth` or a
`sitecustomize` that puts another class in the place of `collections.OrderedDict`, or another method into it;
a module of the same name in a folder of PYTHONPATH; a compiled module beside the source; an edited file of
torch. A checkpoint without fault then executes when it is loaded.

## How it is checked

With `veracity scan --env PYTHON`, for each global that a pickle names, from files alone: the folders in which
that Python looks for the module are gone through in their order, the packages on the way and the modules from
which the name is imported are followed, and each file is compared with the RECORD or the package database
that it belongs to. Code at the start is read for what it sets in these modules. A file that is not as it was
installed, a module that stands before one of the standard library, and code of no package that replaces the
name are errors. A module before an installed one, a name that code of another package replaces, and anything
else in the module that code of no package sets, are warnings.

## What fools it

A RECORD that was edited with the file, where no archive was named. A standard library that no package
database knows. The folder of the program itself, from which it imports first. Code that exchanges the name
later, in a module that the program imports. A change in another module, which the definition calls. Text at
the start that is written so that its reading shows nothing.

## What to do

Do not load the file there. Look at the file that is shown and who can write to it; install again from a lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import DefiningFile, GlobalDefined, Observation, Reassigned
from ....core.rule import Confidence, Rule, Severity

MAX_NAMED = 20
MAX_FINDINGS = 200
_EXACT_INSTALLERS = ("pip", "uv", "poetry", "pdm", "dpkg", "conda", "archive")
_Cause = tuple[Severity, Confidence, str, tuple[Location, ...], tuple[Evidence, ...]]


class GlobalRedefined:
    """One finding for each cause in each file, with the globals that it is about."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-global-redefined",
        "load",
        "A name is another thing in the environment that will load the file",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (GlobalDefined,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "globals")
        self._causes: dict[tuple[str, _Cause], list[str]] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take one global in; findings come at the end, one for all globals of a cause."""
        if not isinstance(observation, GlobalDefined):
            return
        self._coverage.count(checked=True)
        name = _printable(f"{observation.module}.{observation.name}")
        for cause in _causes(observation):
            if len(self._causes) < MAX_FINDINGS or (observation.path, cause) in self._causes:
                self._causes.setdefault((observation.path, cause), []).append(name)
            else:
                self._coverage.skip(f"more than {MAX_FINDINGS} causes: the rest is not listed")
        yield from ()

    def finish(self) -> Iterator[Finding]:
        """One finding for each cause."""
        for (path, (severity, confidence, what, locations, evidence)), names in self._causes.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield finding_of(
                self.rule,
                path,
                f"{path} names {names[0]}{more}, {what}",
                locations=(Location(path), *locations),
                evidence=(Evidence("names", observed=names[0], excerpt=tuple(names[:MAX_NAMED])), *evidence),
                severity=severity,
                confidence=confidence,
            )

    def coverage(self) -> Coverage:
        """Globals whose definition was looked for."""
        return self._coverage


def _causes(one: GlobalDefined) -> Iterator[_Cause]:
    for each in one.files:
        if each.standing == "altered":
            sure = Confidence.HIGH if each.installer in _EXACT_INSTALLERS else Confidence.MEDIUM
            what = f"for which {one.python} executes {each.path}, which is not as {each.owner} has it"
            yield Severity.ERROR, sure, what, (Location(each.path),), _file_evidence(each)
        elif each.instead:
            yield _shadow(one, each)
        if each.bytecode:
            yield _forged(one, each)
    owners = {each.owner for each in one.files if each.owner}
    for code in one.replaced:
        if not (_owned(code) and code.owner in owners):
            yield _replaced(one, code)
    for code in one.beside:
        if not _owned(code) and not code.plain:
            yield _beside(one, code)


def _shadow(one: GlobalDefined, each: DefiningFile) -> _Cause:
    of_library = "site-packages" not in each.instead and "dist-packages" not in each.instead
    what = f"which {one.python} finds in {each.path}, of {each.owner or 'no package'}, before {each.instead}"
    return (
        Severity.ERROR if of_library else Severity.WARNING,
        Confidence.HIGH if of_library else Confidence.MEDIUM,
        what,
        (Location(each.path),),
        _file_evidence(each),
    )


def _forged(one: GlobalDefined, each: DefiningFile) -> _Cause:
    what = f"for which {one.python} loads {each.bytecode}, which is not what {each.path} compiles to"
    return Severity.ERROR, Confidence.HIGH, what, (Location(each.bytecode),), _file_evidence(each)


def _replaced(one: GlobalDefined, code: Reassigned) -> _Cause:
    by = f" (code of {code.owner})" if _owned(code) else ""
    what = (
        f"which code at each start of {one.python} replaces: {_where(code)} sets {_printable(code.name)}{by}"
    )
    if _owned(code):
        return Severity.WARNING, Confidence.MEDIUM, what, _place(code), _line(code)
    sure = Confidence.MEDIUM if "?" in code.name else Confidence.HIGH
    return Severity.ERROR, sure, what, _place(code), _line(code)


def _beside(one: GlobalDefined, code: Reassigned) -> _Cause:
    changes = f"{_where(code)} sets {_printable(code.name)}"
    what = f"and code of no package changes its module at each start of {one.python}: {changes}"
    return Severity.WARNING, Confidence.MEDIUM, what, _place(code), _line(code)


def _owned(code: Reassigned) -> bool:
    return code.standing not in ("none", "altered")


def _where(code: Reassigned) -> str:
    return f"{code.path}:{code.line}"


def _place(code: Reassigned) -> tuple[Location, ...]:
    return (Location(code.path, code.line),)


def _line(code: Reassigned) -> tuple[Evidence, ...]:
    return (Evidence("line", observed=f"{_where(code)}: {code.text}"),)


def _file_evidence(each: DefiningFile) -> tuple[Evidence, ...]:
    return (Evidence("SHA-256 of the file", observed=each.sha256, digest=each.sha256),)


def _printable(text: str) -> str:
    text = text[:400]
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
