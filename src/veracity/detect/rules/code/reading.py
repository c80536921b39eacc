"""What the rules about source files share: a detector's frame, a trigger's weight, and how it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity

LAW = "training-code"
MAX_PER_FILE = 50
AIMED = frozenset((asked.HOST, asked.USER, asked.DATE))
"""Nothing that is computed depends upon these."""
SELECTIVE = AIMED | {asked.RANK, asked.WORLD, asked.CHANCE}
KERNEL = frozenset(("update", "clip", "schedule", "scaler", "order", "backward", "hook", "keeping"))
"""Roles of functions that compute the same on every host, at every date and for every user."""
_WHEN = {
    asked.STEP: "at certain steps",
    asked.RANK: "on certain ranks",
    asked.MAIN: "on the first process",
    asked.WORLD: "for certain numbers of processes",
    asked.HOST: "on certain hosts",
    asked.DATE: "at certain dates or times",
    asked.USER: "for certain users",
    asked.ENVIRONMENT: "when an environment variable says so",
    asked.CHANCE: "at random",
    asked.FILE: "when a file is there",
    asked.INPUT: "for certain inputs",
}


class SourceDetector(ABC):
    """The frame of a rule about source files: each file by itself, no state but what was counted."""

    rule: ClassVar[Rule]
    takes: ClassVar[tuple[type[Observation], ...]] = (SourceRead,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "files")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one file: what it, or the change, brought; at most ``MAX_PER_FILE`` findings."""
        if not isinstance(observation, SourceRead):
            return
        self._coverage.count(checked=True)
        told: dict[object, Finding] = {}
        for finding in self.judge(observation):
            # Of one line the surest is told; what has no line is told apart by what it says.
            line = finding.locations[0].line or finding.message
            before = told.get(line)
            if before is None and len(told) >= MAX_PER_FILE:
                self._coverage.skip("a file has more findings of one rule than are listed")
                break
            if before is None or _SURER[finding.confidence] > _SURER[before.confidence]:
                told[line] = finding
        yield from told.values()

    @abstractmethod
    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """What the rule says about one file."""

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Files that were read."""
        return self._coverage

    def tell(
        self,
        read: SourceRead,
        fact: SourceFact,
        message: str,
        confidence: Confidence,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding at a fact. A test of a package is not trained with: there it is for auditors.

        An installed package that is no library of training does for its own ends much that would be strange
        in one: import hooks, locks, caches of code. There a rule is less sure.
        """
        if read.test and confidence is not Confidence.LOW and fact.act != "text":
            confidence = Confidence.LOW
        elif serves_others(read) and fact.act != "text":
            confidence = _LESS[confidence]
        evidence = [Evidence("source", excerpt=(f"{fact.line}: {fact.excerpt}",))]
        evidence += [
            Evidence(
                "condition",
                observed=", ".join(sorted(guard.triggers)),
                excerpt=(f"{guard.line}: {guard.text}",),
            )
            for guard in fact.guards[:4]
            if guard.triggers
        ]
        evidence.append(Evidence("SHA-256", observed=read.sha256))
        return finding_of(
            self.rule,
            read.path,
            message,
            locations=(Location(read.path, fact.line),),
            evidence=tuple(evidence),
            severity=severity,
            confidence=confidence,
        )


def facts(read: SourceRead, *acts: str) -> Iterable[SourceFact]:
    """Facts of some kinds that are to be judged: in a change, those that it brought."""
    return (fact for fact in read.facts if fact.act in acts and fact.added)


def selective(fact: SourceFact, without: Iterable[str] = ()) -> bool:
    """Whether a fact is there for some hosts, users, dates, ranks or sizes only, or at random."""
    return bool(fact.triggers & SELECTIVE - frozenset(without))


def periodic(fact: SourceFact) -> bool:
    """Whether a fact is there at single steps only, and nothing more selective is asked."""
    return asked.STEP in fact.triggers and fact.exact


def fixed(fact: SourceFact) -> bool:
    """Whether a step, a rank or a number of processes is compared with a number that stands in the text."""
    return fact.fixed and bool(fact.triggers & {asked.STEP, asked.RANK, asked.WORLD})


def always(fact: SourceFact) -> bool:
    """Whether nothing is asked that has to do with when or where it is run."""
    return not fact.triggers - {asked.MAIN, asked.FILE}


def when(fact: SourceFact) -> str:
    """When it acts, as the beginning of a sentence goes on: ``, at certain steps and on certain ranks``."""
    parts = [_WHEN[name] for name in asked.TRIGGERS if name in fact.triggers and name != asked.MAIN]
    if not parts:
        return ""
    return f", {' and '.join(parts) if len(parts) < 3 else ', '.join(parts[:-1]) + ' and ' + parts[-1]},"


_SURER = {Confidence.LOW: 0, Confidence.MEDIUM: 1, Confidence.HIGH: 2}
_LESS = {
    Confidence.HIGH: Confidence.MEDIUM,
    Confidence.MEDIUM: Confidence.LOW,
    Confidence.LOW: Confidence.LOW,
}
_INSTALLED = (".whl!", "site-packages/", "dist-packages/")


def serves_others(read: SourceRead) -> bool:
    """Whether a file is of an installed package that nobody trains with, read as a whole."""
    return not read.library and read.change == "whole" and any(one in read.path for one in _INSTALLED)


def of_notebook(read: SourceRead) -> bool:
    """Whether a source is the cells of a notebook, as their reader joins them."""
    return read.path.endswith("!cells.py")


def in_change(read: SourceRead, confidence: Confidence = Confidence.MEDIUM) -> Confidence:
    """Of what is lawful at times: a whole tree holds much of it, a change brings little, and that is
    shown."""
    return confidence if read.change != "whole" else Confidence.LOW
