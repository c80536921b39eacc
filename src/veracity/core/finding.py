"""Finding: one rule was broken, here, from this step on, and this is what shows it."""

from __future__ import annotations

from dataclasses import dataclass

from .rule import Confidence, Rule, Severity


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file: ``line`` counts from 1, 0 when only the file is known."""

    path: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact behind a finding, as people read it: what was expected, what was seen.

    ``excerpt`` holds source or diff lines. ``digest`` names the recorded bytes it was read from.
    """

    name: str
    expected: str = ""
    observed: str = ""
    excerpt: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule.

    ``first_step`` counts optimizer steps of this run from 0; None when no step is concerned.
    ``rank`` is the global rank, -1 when the finding is not about one rank.
    """

    rule: str
    law: str
    severity: Severity
    confidence: Confidence
    subject: str
    message: str
    rank: int = -1
    first_step: int | None = None
    locations: tuple[Location, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether this finding alone makes the verdict ``broken``."""
        return self.severity is Severity.ERROR and self.confidence is Confidence.HIGH


def finding_of(
    rule: Rule,
    subject: str,
    message: str,
    *,
    rank: int = -1,
    first_step: int | None = None,
    locations: tuple[Location, ...] = (),
    evidence: tuple[Evidence, ...] = (),
    severity: Severity | None = None,
    confidence: Confidence | None = None,
) -> Finding:
    """A finding of ``rule``; severity and confidence are the rule's unless given."""
    return Finding(
        rule=rule.id,
        law=rule.law,
        severity=severity or rule.severity,
        confidence=confidence or rule.confidence,
        subject=subject,
        message=message,
        rank=rank,
        first_step=first_step,
        locations=locations,
        evidence=evidence,
    )
