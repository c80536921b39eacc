"""What the gate sees of some bytes: everything nested that is read, and all that readers say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.observation import ArchiveOdd, ArchiveRead, LimitReached, Observation, Oddity
from veracity.core.rule import Confidence, Rule, Severity
from veracity.detect.filerules import FILE_DETECTORS
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.artifact.reading import Found
from veracity.scan.gate.examine import Examined, examine
from veracity.scan.gate.readers import READERS


@dataclass
class Looked:
    """``contents``: of each nested input that is no plain numbers, by its name without the file's."""

    result: Examined
    contents: dict[str, list[bytes]] = field(default_factory=dict)
    said: list[Observation] = field(default_factory=list)

    @property
    def oddities(self) -> set[Oddity]:
        return {one.oddity for one in self.said if isinstance(one, ArchiveOdd)}

    @property
    def archive(self) -> ArchiveRead:
        """What the outermost archive consists of."""
        return next(one for one in self.said if isinstance(one, ArchiveRead))

    @property
    def all(self) -> set[bytes]:
        return {data for some in self.contents.values() for data in some if data}

    @property
    def limits(self) -> list[LimitReached]:
        return [one for one in self.said if isinstance(one, LimitReached)]

    @property
    def rules(self) -> set[tuple[str, str]]:
        return {(one.rule, one.severity.value) for one in self.result.findings}


def look(data: bytes, budget: Budget | None = None) -> Looked:
    """Put ``data`` through all readers and all rules on files."""
    return look_at(Input.of_bytes("f", data), budget)


def look_at(whole: Input, budget: Budget | None = None) -> Looked:
    """The same for any input."""
    contents: dict[str, list[bytes]] = {}
    said: list[Observation] = []

    class Anything:
        """Reads whatever is not plain numbers."""

        name: ClassVar[str] = "anything"
        has_signature: ClassVar[bool] = False

        def claims(self, head: bytes, whole: Input) -> bool:
            return True

        def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
            if whole.depth and whole.size <= 1 << 20:
                name = whole.name.partition("!")[2]
                contents.setdefault(name, []).append(whole.read(0, whole.size))
            yield from ()

    class Listener:
        rule: ClassVar[Rule] = Rule("checkpoint-listener", "load", "none", Severity.NOTE, Confidence.LOW)
        takes: ClassVar[tuple[type[Observation], ...]] = (ArchiveRead, ArchiveOdd, LimitReached)

        def observe(self, observation: Observation) -> Iterator[Finding]:
            said.append(observation)
            return iter(())

        def finish(self) -> Iterator[Finding]:
            return iter(())

        def coverage(self) -> Coverage:
            return Coverage("load", "files")

    result = examine(whole, (*READERS, Anything()), (Listener, *FILE_DETECTORS), budget)
    return Looked(result, contents, said)
