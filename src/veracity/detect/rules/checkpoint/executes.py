"""A file that was loaded names something that is not data.

## The law

Load: nothing that can execute is loaded. A file that is unpickled names classes and the functions that
rebuild them, and nothing that runs programs, opens connections, writes files or alters the process.

## What breaks it

A checkpoint or a data file whose pickle names ``os.system``, ``builtins.exec``, ``torch.manual_seed`` …: it
is called while the file is loaded, before the program sees anything of it.

## How it is checked

The interpreter raises an audit event for each global that a pickle names, before it is imported. The guard
follows the loads of files (``torch.load``, ``pickle.load`` of a file, ``joblib.load``) and sends the names
on; a name that is known to be no data is sent before it is called. A function that is reached by another
name (``torch`` / ``os.system``) is known by what it calls itself. A name that runs, connects, writes or
alters is an error, and so is a reference to a module, which no honest pickler writes. Code that the file
brings with it (``cloudpickle``, ``dill``) and ways from one object to any other (``getattr``, which
enumerations of some Python versions use) are warnings. So is a file that calls a function which rebuilds no
data (``print``, ``time.time``, a logger): where one is named, the file is read again to see if it is called,
since an honest file may hold any function. Classes and functions of the program's own, and of
libraries, are listed in the coverage. What a program unpickles in memory is a warning at most, and what
travels between its processes is counted.

The file itself is read by the gate besides, under ``--policy enforce`` before it is loaded: its rules
(``checkpoint-pickle-executes`` and others) ask for more than names.

## What fools it

A gadget that nobody has described: a function of an installed library that does harm with honest looks, or
a class whose ``__setstate__`` does. Loaders that are not Python's pickle. Who switches the guard off first.

## What to do

Do not load the file again. Keep it, ask who wrote it, and see where the run that loaded it went from there:
it may have been altered from this step on. Load with ``weights_only=True``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import NamedGlobal, ObjectsLoaded, Observation
from ....core.pickled import SENTENCES, Danger, danger_of
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 200
MAX_LISTED = 8
_BREAKS = (Danger.RUNS, Danger.CONNECTS, Danger.WRITES, Danger.ALTERS)
_COMMON = ("torch.", "collections.", "numpy.", "builtins.", "_codecs.", "copyreg.", "functools.")


class Executes:
    """One finding for each name of a file."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-executes",
        "load",
        "A file that was loaded names something that is not data",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ObjectsLoaded,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "loads")
        self._reported: set[tuple[str, str, str]] = set()
        self._listed: set[str] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge the names of one load."""
        if not isinstance(observation, ObjectsLoaded):
            return
        self._count(observation)
        for one in observation.globals:
            danger = _danger(one)
            if danger is None:
                self._list(one)
                continue
            weight = _weight(observation, one, danger)
            key = (observation.path or observation.caller, one.module, one.name)
            if weight is None or key in self._reported:
                continue
            if len(self._reported) >= MAX_FINDINGS:
                self._coverage.skip(f"more than {MAX_FINDINGS} such names: the rest is not listed")
                return
            self._reported.add(key)
            yield self._finding(observation, one, danger, *weight)

    def _count(self, load: ObjectsLoaded) -> None:
        if load.way == "elsewhere":
            again = max(0, min(load.repeated, 10**9))
            self._coverage.checked += again
            self._coverage.possible += again
            if load.more > 0:
                self._coverage.skip("what was unpickled in memory or between processes was only counted")
        elif load.way != "unpickled" and not load.begun:
            self._coverage.count(checked=True)
            if load.more > 0:
                self._coverage.skip("a load named more globals than are listed; those known as harmful are")

    def _list(self, one: NamedGlobal) -> None:
        name = f"{one.module}.{one.name}"[:80]
        if not name.startswith(_COMMON) and name not in self._listed and len(self._listed) < MAX_LISTED:
            self._listed.add(name)
            self._coverage.skip(f"{name} was rebuilt, of which nothing is known")

    def _finding(
        self, load: ObjectsLoaded, one: NamedGlobal, danger: Danger, severity: Severity, sure: Confidence
    ) -> Finding:
        name = one.real or f"{one.module}.{one.name}"
        file = load.path or "what was unpickled"
        what = "is a module" if one.kind == "module" else SENTENCES[danger]
        places = [Location(load.path)] if load.path else []
        if load.caller:
            places.append(Location(load.caller, max(0, load.line)))
        evidence = [Evidence("named in the pickle", observed=f"{one.module} {one.name}")]
        if load.weights_only:
            evidence.append(Evidence("weights_only", "true", load.weights_only))
        return finding_of(
            self.rule,
            load.path or load.caller,
            f"{file} was loaded by {load.way} and names {name}, which {what}",
            rank=load.origin.rank,
            first_step=max(0, load.step + 1),
            locations=tuple(places),
            evidence=tuple(evidence),
            severity=severity,
            confidence=sure,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Loads of files whose names were seen."""
        return self._coverage


def _danger(one: NamedGlobal) -> Danger | None:
    module, _, name = one.real.rpartition(".")
    return (
        (Danger.RUNS if one.kind == "module" else None)
        or danger_of(one.module, one.name)
        or (danger_of(module, name) if module else None)
    )


def _weight(load: ObjectsLoaded, one: NamedGlobal, danger: Danger) -> tuple[Severity, Confidence] | None:
    """How grave a dangerous name is in this load; None when it says nothing."""
    if danger in _BREAKS:
        if load.way == "unpickled":
            return Severity.WARNING, Confidence.MEDIUM
        return Severity.ERROR, Confidence.HIGH
    if load.begun or load.way == "unpickled":
        return None  # the end of the load tells what else it names
    if danger is Danger.IDLE:
        return (Severity.WARNING, Confidence.MEDIUM) if one.called else None
    if danger is Danger.CARRIES:
        return Severity.WARNING, Confidence.MEDIUM
    if one.name == "getattr" and any(other.kind == "enum" for other in load.globals):
        return None
    return Severity.WARNING, Confidence.LOW
