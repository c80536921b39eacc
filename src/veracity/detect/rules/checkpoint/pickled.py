"""What the rules about pickles share: one judgement of a program, of which each rule tells one kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import GlobalsPermitted, Observation, PickleRead
from ....core.picklepolicy import PicklePolicy
from ....core.rule import Rule
from ...pickles import Judged, judge

MAX_FINDINGS = 1_000


class OfPickles:
    """A detector of one kind of what :func:`~veracity.detect.pickles.judge` finds.

    It takes the policy first; a pickle that comes before one is judged as if nothing was permitted.
    """

    rule: ClassVar[Rule]
    kind: ClassVar[str]
    takes: ClassVar[tuple[type[Observation], ...]] = (GlobalsPermitted, PickleRead)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "pickles")
        self._policy: PicklePolicy | None = None
        self._told = 0

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one pickle."""
        if isinstance(observation, GlobalsPermitted):
            self._policy = observation.policy
        elif isinstance(observation, PickleRead):
            for judged in judge(observation.program, self._policy):
                if judged.kind != self.kind:
                    continue
                self._told += 1
                if self._told > MAX_FINDINGS:
                    self._coverage.skip(f"more than {MAX_FINDINGS} findings: the rest is not listed")
                    return
                yield self._finding(observation, judged)

    def _finding(self, read: PickleRead, judged: Judged) -> Finding:
        where = f"{read.path}!/{read.member}" if read.member else read.path
        evidence = [Evidence("offset", observed=f"{judged.at}")]
        if judged.observed:
            evidence.append(Evidence("value", observed=judged.observed))
        return finding_of(
            self.rule,
            where,
            f"{where} {judged.message}",
            locations=(Location(read.path),),
            evidence=tuple(evidence),
            severity=judged.severity,
            confidence=judged.confidence,
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Pickles are counted by ``checkpoint-pickle-malformed``, once for the law."""
        return self._coverage
