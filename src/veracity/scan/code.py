"""Python sources judged by the rules about code: single files, and what a change brings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..core.finding import Finding
from ..core.observation import Gap, Observation
from ..core.origin import monitor_origin
from ..core.persona import Persona
from ..detect.coderules import CODE_DETECTORS
from ..observe.code import Beside, read_code
from ..observe.git.changes import SourceChange, read_changes


@dataclass(frozen=True, slots=True)
class SourceExamined:
    """What was found in one source, and what of it could not be read."""

    path: str
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]


def examine_source(
    path: str,
    data: bytes,
    added_lines: Sequence[int] | None = None,
    *,
    before: bytes | None = None,
    beside: Beside | None = None,
) -> Iterator[Observation]:
    """The observations of one source: its facts, and a gap where something of it was not read.

    ``added_lines``: the lines that a change brought, from 1; None judges the file as a whole. ``before``: the
    file before the change. ``beside`` gives files by their path from this one's folder. Never raises on any
    bytes.
    """
    origin = monitor_origin(time.time_ns())
    yield from read_code(origin, path, data, added=added_lines, before=before, beside=beside)


def judge_source(observations: Iterable[Observation], persona: Persona = Persona.REGULAR) -> list[Finding]:
    """What the rules say that ``persona`` sees, errors first, in the order of lines."""
    detectors = [one() for one in CODE_DETECTORS]
    found = [
        finding
        for observation in observations
        for detector in detectors
        for finding in detector.observe(observation)
        if persona.sees(finding)
    ]
    return sorted(
        found, key=lambda one: (-one.severity.weight, one.locations[0].line if one.locations else 0)
    )


def examine_change(
    directory: str, asked: str, persona: Persona = Persona.REGULAR
) -> Iterator[SourceExamined]:
    """Each Python source that ``BASE..HEAD`` adds or changes in the repository of ``directory``, judged.

    Raises UsageError, EvidenceError and VerificationError as :func:`read_changes` does.
    """
    for change in read_changes(directory, asked):
        if not isinstance(change, SourceChange):
            gap = Gap(monitor_origin(time.time_ns()), change.path, change.reason, "read it yourself")
            yield SourceExamined(change.path, (), (gap,))
            continue
        read = list(examine_source(change.path, change.data, change.added, before=change.before))
        gaps = tuple(one for one in read if isinstance(one, Gap))
        yield SourceExamined(change.path, tuple(judge_source(read, persona)), gaps)
