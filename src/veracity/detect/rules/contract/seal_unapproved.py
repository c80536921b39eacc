"""The run was started on a seal that is not approved.

## The law

Approval: what a run executes and consumes is what was sealed and approved.

## What breaks it

Too few approvals by those whom the policy names; approvals that have expired, were revoked, were given under
another policy or by the one who made the seal; a seal or a log of approvals whose signature does not hold; a
clock that was set back to before the newest approval.

## How it is checked

`run --seal` reads the log of approvals, checks its signed head and each signature in it, and counts for each
part of the seal the different principals that the policy lets approve it. A run that was started all the
same, under `--policy observe` or by `--unsafe-override`, has this finding in its record, with the reason that
was given. An override that was not needed is a note.

## What fools it

Whoever has the home's key can write another log, without a revocation say; the head of the log stands in each
run's record, so that a later log which does not continue it is found by comparing. Keys that were copied
approve in their owner's name until they are revoked. A clock that is set back to after the newest entry.

## What to do

`veracity approve --list SEAL` says what is missing. If somebody overrode the policy, ask who and why: the
record has the user id and the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, SealChecked
from ....core.rule import Confidence, Rule, Severity

UNDECIDED = ("no policy", "unknown")


class SealUnapproved:
    """One finding for the seal that a run was started on."""

    rule: ClassVar[Rule] = Rule(
        "contract-seal-unapproved",
        "approval",
        "The run was started on a seal that is not approved",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (SealChecked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "seals")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge how the seal stood before the start."""
        if not isinstance(observation, SealChecked):
            return
        decided = observation.standing not in UNDECIDED
        why = "; ".join(observation.reasons) or observation.standing
        self._coverage.count(checked=decided, reason="" if decided else why[:400])
        if observation.standing == "unknown":
            self._coverage.stopped = f"whether the seal is approved could not be read: {why}"[:400]
        overridden = (
            f"; started by --unsafe-override of user id {observation.override_by}: {observation.override}"
            if observation.override
            else ""
        )
        if decided and not observation.approved:
            yield finding_of(
                self.rule,
                observation.seal,
                f"{observation.seal} is {observation.standing}: {why}{overridden}"[:2000],
                evidence=(Evidence("policy", observed=observation.policy_file, digest=observation.policy),),
            )
        elif overridden:
            yield finding_of(
                self.rule,
                observation.seal,
                f"{observation.seal} is {observation.standing}{overridden}"[:2000],
                severity=Severity.NOTE if observation.as_sealed and observation.approved else Severity.ERROR,
            )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Seals whose approvals were counted."""
        return self._coverage
