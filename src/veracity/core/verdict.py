"""The verdict on a run: ``held``, ``broken`` or ``incomplete``, and nothing in between."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .coverage import Coverage
from .finding import Finding


class Outcome(str, enum.Enum):
    """``held`` → exit 0, ``broken`` → 1, ``incomplete`` → 2."""

    HELD = "held"
    BROKEN = "broken"
    INCOMPLETE = "incomplete"

    @property
    def exit_code(self) -> int:
        """The frozen exit code of this outcome."""
        return {"held": 0, "broken": 1, "incomplete": 2}[self.value]


REQUIRED_LAWS = ("update", "weight-continuity", "code-identity")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with the sentences that led to it, worst first."""

    outcome: Outcome
    reasons: tuple[str, ...]


def judge(
    findings: Iterable[Finding],
    coverage: Mapping[str, Coverage],
    *,
    ranks_expected: int,
    ranks_heard: int,
    stopped: Iterable[str] = (),
    required: Iterable[str] = REQUIRED_LAWS,
) -> Verdict:
    """Decide.

    *broken*: a finding of severity error and confidence high. *incomplete*: none such, but a rank was
    never heard, a law that could check stopped being able to, or a required law checked nothing.
    Warnings and notes never break a run.
    """
    broken = [f"{finding.rule}: {finding.message}" for finding in findings if finding.breaks]
    if broken:
        return Verdict(Outcome.BROKEN, tuple(broken))
    reasons = list(stopped)
    if ranks_heard == 0:
        reasons.append("no process of the job was heard")
    elif ranks_heard < ranks_expected:
        reasons.append(f"{ranks_expected - ranks_heard} of {ranks_expected} ranks were never heard")
    reasons += [f"{law}: {part.stopped}" for law, part in sorted(coverage.items()) if part.stopped]
    for law in required:
        part = coverage.get(law)
        if part is None or part.checked == 0:
            why = next(iter(part.reasons), "") if part is not None else ""
            reasons.append(f"required law {law} checked nothing" + (f": {why}" if why else ""))
    if reasons:
        return Verdict(Outcome.INCOMPLETE, tuple(reasons))
    return Verdict(Outcome.HELD, ("every required law checked and none was broken",))
