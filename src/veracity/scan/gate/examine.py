"""One file through the gate: every plausible reading of it, and of all that is nested in it, judged.

Which program will open a file, nobody knows: so each reader that might accept it reads it, and the worst
counts. What could not be read is a gap, and a file with a gap is never clean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from ...core.errors import EvidenceError, ResourceLimitError
from ...core.finding import Finding
from ...core.observation import ArtifactRead, Gap, LimitReached, Observation, PickleRead
from ...core.origin import Origin, monitor_origin
from ...core.picklepolicy import Key
from ...core.pickleprogram import imports_of
from ...detect.detector import Detector
from ...observe.artifact.budget import Budget
from ...observe.artifact.input import Input
from ...observe.artifact.reading import HEAD, Found, Nested, Packed, Reader
from .detectors import asked_about

LAW = "load"
MAX_FINDINGS = 1_000
"""Findings that are kept of one file; more are counted."""
MAX_GAPS = 1_000
"""Gaps that are kept of one file; more are counted."""
MAX_NAMED = 10_000
"""Globals that are kept of one file; when there are more, that is a gap."""


@dataclass(slots=True)
class Examined:
    """What the gate saw of one file.

    ``formats``: what it was read as, outermost first, with what is nested. ``inputs``: how many inputs were
    read, the file itself included. ``more`` and ``more_gaps``: those beyond the ones kept. ``named``: the
    globals that its pickles name, when somebody asked for them.
    """

    name: str
    findings: list[Finding] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    inputs: int = 0
    more: int = 0
    more_gaps: int = 0
    named: dict[Key, None] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``findings``, ``incomplete`` or ``clean``; findings outweigh what could not be read."""
        if self.findings:
            return "findings"
        return "incomplete" if self.gaps else "clean"


def examine(
    whole: Input,
    readers: Sequence[Reader],
    detectors: Sequence[type[Detector]] | None = None,
    budget: Budget | None = None,
    *,
    names: bool = False,
) -> Examined:
    """Read ``whole`` and what is nested in it, and judge it. Never raises on any bytes.

    ``detectors``: those that judge, if not all that the gate has. ``names``: keep the globals that its
    pickles name.
    """
    judges = _Judges(asked_about if detectors is None else partial(_among, detectors))
    reading = _Reading(readers, budget or Budget(), monitor_origin(time.time_ns(), source="scan"))
    result = Examined(whole.name)
    for observation in reading.of(whole):
        if isinstance(observation, Gap):
            if len(result.gaps) < MAX_GAPS:
                result.gaps.append(observation)
            else:
                result.more_gaps += 1
        elif isinstance(observation, ArtifactRead):
            result.inputs += 1
            result.formats += [one for one in observation.formats if one not in result.formats]
        elif names and isinstance(observation, PickleRead):
            _name(result, observation)
        _keep(result, judges.observe(observation))
    _keep(result, judges.finish())
    return result


def _name(result: Examined, read: PickleRead) -> None:
    for one in imports_of(read.program):
        if len(result.named) > MAX_NAMED:
            return
        result.named[(one.module, one.name)] = None
        if len(result.named) > MAX_NAMED:
            what = f"{result.name} names more globals than are looked up"
            result.gaps.append(Gap(read.origin, what, f"the bound is {MAX_NAMED:,}", law=LAW))


def _keep(result: Examined, findings: Iterator[Finding]) -> None:
    for finding in findings:
        if len(result.findings) < MAX_FINDINGS:
            result.findings.append(finding)
        else:
            result.more += 1


def _among(detectors: Sequence[type[Detector]], kind: type[Observation]) -> list[type[Detector]]:
    return [one for one in detectors if kind in one.takes]


class _Judges:
    """Detectors by the kind of observation they take; each is made when the first of its kind comes."""

    def __init__(self, asked: Callable[[type[Observation]], Sequence[type[Detector]]]) -> None:
        self._asked = asked
        self._by_kind: dict[type[Observation], list[Detector]] = {}
        self._made: dict[type[Detector], Detector] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        kind = type(observation)
        if kind not in self._by_kind:
            self._by_kind[kind] = [self._one(one) for one in self._asked(kind)]
        for detector in self._by_kind[kind]:
            yield from detector.observe(observation)

    def finish(self) -> Iterator[Finding]:
        for detector in self._made.values():
            yield from detector.finish()

    def _one(self, kind: type[Detector]) -> Detector:
        if kind not in self._made:
            self._made[kind] = kind()
        return self._made[kind]


class _Reading:
    """One input after the other: what readers nest is read after what they say."""

    def __init__(self, readers: Sequence[Reader], budget: Budget, origin: Origin) -> None:
        self._readers = readers
        self._signed = [one for one in readers if one.has_signature]
        self._budget = budget
        self._origin = origin

    def of(self, whole: Input) -> Iterator[Observation]:
        waiting: list[Nested | Packed] = [Nested(whole)]
        while waiting:
            inner = waiting.pop()
            found: list[Nested | Packed] = []
            name, depth = (
                (inner.name, inner.depth)
                if isinstance(inner, Packed)
                else (inner.input.name, inner.input.depth)
            )
            try:
                self._budget.enter(depth, name)
                if isinstance(inner, Packed):
                    yield from _sorted(inner.unpack(self._budget), found.append)
                else:
                    yield from self._one(inner, found.append)
            except ResourceLimitError as error:
                yield from self._limit(name, "", error)
            except EvidenceError as error:
                yield self._gap(name, "", error)
            waiting += reversed(found)

    def _one(self, nested: Nested, nest: Callable[[Nested | Packed], None]) -> Iterator[Observation]:
        whole = nested.input
        head = whole.read(0, HEAD)
        asked = self._signed if nested.raw else self._readers
        claiming = [one for one in asked if one.claims(head, whole)]
        ended = True
        for reader in claiming:
            try:
                yield from _sorted(reader.read(whole, self._budget), nest)
            except ResourceLimitError as error:
                ended = False
                yield from self._limit(whole.name, reader.name, error)
            except EvidenceError as error:
                ended = False
                yield self._gap(whole.name, reader.name, error)
        if ended:
            yield ArtifactRead(self._origin, whole.name, tuple(one.name for one in claiming), whole.size)

    def _limit(self, name: str, reader: str, error: ResourceLimitError) -> Iterator[Observation]:
        yield LimitReached(self._origin, name, reader, error.diagnostics().what)
        yield self._gap(name, reader, error)

    def _gap(self, name: str, reader: str, error: EvidenceError) -> Gap:
        said = error.diagnostics()
        what = f"{name} was not read to its end" + (f" as {reader}" if reader else "")
        return Gap(self._origin, what, said.what, remedy=said.remedy, law=LAW)


def _sorted(read: Iterator[Found], nest: Callable[[Nested | Packed], None]) -> Iterator[Observation]:
    """The observations among what was read; the rest waits."""
    for one in read:
        if isinstance(one, (Nested, Packed)):
            nest(one)
        else:
            yield one
