"""What the run was started on is not as it was sealed.

## The law

Approval: what a run executes and consumes is what was sealed and approved.

## What breaks it

A file of a sealed part that was changed, added, removed, linked elsewhere or made executable after the seal
was made; a program of the command that no part of the seal contains
which the policy takes for code; in a git working tree, an edit that git is made not to show, a hook or a
setting that starts a program, another commit with other files.

## How it is checked

`run --seal` reads every part again before the command starts and compares it with the seal, name by name.
Owner and time of the last change are the file system's word (ctime, which a file's owner cannot set). A run
that was started all the same, under `--policy observe` or by an override, has this finding in its record.

## What fools it

At a weaker level than *full* (`--level`, or `level` in the policy), which the coverage names, a file that was
changed without its looking other: past the file system, by who can set the clock, by the kernel's own word.
What is changed after the look and put back before the next one; what the command runs that is neither sealed
nor named in it (modules found elsewhere, `python -m`): the law of code identity looks at these. Root can set
the clock that ctimes come from.

## What to do

Ask the owner what the change is for. If it is wanted, seal again and have the new seal approved; if not, put
back what was sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import Observation, SealChecked
from ....core.rule import Confidence, Rule, Severity

MAX_SHOWN = 20


class SealDrifted:
    """One finding for the seal that a run was started on."""

    rule: ClassVar[Rule] = Rule(
        "contract-seal-drifted",
        "approval",
        "What the run was started on is not as it was sealed",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (SealChecked,)

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "seals")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge how the parts were before the start."""
        if not isinstance(observation, SealChecked):
            return
        checked = bool(observation.digest) and not observation.unread
        weaker = f"the seal was compared at the level {observation.level}, not by reading every byte"
        self._coverage.count(checked=checked, reason="" if observation.level == "full" else weaker)
        if observation.unread:
            self._coverage.stopped = f"not all that was sealed could be read: {observation.unread[0]}"[:400]
        if not observation.drift and not observation.outside:
            return
        first = (
            observation.drift[0].sentence
            if observation.drift
            else f"no part of its code: {observation.outside[0]}"
        )
        count = len(observation.drift) + observation.more + len(observation.outside)
        others = f", and {count - 1:,} more" if count > 1 else ""
        changes = tuple(
            Evidence(one.sentence.partition(":")[0], "as sealed", one.sentence)
            for one in observation.drift[:MAX_SHOWN]
        )
        yield finding_of(
            self.rule,
            observation.seal,
            f"{observation.seal} is not what the run was started on: {first}{others}",
            locations=tuple(Location(path) for path in observation.outside[:MAX_SHOWN]),
            evidence=(
                *changes,
                *(Evidence("program", "in the seal", path) for path in observation.outside[:MAX_SHOWN]),
                *_override(observation),
            ),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        return iter(())

    def coverage(self) -> Coverage:
        """Seals that were compared."""
        if not self._coverage.possible and not self._coverage.reasons:
            self._coverage.skip("the run was started without --seal")
        return self._coverage


def _override(checked: SealChecked) -> Iterator[Evidence]:
    if checked.override:
        yield Evidence("override", observed=f"by user id {checked.override_by}: {checked.override}")
