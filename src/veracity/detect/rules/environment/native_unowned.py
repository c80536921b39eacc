"""A native library that no package vouches for would be loaded.

## The law

Native libraries: what the loader maps for an environment's interpreter and packages is brought by a package,
or lies in the installation that the interpreter belongs to.

## What breaks it

A library of the system that was exchanged. A folder in LD_LIBRARY_PATH or in an object's RPATH with a
library that stands before the system's own of the same name: its functions are called in the others' place,
`libm` and `libstdc++` by all of torch.

## How it is checked

`veracity seal --python` follows the interpreter and every shared object of its packages as glibc's loader
would (DT_NEEDED, RPATH, LD_LIBRARY_PATH, RUNPATH, `ld.so.cache`, default folders), without running them. Of
each library outside the environment it asks who brought it: dpkg (MD5), conda (SHA-256), RECORD. One that is
not as its package brought it is an error. One without a package is a warning when others than its owner may
put another in its place, when LD_LIBRARY_PATH puts it before another of its name and it belongs to the
account that seals, and when it audits the loader (DT_AUDIT). Otherwise it is listed as a note, one for each
folder: driver, compiler and home-built libraries have no package. All of them are a part of the seal
(`native`), so that later changes are found.

## What fools it

A package database that root edited. Libraries that are opened by a name made up by a program (`dlopen`),
among them most plug-ins: those are compared with the seal while it runs. Another LD_LIBRARY_PATH at the run
than at the seal. Access lists.

## What to do

Look at who owns the library and who can write there; reinstall the package that it differs from.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import LibraryResolved, Observation
from ....core.rule import Confidence, Rule, Severity
from .marks import mark_evidence

MAX_FINDINGS = 100
MAX_NAMED = 8
EVERYBODY = "everybody"
VOUCHED = ("recorded", "listed", "installation")


class NativeUnowned:
    """One finding for each library that matters, and one note for each folder of others without an owner."""

    rule: ClassVar[Rule] = Rule(
        "environment-native-unowned",
        "native-libraries",
        "A native library that no package vouches for would be loaded",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (LibraryResolved,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "libraries")
        self._found = 0
        self._listed: dict[str, list[LibraryResolved]] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one library."""
        if not isinstance(observation, LibraryResolved):
            return
        one = observation
        if one.standing == "missing":
            self._coverage.skip(
                "names that lead to no library here, of drivers and of extras that are not used"
            )
            return
        if one.standing == "unread":
            self._coverage.count(checked=False, reason="it cannot be read as the loader reads it")
            return
        known = one.standing in VOUCHED or one.standing == "altered"
        self._coverage.count(checked=known, reason="" if known else "no package vouches for it")
        why = _why(one)
        if why:
            self._found += 1
            if self._found > MAX_FINDINGS:
                self._coverage.skip("more libraries are no package's than are listed")
                return
            yield self._finding(one, why)
        elif not known:
            self._listed.setdefault(posixpath.dirname(one.path), []).append(one)

    def _finding(self, one: LibraryResolved, why: str) -> Finding:
        return finding_of(
            self.rule,
            one.path,
            f"{one.path} {why}",
            locations=(Location(one.path),),
            evidence=(
                Evidence("found by", observed=f"{one.by}, for {one.name} of {one.needed_by}"),
                Evidence("SHA-256", observed=one.sha256, digest=one.sha256),
                *mark_evidence(one.uid, one.user, one.changed_at),
            ),
            severity=Severity.ERROR if one.standing == "altered" else Severity.WARNING,
        )

    def finish(self) -> Iterator[Finding]:
        """The folders whose libraries are no package's."""
        for folder, libraries in list(self._listed.items())[:MAX_FINDINGS]:
            names = ", ".join(posixpath.basename(one.path) for one in libraries[:MAX_NAMED])
            more = f" and {len(libraries) - MAX_NAMED} more" if len(libraries) > MAX_NAMED else ""
            yield finding_of(
                self.rule,
                folder,
                f"libraries in {folder} belong to no package: {names}{more}",
                locations=(Location(folder),),
                evidence=(Evidence("found by", observed=libraries[0].by),),
                severity=Severity.NOTE,
            )

    def coverage(self) -> Coverage:
        """Libraries outside the environment, and how many of them a package or the installation brought."""
        return self._coverage


def _why(one: LibraryResolved) -> str:
    """Why a library is more than listed; empty when it is not."""
    if one.standing == "altered":
        return f"is not as {one.owner} brought it"
    if one.standing == "installation" and one.writers == EVERYBODY:
        return "can be exchanged by everybody"
    if one.standing != "none":
        return ""
    if one.by == "DT_AUDIT":
        return f"belongs to no package and watches over the loader of {one.needed_by}"
    if one.writers:
        return f"belongs to no package and can be exchanged by {one.writers}"
    if one.by == "LD_LIBRARY_PATH" and one.before and one.own:
        return f"belongs to no package and stands before {one.before} by LD_LIBRARY_PATH"
    return ""
