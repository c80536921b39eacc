"""A file of the installed environment, or code that was imported, was opened for writing during the run.

## The law

Channels: no write into sealed paths by the job. What a run executes is fixed when it starts.

## What breaks it

Code that edits an installed library while training runs, for the next import, worker or job; a start-up file
(`.pth`, `sitecustomize.py`) put into the environment by a training script or something it loads.

## How it is checked

The interpreter announces each file that is opened for writing, renamed or removed; the guard reports those
that lie among the installed distributions or are code that was imported, the monitor looks them up in RECORD.
It also reads from outside which files a process holds open for writing. Recorded code or a start-up file is
an error, other recorded files and new code among the distributions are a warning. `__pycache__`, data and
weights that libraries keep beside their code, and an installer that runs as a program of its own are left
alone.

## What fools it

Writing by native code or by a child that the guard is not in, unless the file is open when the monitor looks;
what is written shows when it is imported (`code-source-altered`). A process that unloads or deceives the
guard.

## What to do

The stack names who did it. Compare the file with its distribution (`pip install --force-reinstall`), and look
at every job that used the environment since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import FileWritten, Observation
from ....core.rule import Confidence, Rule, Severity
from .callers import is_installed, stack

MAX_FINDINGS = 50
_CODE = (".py", ".so", ".pyd", ".pyc", ".pth")
_AT_START = ("sitecustomize.py", "usercustomize.py")
_SITES = ("site-packages", "dist-packages")
# Where programs write code that they import afterwards, each rank again.
_THROWN_AWAY = ("/.", "/cache/", "/tmp/", "transformers_modules")  # noqa: S108 - nothing is written there


class SealedWrite:
    """One finding per file."""

    rule: ClassVar[Rule] = Rule(
        "channel-sealed-write",
        "channels",
        "Installed or imported code was opened for writing during the run",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (FileWritten,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "looks")
        self._told: set[str] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one file."""
        if not isinstance(observation, FileWritten) or observation.path in self._told:
            return
        severity = _severity(observation)
        if severity is None:
            return
        if len(self._told) >= MAX_FINDINGS:
            self._coverage.skip(f"more than {MAX_FINDINGS} files were written to: the rest is not listed")
            return
        self._told.add(observation.path)
        whose = {
            "recorded": f"belongs to the installed {observation.owner}",
            "unrecorded": "lies among the installed distributions",
            "imported": "is code that this run imported",
        }.get(observation.what, "is sealed")
        yield finding_of(
            self.rule,
            observation.path,
            f"{observation.path} was opened for writing, renamed or removed by the job; it {whose}",
            rank=observation.origin.rank,
            first_step=observation.step if observation.step >= 0 else None,
            locations=(Location(observation.path), *_caller(observation)),
            evidence=(
                Evidence("file", expected="left alone while the run goes on", observed=observation.seen),
                stack(observation.frames),
            ),
            severity=severity,
            confidence=Confidence.HIGH if severity is Severity.ERROR else Confidence.MEDIUM,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Looks are counted by ``channel-unexpected``, once for the law."""
        return self._coverage


def _severity(written: FileWritten) -> Severity | None:
    path = written.path
    folder, _, name = path.rpartition("/")
    if any("/pip/_internal/" in frame.path for frame in written.frames):
        return Severity.WARNING
    if written.what == "recorded":
        return Severity.ERROR if name.endswith(_CODE) and not _is_weights(path) else Severity.WARNING
    if written.what == "imported" and not is_installed(path):
        return Severity.NOTE if any(part in path for part in _THROWN_AWAY) else Severity.WARNING
    starts = name in _AT_START or (name.endswith(".pth") and folder.rpartition("/")[2] in _SITES)
    if starts:
        return Severity.ERROR
    return Severity.WARNING if name.endswith(_CODE) and not _is_weights(path) else None


def _is_weights(path: str) -> bool:
    """``.pth`` is a start-up file at the top of an environment only; elsewhere it holds weights."""
    return path.endswith(".pth") and path.rpartition("/")[0].rpartition("/")[2] not in _SITES


def _caller(written: FileWritten) -> tuple[Location, ...]:
    return tuple(Location(frame.path, frame.line) for frame in written.frames[:1])
