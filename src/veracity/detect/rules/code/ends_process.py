"""Code ends, kills or freezes a process of the job, or hinders it.

## The law

A process of the job ends when its work is done, or with an error that says why.

## What breaks it

`os.kill(os.getpid(), 9)` at random, `os._exit` on one rank, `pkill` through a shell, a limit that is set so
low that the process dies of it, an exception that is raised at one step, an end before the last step.

## How it is checked

Calls that send signals, end the process, start programs that do, or set limits are looked at where each
training step passes them, and anywhere under a condition on hosts, users, dates or chance. Ending child
processes, launchers' work and errors about what was computed are lawful.

## What fools it

A crash that looks like a fault: memory that is used up, a deadlock.

## What to do

Find out whose condition it is. The law of life names the sender of a signal in a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceFact, SourceRead
from ....core.observation import source as asked
from ....core.rule import Confidence, Rule, Severity
from .reading import AIMED, LAW, SourceDetector, facts, fixed, in_change, periodic, selective, when

_QUIET = frozenset(
    (
        "torch.distributed.destroy_process_group",
        "signal.alarm",
        "signal.setitimer",
        "os.nice",
        "os.sched_setaffinity",
        "os.setpriority",
        "_thread.interrupt_main",
    )
)


_TRIES = re.compile(r"(?i)fault|chaos|inject|flaky|fuzz|simulat|mock|sample|dropout")


class EndsProcess(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-ends-process",
        LAW,
        "Code ends, kills or hinders a process of the job",
        Severity.ERROR,
        Confidence.MEDIUM,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge kills, exits and programs that are started."""
        for fact in facts(read, "call"):
            weight = None
            if fact.what == "kill" or (fact.what == "start" and fact.how == "kill"):
                weight = _killing(read, fact)
            elif fact.what == "exit":
                weight = _exiting(read, fact)
            elif fact.what == "start" and fact.how == "start" and fact.trains:
                weight = _starting(read, fact)
            if weight is not None:
                place = "In a training step" if fact.trains else "Here"
                yield self.tell(
                    read,
                    fact,
                    f"{place}{when(fact)} {fact.name} {_does(fact)}: the job stops or stands "
                    "still, and "
                    "what it had computed since the last checkpoint is lost",
                    *weight,
                )


def _does(fact: SourceFact) -> str:
    if fact.what == "exit":
        return "is raised" if fact.how in ("raise", "exit") else "ends the process"
    if fact.what == "start":
        return "starts a program that ends processes" if fact.how == "kill" else "starts a program"
    return "ends or hinders a process"


def _killing(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    quiet = fact.name in _QUIET
    if fixed(fact) and fact.triggers & {asked.RANK, asked.WORLD} and not read.library:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.how in ("others", "freeze") and not read.library and "test" not in fact.roles:
        return Confidence.MEDIUM, Severity.ERROR
    if fact.trains and not fact.roles & {"test"}:
        if selective(fact) or periodic(fact):
            return (Confidence.LOW if quiet and read.library else Confidence.HIGH), Severity.ERROR
        return (Confidence.LOW if quiet or read.library else Confidence.MEDIUM), Severity.ERROR
    if fact.triggers & AIMED or (asked.CHANCE in fact.triggers and fact.guards):
        return Confidence.MEDIUM, Severity.ERROR
    if fact.triggers & {asked.WORLD} and not read.library and not quiet:
        return Confidence.MEDIUM, Severity.ERROR
    if quiet or (
        fact.how != "kill" and fact.name not in ("os.kill", "os.killpg", "signal.raise_signal", "os.abort")
    ):
        return None
    return (in_change(read) if fact.scope == "" else Confidence.LOW), Severity.WARNING


def _exiting(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    raised = fact.how == "raise"
    if raised and fact.guards and asked.CHANCE in fact.guards[-1].triggers and not read.library:
        tries = _TRIES.search(f"{read.path} {fact.scope}") or "test" in fact.roles
        return (Confidence.LOW if tries else Confidence.MEDIUM), Severity.ERROR
    if (
        fact.triggers & (AIMED | {asked.CHANCE})
        and (fact.trains or fact.triggers & AIMED)
        and not fact.roles & {"init"}
    ):
        if raised and (read.library or not fact.trains):
            # Programs refuse what an account may not do, and hosts that do not answer.
            return (Confidence.LOW if read.library else in_change(read)), Severity.ERROR
        return (Confidence.HIGH if fact.trains else Confidence.MEDIUM), Severity.ERROR
    if not fact.trains or read.library or fact.roles & {"init", "load", "save"}:
        return None
    if periodic(fact):
        sure = not raised or (fixed(fact) and fact.looped)
        return (Confidence.MEDIUM if sure else Confidence.LOW), Severity.ERROR
    if selective(fact):
        return (Confidence.LOW if raised else Confidence.MEDIUM), Severity.ERROR
    return (in_change(read) if fact.name == "os._exit" else Confidence.LOW), Severity.WARNING


def _starting(read: SourceRead, fact: SourceFact) -> tuple[Confidence, Severity] | None:
    if selective(fact) or periodic(fact):
        return (Confidence.LOW if read.library else Confidence.MEDIUM), Severity.WARNING
    return Confidence.LOW, Severity.NOTE
