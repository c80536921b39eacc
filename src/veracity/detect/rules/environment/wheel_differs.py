"""A wheel does not hold what its own RECORD says, or puts itself in the place of something else.

## The law

Code identity: what is installed is what was published.

## What breaks it

A file of a wheel that was exchanged after the wheel was built: installers write a RECORD of their own and
do not look at the archive's. A package whose entry points torch, Lightning or MLflow load without being
asked. A command with the name of one that everybody types. A module called like one of Python's own or of a
library of training, which is imported in its place wherever the package's folder comes first in the path.

## How it is checked

Each file of the archive is digested and compared. Another digest is an error, a file that is not listed a
warning; signatures of RECORD are passed over. Entry points of groups that are loaded unasked are warnings,
unless the package is the one that reads the group; so are commands such as ``python``, ``git`` or ``sudo``,
and modules at the root of the package with such a name, unless the package is the library itself.

## What fools it

Whoever builds the wheel anew, RECORD included: compare its digest with the index's (``veracity seal
--archives``).

## What to do

Get the archive again and compare its digest with the one that the index, or a lock file, says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, WheelCompared
from ....core.packagename import normalised
from ....core.rule import Confidence, Rule, Severity
from ...modulenames import taken

_EVERYBODYS = frozenset(
    {
        *("python", "python3", "pip", "pip3", "sh", "bash", "env", "sudo", "su", "ssh", "scp", "git", "curl"),
        *("wget", "ls", "cat", "cp", "mv", "rm", "ps", "kill", "nvidia-smi", "srun", "sbatch", "scancel"),
        *("mpirun", "torchrun", "make", "gcc", "tar"),
    }
)
_OWN = {"pip": {"pip", "pip3"}, "torch": {"torchrun"}}


class WheelDiffers:
    """One finding for each file, entry point or command."""

    rule: ClassVar[Rule] = Rule(
        "environment-wheel-differs",
        "code-identity",
        "A wheel does not hold what its own RECORD says",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (WheelCompared,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "wheels")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one wheel."""
        if not isinstance(observation, WheelCompared):
            return
        one = observation
        self._coverage.count(checked=True)
        for path in one.altered:
            yield self._found(
                one, f"holds {path}, which its RECORD has another digest of", path, Severity.ERROR
            )
        for path in one.unlisted:
            yield self._found(one, f"holds {path}, which its RECORD does not list", path, Severity.WARNING)
        for group, target, loader in one.plugins:
            if normalised(group.partition(".")[0]) != normalised(one.distribution):
                what = f"has {loader} load {target} unasked, by the entry point {group}"
                yield self._found(one, what, target, Severity.WARNING)
        for command in one.commands:
            if command in _EVERYBODYS and command not in _OWN.get(normalised(one.distribution), ()):
                yield self._found(one, f"installs a command called {command}", command, Severity.WARNING)
        for module in one.roots:
            whose = taken(module, one.distribution)
            if whose:
                what = f"brings a module called {module}, and that name is {whose}"
                yield self._found(one, what, module, Severity.WARNING)

    def _found(self, one: WheelCompared, what: str, observed: str, severity: Severity) -> Finding:
        return finding_of(
            self.rule,
            one.name,
            f"{one.name} {what}",
            locations=(Location(one.name),),
            evidence=(Evidence(f"{one.distribution} {one.version}", observed=observed),),
            severity=severity,
            confidence=Confidence.MEDIUM if severity is Severity.WARNING else None,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Wheels that were compared."""
        return self._coverage
