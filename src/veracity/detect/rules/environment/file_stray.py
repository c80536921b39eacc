"""A file that Python can load came with no archive.

## The law

Wheel truth: what is installed is what the index or a lock file names by the digest of its archive.

## What breaks it

A `.pth`, `sitecustomize` or `usercustomize` put into the folder of packages: it runs in every Python of the
environment. A file put into a package's `dist-info`, or an `egg-info` of its own, whose entry points are
loaded. A module put there, which shadows another or is imported by an edited one, or a link to a folder of
them. A native library. A `.pyc` without a source, which Python imports like a module. A line for it in some
package's RECORD makes it look installed. A module in the folder of commands, from which `torchrun` imports
first. A `._pth` or a second `pyvenv.cfg` beside the interpreter, an archive `python311.zip` beside the
standard library: each replaces where Python looks.

## How it is checked

Every file below the folder of packages that Python can load must be in an archive, or in the RECORD of a
distribution that has none (an editable install). Code that runs at start-up must be in an archive. A file
that a package's RECORD names and its archive does not have is an error of high confidence: RECORD was
edited. Code that runs at start-up and metadata are an error, other files are a warning. Files that Python
has no use for are not listed.

## What fools it

A distribution with a made-up `dist-info` explains its files, and is a finding of its own (`environment-not-
locked`). Whatever says of itself that it is an editable install, when wheels alone and no lock were given:
its `.pth` runs, and the seal counts it among those sealed by content. The name of a project that the lock
has as editable, a folder or from version control: a `dist-info` of that name explains its files. Folders
outside the environment that a `.pth` or PYTHONPATH brings in. Modules in the folder of commands of an
environment that is no virtual one. A file that is a link and whose target is edited after the seal.

## What to do

Look at the file, who owns it and since when. What you put there yourself belongs into a distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, StrayFile
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .marks import mark_evidence

MAX_FINDINGS = 500
SEVERE = ("startup", "metadata")
_IS = {
    "startup": "runs at the start of every Python of the environment",
    "metadata": "is read as a package's own, entry points among it",
    "library": "is a native library",
    "module": "can be imported",
    "bytecode": "is bytecode that Python imports without a source",
}


class FileStray:
    """One finding for each file."""

    rule: ClassVar[Rule] = Rule(
        "environment-file-stray",
        "wheel-truth",
        "A file that Python can load came with no archive",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (StrayFile,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files")
        self._found = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one file."""
        if not isinstance(observation, StrayFile):
            return
        one = observation
        self._found += 1
        if self._found > MAX_FINDINGS:
            self._coverage.skip("more files came with no archive than are listed")
            return
        told = f"; the RECORD of {one.recorded_by} names it" if one.recorded_by else ""
        severity = Severity.ERROR if one.recorded_by or one.kind in SEVERE else Severity.WARNING
        yield finding_of(
            self.rule,
            one.path,
            f"{one.path} came with no archive and {_IS.get(one.kind, one.kind)}{told}",
            locations=(Location(one.path),),
            evidence=(
                Evidence(
                    "content",
                    observed=f"{quantity(one.size, 'byte')}, SHA-256 {one.sha256 or 'not read'}",
                    digest=one.sha256,
                ),
                *mark_evidence(one.uid, one.user, one.changed_at),
            ),
            severity=severity,
            confidence=Confidence.HIGH if one.recorded_by or one.kind not in SEVERE else Confidence.MEDIUM,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files are counted by ``environment-file-altered``, once for the law."""
        return self._coverage
