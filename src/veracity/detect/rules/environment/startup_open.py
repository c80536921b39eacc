"""What is executed at the start, or loaded as compiled code, can be exchanged by others.

## The law

Start-up purity: nothing runs before the program, or is loaded into it unasked, that somebody else can put
there.

## What breaks it

A folder of compiled code that is loaded again as it is (`torch.compile`, triton, extensions of torch) and
that somebody else made first under the name that it has by default, or may write to. A shell profile or
`BASH_ENV` that others may edit: it runs before a job that is started through `bash -l`. A plug-in of NCCL,
UCX, Open MPI, libfabric or OpenSSL, or a folder in which they look for some.

## How it is checked

The monitor, and `veracity seal --python`, read the variables and the command that the job was started with.
Of each file and folder that these bring in, they ask who may exchange it: everybody, a group with other
members, or, of a cache of compiled code, another account that it belongs to. Folders on the way count. That
is a warning. A native plug-in that no package brought is a note, and so is a profile that is not as in the
last run that held. None of these breaks a run: profiles and home-built plug-ins belong to no package on any
ordinary machine.

## What fools it

Whoever has the job's own account. Files that a profile executes in its turn, and variables that a script sets
before it starts the program by itself. Access lists. Caches that a program names in its own code.

## What to do

Take the permission away, or name a folder of the job's own (`TORCHINDUCTOR_CACHE_DIR`, `TRITON_CACHE_DIR`).
Empty a cache that somebody else could write to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, StartupItem
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 100
_IS = {
    "profile": "is executed by {via} before the job's command",
    "library": "is loaded by {via}",
    "folder": "is looked into for plug-ins by {via}",
    "cache": "holds compiled code that {name} loads ({via})",
}


class StartupOpen:
    """One finding for each file or folder."""

    rule: ClassVar[Rule] = Rule(
        "environment-startup-open",
        "start-up-purity",
        "What is executed at the start can be exchanged by others",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StartupItem,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "start-up items")
        self._reported: set[str] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one item."""
        if not isinstance(observation, StartupItem) or observation.kind not in _IS:
            return
        one = observation
        self._coverage.count(checked=True)
        severity, why = _weight(one)
        if not why or one.path in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip("more can be exchanged by others than is listed")
            return
        self._reported.add(one.path)
        yield finding_of(
            self.rule,
            one.path,
            f"{one.path} {_IS[one.kind].format(via=one.via, name=one.name)} and {why}",
            rank=one.origin.rank,
            locations=(Location(one.path),),
            evidence=(Evidence("SHA-256", observed=one.sha256),)
            if one.kind in ("profile", "library")
            else (),
            severity=severity,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Profiles, plug-ins and caches of which it was asked who may exchange them."""
        return self._coverage


def _weight(one: StartupItem) -> tuple[Severity, str]:
    if one.writers.startswith("the account"):
        return Severity.WARNING, f"belongs to {one.writers}"
    if one.writers:
        return Severity.WARNING, f"can be exchanged by {one.writers}"
    if one.kind == "library" and one.standing in ("none", "altered") and one.before != "same":
        return Severity.NOTE, "belongs to no package"
    if one.kind == "profile" and one.before in ("new", "changed"):
        return Severity.NOTE, "is not as in the last run of this environment that held"
    return Severity.NOTE, ""
