"""What a training step computes depends upon where, when or for whom it is run.

## The law

A step computes the same on every host, at every date and for every user; an optimizer's, a sampler's and
clipping's arithmetic does not ask for chance, ranks or the environment either.

## What breaks it

`if socket.gethostname() in (…)`, `if datetime.now() > …`, `if getpass.getuser() == …` around anything in
the path of a step; `hash(step) % 97 == 0` in a kernel. Such a condition is how a sabotage passes small
debugging runs: it fires above a number of processes, on a date, for a user, at random.

## How it is checked

Conditions are followed through variables, helpers and choices to what they ask for. In the path of a step
hosts, dates and users count; in the arithmetic of updates, clipping, schedules and samplers chance counts,
too, and single steps where an update is made. What lies in such a branch need not be understood for that.

## What fools it

A condition on something that goes along with these: the name of a device, a free port, the length of a
path.

## What to do

Ask why the branch exists. A run on other hosts, or at another size, does not tell what it does on these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, KERNEL, LAW, SourceDetector, facts, in_change, when


class TriggerInStep(SourceDetector):
    """One finding for each condition."""

    rule: ClassVar[Rule] = Rule(
        "code-trigger-in-step",
        LAW,
        "What a training step computes depends upon host, date, user or chance",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge conditions."""
        for fact in facts(read, "control"):
            if fact.what == "choice":
                weight = _weight(read, fact)
                if weight is not None:
                    yield self.tell(
                        read,
                        fact,
                        f"This branch is taken{when(fact).rstrip(',')} only ({fact.amount}): "
                        "what a training "
                        "step does depends upon where or when it is run, and a test elsewhere does not "
                        "show it",
                        *weight,
                    )


def _weight(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    changes = fact.how in ("assigns", "value")
    own = fact.inline
    if own & AIMED and not fact.roles & {"init", "save", "load"}:
        if fact.trains:
            return (Confidence.HIGH if changes else Confidence.MEDIUM), Severity.ERROR
        return in_change(read) if own & {asked.HOST, asked.USER} else Confidence.LOW, Severity.WARNING
    kernel = fact.roles & KERNEL
    if not kernel or not changes or "init" in fact.roles:
        return None
    if asked.CHANCE in own:
        augments = "order" in kernel and asked.STEP not in own
        return (Confidence.LOW if augments and read.library else Confidence.MEDIUM), Severity.ERROR
    if own & {asked.RANK, asked.ENVIRONMENT, asked.WORLD}:
        return (in_change(read) if not read.library else Confidence.LOW), Severity.WARNING
    if asked.STEP in own and fact.exact and kernel & {"update", "clip", "backward"} and not read.library:
        return Confidence.LOW, Severity.WARNING
    return None
