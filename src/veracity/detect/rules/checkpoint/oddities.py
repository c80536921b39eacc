"""What the rules on odd archives have in common: one finding for each kind of oddity in an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import ArchiveOdd, Observation, Oddity
from ....core.rule import Rule, Severity

MAX_FINDINGS = 500


class OddityJudge:
    """Makes findings of the kinds that a rule is about; each kind of an archive once."""

    def __init__(
        self, rule: Rule, weights: Mapping[Oddity, Severity], torch: Mapping[Oddity, Severity] | None = None
    ) -> None:
        """``torch``: what weighs otherwise in archives that torch reads."""
        self.coverage = Coverage(rule.law, "archives")
        self._rule = rule
        self._weights = dict(weights)
        self._torch = {**weights, **(torch or {})}
        self._reported: set[tuple[str, Oddity]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one kind of oddity of one archive."""
        if not isinstance(observation, ArchiveOdd):
            return
        seen = observation
        severity = (self._torch if seen.layout.startswith("torch") else self._weights).get(seen.oddity)
        key = (seen.name, seen.oddity)
        if severity is None or key in self._reported:
            return
        if len(self._reported) >= MAX_FINDINGS:
            self.coverage.skip(f"more than {MAX_FINDINGS} kinds of oddities: the rest is not listed")
            return
        self._reported.add(key)
        yield finding_of(
            self._rule,
            seen.name,
            f"{seen.name}: {_sentence(seen)}",
            locations=(Location(seen.name.partition("!")[0]),),
            evidence=tuple(
                Evidence(one.member or "the archive", one.first, one.second) for one in seen.examples
            ),
            severity=severity,
        )


def _sentence(seen: ArchiveOdd) -> str:
    names = ", ".join(one.member for one in seen.examples[:3] if one.member)
    if not names:
        return seen.oddity.value
    more = f" and {seen.count - 3:,} more" if seen.count > 3 else ""
    return f"{seen.oddity.value} ({names}{more})"
