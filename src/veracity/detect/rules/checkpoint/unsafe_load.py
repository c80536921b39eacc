"""A checkpoint was loaded in a way that lets it execute, though others can write it or it was refused before.

## The law

Load: nothing that can execute is loaded.

## What breaks it

``torch.load(…, weights_only=False)`` on a file that the safe loader has just refused, or on one that
belongs to another account or that everybody can write: whoever can write the file can execute code in this
run.

## How it is checked

The guard reports how each ``torch.load`` was called, the owner and mode of its file, and whether a safe
load of the same file had been refused. A file whose digest a recorded run of this home saved is not
reported: it is what that run wrote. It is a warning; a checkpoint that does execute is found by
``checkpoint-executes``.

## What fools it

Group permissions and access lists are not read, and neither are folders in which others can exchange a
file. Other loaders than ``torch.load`` are not judged here.

## What to do

Save plain tensors and dictionaries and load them with ``weights_only=True``; name the few classes a
checkpoint needs with ``torch.serialization.add_safe_globals``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import FileDigested, ObjectsLoaded, Observation
from ....core.rule import Confidence, Rule, Severity

MAX_WAITING = 200
MAX_FINDINGS = 50


class UnsafeLoad:
    """Waits for the file's digest, then one finding for each file and line."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-unsafe-load",
        "load",
        "A checkpoint that others can write was loaded in a way that can execute",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FileDigested, ObjectsLoaded)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "loads")
        self._waiting: dict[str, tuple[ObjectsLoaded, str]] = {}
        self._done: set[str] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take a load or the digest of a loaded file."""
        if isinstance(observation, ObjectsLoaded):
            why = _why(observation)
            path = observation.path
            if why and path and path not in self._done and len(self._waiting) < MAX_WAITING:
                self._waiting.setdefault(path, (observation, why))
        elif isinstance(observation, FileDigested) and observation.event == "loaded":
            waiting = self._waiting.pop(observation.path, None)
            if waiting is not None and not observation.known:
                yield from self._found(*waiting)

    def finish(self) -> Iterator[Finding]:
        """Files that nobody could digest."""
        for load, why in list(self._waiting.values()):
            yield from self._found(load, why)
        self._waiting.clear()

    def coverage(self) -> Coverage:
        """Loads are counted by ``checkpoint-executes``, once for the law."""
        return self._coverage

    def _found(self, load: ObjectsLoaded, why: str) -> Iterator[Finding]:
        if load.path in self._done or len(self._done) >= MAX_FINDINGS:
            return
        self._done.add(load.path)
        caller = (Location(load.caller, max(0, load.line)),) if load.caller else ()
        yield finding_of(
            self.rule,
            load.path,
            f"{load.path} was loaded with weights_only={load.weights_only.capitalize()}, {why}",
            rank=load.origin.rank,
            locations=(*caller, Location(load.path)),
            evidence=(
                Evidence("account of the process and owner of the file", str(load.user), str(load.owner)),
                Evidence("mode of the file", observed=f"{load.mode & 0o7777:04o}"),
            ),
        )


def _why(load: ObjectsLoaded) -> str:
    """Why this load deserves a warning; empty when it does not."""
    if load.way != "torch.load" or load.begun or load.weights_only == "true":
        return ""
    if load.fell_back:
        return "after a safe load of it had been refused"
    if load.weights_only != "false" and not load.globals:
        return ""  # the default of newer versions is the safe load, which names no globals
    if load.mode & 0o002:
        return "though everybody can write it"
    # Root in a container meets files of its own user under other numbers.
    if load.owner > 0 and load.user > 0 and load.owner != load.user:
        return "though it belongs to another account"
    return ""
