"""A native library that no package vouches for is put before all others.

## The law

Start-up purity: nothing runs before the program that is neither sealed, nor owned by a distribution or
system package.

## What breaks it

A library in ``LD_PRELOAD``, ``LD_AUDIT`` or ``/etc/ld.so.preload``, or one that CUDA or OpenMP is told to
load (``CUDA_INJECTION64_PATH``, ``OMP_TOOL_LIBRARIES``): its functions stand in the place of the C
library's, CUDA's or torch's own, in every process.

## How it is checked

The monitor reads the variables with which the process was started, finds the files, and asks who owns each:
RECORD of a distribution, conda, dpkg. Allocators (jemalloc, tcmalloc) and OpenMP runtimes that a package
brought are owned. One without an owner is a warning, because people build allocators themselves, and a note
where it stands as in the last run of the environment that held. It never breaks a run by itself.

## What fools it

Variables that are changed within the process (they act on its children only); a patched loader; a package
database that was edited. What a library does is not read: its digest is in the seal.

## What to do

Unset the variable, or install the library as a package. If nobody knows where it comes from, keep the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, StartupItem
from ....core.rule import Confidence, Rule, Severity

MAX_FINDINGS = 50


class PreloadUnowned:
    """One finding for each library."""

    rule: ClassVar[Rule] = Rule(
        "environment-preload-unowned",
        "start-up-purity",
        "A native library that no package vouches for is loaded before all others",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StartupItem,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "start-up items")
        self._reported: set[tuple[str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one library."""
        if not isinstance(observation, StartupItem) or observation.kind != "preload":
            return
        self._coverage.count(checked=True)
        key = (observation.path, observation.sha256)
        known = observation.standing not in ("none", "altered")
        if known or key in self._reported or len(self._reported) >= MAX_FINDINGS:
            return
        self._reported.add(key)
        altered = observation.standing == "altered"
        owned = f"is not as {observation.owner} brought it" if altered else "belongs to no package"
        same = observation.before == "same"
        yield finding_of(
            self.rule,
            observation.name,
            f"{observation.path} {owned} and is loaded first by {observation.via}",
            rank=observation.origin.rank,
            locations=(Location(observation.path),),
            evidence=(Evidence("SHA-256", observed=observation.sha256),),
            severity=Severity.NOTE if same and not altered else Severity.WARNING,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Libraries whose owner was asked for."""
        return self._coverage
