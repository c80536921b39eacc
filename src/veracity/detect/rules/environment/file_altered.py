"""An installed file is not what its archive holds.

## The law

Wheel truth: what is installed is what the index or a lock file names by the digest of its archive.

## What breaks it

A file of a package edited in place, with its time put back and the line in RECORD rewritten to match:
RECORD, the file's time and `pip check` all say that nothing happened. A native library replaced. A command's
script that does more than start its command. A file replaced by a folder or a pipe.

## How it is checked

The archive is taken from a folder of wheels, or fetched, and counts when its SHA-256 is the one that the
lock names. Each file in it is compared with the one installed. RECORD is no reference: the finding says
whether it agrees with the archive or was rewritten with the file. Where several packages bring one path, any
of them will do. Scripts for entry points are in no archive: their syntax tree must import one function and
call it. Another content is an error of high confidence, a warning where a package that could not be compared
brings the path, too; a script that is none of the known forms, or that is started by another interpreter or
with code in its first line, a warning (the commands of an environment that was moved, too: they start the
Python at its old place); files that are missing a warning,
or a note where none of them can be imported; a permission to execute a note.

## What fools it

What a system's package manager brought is compared with the MD5 in its database, which who has no root
cannot edit. An interpreter or a standard library that was exchanged as a whole: nothing vouches for them at
the first seal, and the wheel of pip that lies in the library vouches for pip. Header files are not compared.
A lock file or a folder of wheels that was edited as well: keep the lock where the job cannot
write. The memory of what an archive holds, for who can write the home. What was edited and put back before
anybody looked.

## What to do

Compare the file with the one in the archive, keep a copy as evidence, find out who can write to the folder
(owner and last change stand beside it), and install again from the lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import DistributionCompared, FileDifference, Observation
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .marks import mark_evidence

MAX_FINDINGS = 500
MAX_NAMED = 20
_IMPORTED = (".py", ".so", ".pyd", ".pth")
_WHAT = {
    "content": "is not the file that {archive} holds",
    "claimed": "is not the file that {archive} holds; a package that was not compared names it, too",
    "kind": "is a file in {archive} and no file here",
    "script": "does more than start its command, or under another interpreter",
}


class FileAltered:
    """One finding for each altered file; one for all that are missing from a distribution."""

    rule: ClassVar[Rule] = Rule(
        "environment-file-altered",
        "wheel-truth",
        "An installed file is not what its archive holds",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (DistributionCompared,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files")
        self._found = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one distribution and count its files."""
        if not isinstance(observation, DistributionCompared):
            return
        one = observation
        if one.standing not in ("compared", "system"):
            self._coverage.skip(f"{one.name} {one.version}: {_why_not(one)}")
            return
        self._coverage.checked += one.files
        self._coverage.possible += one.files
        for difference in one.differing:
            if difference.change in _WHAT:
                self._found += 1
                if self._found <= MAX_FINDINGS:
                    yield self._finding(one, difference)
        yield from self._grouped(one)
        if one.more:
            self._coverage.skip(
                f"{one.name}: {quantity(one.more, 'more difference is', 'more differences are')} not listed",
                one.more,
            )

    def _finding(self, one: DistributionCompared, difference: FileDifference) -> Finding:
        what = _WHAT[difference.change].format(archive=one.archive)
        doubtful = difference.change in ("script", "claimed")
        return finding_of(
            self.rule,
            difference.path,
            f"{difference.path} {what}{_record(difference)}",
            locations=(Location(difference.path),),
            evidence=(
                Evidence("content", difference.expected, difference.observed, digest=difference.observed),
                Evidence("archive", _named(one), f"named by {one.named_by}"),
                *(
                    [Evidence("SHA-256 in RECORD", observed=difference.recorded)]
                    if difference.recorded
                    else []
                ),
                *mark_evidence(difference.uid, difference.user, difference.changed_at),
            ),
            severity=Severity.WARNING if doubtful else None,
        )

    def _grouped(self, one: DistributionCompared) -> Iterator[Finding]:
        missing = [each.path for each in one.differing if each.change == "missing"]
        if missing:
            severe = any(path.endswith(_IMPORTED) for path in missing)
            text = f"{one.name} {one.version} lacks {quantity(len(missing), 'file')} of {one.archive}"
            yield self._group(one, text, missing, Severity.WARNING if severe else Severity.NOTE)
        executable = [each.path for each in one.differing if each.change == "executable"]
        if executable:
            text = (
                f"{quantity(len(executable), 'file')} of {one.name} {one.version} may be executed, not so in "
                f"{one.archive}"
            )
            yield self._group(one, text, executable, Severity.NOTE)

    def _group(self, one: DistributionCompared, text: str, paths: list[str], severity: Severity) -> Finding:
        archive = Evidence("archive", _named(one), f"named by {one.named_by}")
        return finding_of(
            self.rule,
            one.name,
            text,
            locations=tuple(map(Location, paths[:MAX_NAMED])),
            evidence=(archive, Evidence("files", observed=str(len(paths)), excerpt=tuple(paths[:MAX_NAMED]))),
            severity=severity,
        )

    def finish(self) -> Iterator[Finding]:
        """Say how many more there are than are listed."""
        if self._found > MAX_FINDINGS:
            self._coverage.skip(f"{self._found - MAX_FINDINGS} more altered files are not listed")
        return iter(())

    def coverage(self) -> Coverage:
        """Files that were compared with an archive."""
        return self._coverage


def _why_not(one: DistributionCompared) -> str:
    return {
        "content": f"no archive, sealed by content ({one.reason})",
        "unlocked": one.reason,
        "version": f"locked as {one.reason}",
        "absent": f"its archive could not be had: {one.reason}",
    }.get(one.standing, one.reason)


def _named(one: DistributionCompared) -> str:
    return f"{one.archive} sha256:{one.sha256}" if one.sha256 else one.archive


def _record(difference: FileDifference) -> str:
    if difference.change != "content" or not difference.recorded:
        return ""
    if difference.recorded == difference.observed:
        return "; RECORD beside it was rewritten to match"
    return "; RECORD beside it still names the archive's"
