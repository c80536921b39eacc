"""A native library was mapped that is not as the seal has it which the run was started on.

## The law

Sealed libraries: the native code that a run maps of its sealed parts is what was sealed.

## What breaks it

A `.so` of a package that is exchanged after the look before the start, and put back when it is mapped. A
library put into a sealed folder, or brought in from elsewhere by a variable, a search folder or `dlopen`.

## How it is checked

Some seconds apart, the monitor reads the memory maps of the job's guarded processes, and digests each file of
which code is mapped, or that is called like a library. Its digest is compared with the one that the seal has
at its path. Where another file lies at the path than the one that is mapped (by its inode), the mapped code
is compared with the file's, byte by byte. Another content than was sealed is an error of high confidence, and
so is a library in a sealed folder that was not there; when that was written after the run began, as a program
does that compiles for itself, it is a warning. When the seal has the environment (`--python`), a library in
no part of it that no package brought is a warning where it is of the job's own account or others may exchange
it, a note where it is of another account, and counted where only root may exchange it, as drivers are, or
where it was written after the run began. Files that are gone, such as those of closures and of compilers, are
counted, too.

## What fools it

A library that is mapped and let go between two looks. One that is overwritten in place and put back so: what
it did before is not seen. Code that is written into memory without a file. Processes without the guard. A
plug-in that a package brought and the seal does not have, such as a driver's: it is counted.

## What to do

Compare what lies at the path with the sealed file, and ask who can write to the folder. Seal again when the
library was installed on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import LibraryMapped, Observation
from ....core.rule import Confidence, Rule, Severity
from .unlike_seal import WITHOUT

MAX_FINDINGS = 100
_UNKNOWN = {
    "missing": "a library whose file is gone",
    "unknown": "not read for the seal, or not now",
    "outside": "in no part of the seal",
}


class LibraryUnlikeSeal:
    """One finding for each library; counts those of runs that are started on a seal."""

    rule: ClassVar[Rule] = Rule(
        "code-library-unlike-seal",
        "sealed-libraries",
        "A native library was mapped that is not as it was sealed",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (LibraryMapped,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "libraries")
        self._reported: set[tuple[str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge and count a mapped library."""
        if not isinstance(observation, LibraryMapped):
            return
        one = observation
        told = _told(one)
        reason = _not_checked(one)
        self._coverage.count(checked=not reason, reason=reason)
        key = (one.path, one.sha256)
        if told is None or key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self._coverage.skip(
                f"more than {MAX_FINDINGS} libraries are not as sealed: the rest is not listed"
            )
            return
        self._reported.add(key)
        message, severity, confidence = told
        yield finding_of(
            self.rule,
            one.path,
            f"{one.path}, of which code is mapped, {message}",
            rank=one.origin.rank,
            locations=(Location(one.path),),
            evidence=(Evidence("SHA-256 of the file now", observed=one.sha256, digest=one.sha256),),
            severity=severity,
            confidence=confidence,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Native libraries of the job, and how many of them lie in a part of the seal."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip(WITHOUT)
        return self._coverage


def _not_checked(one: LibraryMapped) -> str:
    """Why it is not known whether what is mapped was sealed; empty when it is."""
    if one.sealed in _UNKNOWN:
        return _UNKNOWN[one.sealed]
    if one.memory == "unread" or (one.memory == "differs" and one.sealed != "same"):
        return "its file was exchanged since it was mapped"
    return ""


def _told(one: LibraryMapped) -> tuple[str, Severity, Confidence] | None:
    """What is wrong with a library, and how much; None when nothing is known to be."""
    is_now = one.memory in ("", "same")
    if one.sealed == "same" and one.memory == "differs":
        return "is as sealed, and what is mapped is another file's code", Severity.ERROR, Confidence.HIGH
    if one.sealed == "differs" and is_now:
        return "is not the file that was sealed there", Severity.ERROR, Confidence.HIGH
    if one.sealed == "added" and is_now:
        text = "was not there when its folder was sealed"
        if one.made:
            return f"{text}; it was written after the run began", Severity.WARNING, Confidence.MEDIUM
        return text, Severity.ERROR, Confidence.HIGH
    if one.sealed == "outside" and one.standing in ("none", "altered") and not one.made:
        by = f" and can be exchanged by {one.writers}" if one.writers else ""
        whose = f"is not as {one.owner} brought it" if one.owner else "belongs to no package"
        text = f"lies in no part of the seal, {whose}{by}"
        if one.writers or one.owner or one.whose == "job":
            return text, Severity.WARNING, Confidence.MEDIUM
        if one.whose == "other":
            return f"{text}; it is of another account than the job", Severity.NOTE, Confidence.MEDIUM
    return None
