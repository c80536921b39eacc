"""A process of the job was ended by a signal that nothing explains.

## The law

Life: no process of the job ends without a known cause and sender.

## What breaks it

`kill` from another shell, a script that ends processes at random, a clean-up job that matches too much, the
kernel when memory runs out.

## How it is checked

The monitor reads how every process of the job ended, from the kernel. Explained are: a signal that the
monitor passed on; what the monitor itself could explain (memory limit, scheduler); the other ranks, once one
has failed, since the launcher then ends them; helpers and loader workers that end by SIGTERM while their
parent lives. A rank, the launcher or the program itself ended otherwise is an error. Programs also end their
own helpers by other signals, as `subprocess.run` does with SIGKILL when a timeout is over: that is a note,
and a warning where the process that had started the helper failed within ten seconds. Signals that a process
raises by its own fault belong to `life-crashed`.

## What fools it

Who sent a signal is not in what the kernel tells a parent: the sender is not determined here. A rank killed
soon after another one failed counts as ended by the launcher. A helper that is killed, and that nobody
misses, is a note whoever did it.

## What to do

Look for the sender in the scheduler's log and, where there is one, in the kernel's audit log at the time
given. `dmesg` names what the kernel itself ended for memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessEnded, SignalForwarded
from ....core.rule import Confidence, Rule, Severity
from .signals import ASKED_TO_END, KILL, MAIN_ROLES, OWN_FAULTS, TERMINATE, signal_name

PATIENCE = 5_000_000_000
"""Nanoseconds to wait for what would explain a request to end: its order of arrival is not given."""

REACTION = 250_000_000
"""Nanoseconds within which no launcher has reacted yet: ranks that fail so close together failed alone."""

MISSED = 10_000_000_000
"""Nanoseconds within which a process fails that misses a helper; what fails later has its own reasons."""

MAX_WAITING = 4096
MAX_HELPERS = 50


class Killed:
    """Holds back processes that were asked to end until their explanation had time to arrive."""

    rule: ClassVar[Rule] = Rule(
        "life-killed",
        "life",
        "A process of the job was ended by a signal that nothing explains",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessEnded, SignalForwarded)

    def __init__(self) -> None:
        self._waiting: list[ProcessEnded] = []
        self._helpers: list[ProcessEnded] = []
        self._forwarded = False
        self._failed_at: int | None = None
        self._coverage = Coverage(self.rule.law, "processes")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Count each end, judge those by a signal."""
        if isinstance(observation, SignalForwarded):
            self._forwarded = self._forwarded or observation.signal in ASKED_TO_END
        elif isinstance(observation, ProcessEnded):
            known = observation.how in ("exited", "signalled")
            self._coverage.count(checked=known, reason="" if known else "how it ended could not be read")
            yield from self._ended(observation)
        if self._waiting and observation.origin.at - self._waiting[0].origin.at > PATIENCE:
            yield from self._judge_waiting()

    def _ended(self, end: ProcessEnded) -> Iterator[Finding]:
        failed_at = self._failed_at
        main = end.role in MAIN_ROLES
        signalled = end.how == "signalled"
        held = signalled and main and end.code in ASKED_TO_END
        # A launcher that exits with a code follows its ranks; it does not explain their end.
        failed = end.role == "rank" and end.how == "exited" and end.code != 0
        if end.how == "exited" and end.code != 0:
            yield from self._missed_by(end)
        if failed_at is None and (failed or (signalled and main and not held)):
            self._failed_at = end.origin.at
        if not signalled or end.explained or end.code in OWN_FAULTS or self._forwarded:
            return
        if held:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(end)
        elif main:
            # Launchers end the other ranks once one has failed, with SIGKILL if they must.
            followed = failed_at is not None and end.origin.at - failed_at > REACTION
            if not (followed and end.role == "rank" and end.code == KILL):
                yield self._finding(end)
        elif not (end.code == TERMINATE and end.parent_alive):
            if len(self._helpers) < MAX_HELPERS:
                self._helpers.append(end)
            else:
                self._coverage.skip(f"more than {MAX_HELPERS} helpers were killed: the rest is not listed")

    def _missed_by(self, parent: ProcessEnded) -> Iterator[Finding]:
        """A process failed: did it miss a helper that was killed?"""
        missed = [
            end
            for end in self._helpers
            if end.parent == parent.origin.pid and parent.origin.at - end.origin.at < MISSED
        ]
        self._helpers = [end for end in self._helpers if end not in missed]
        for end in missed:
            yield self._finding(end, Severity.WARNING, Confidence.MEDIUM)

    def _judge_waiting(self) -> Iterator[Finding]:
        """Of processes asked to end together, the first is the finding; the others followed it."""
        waiting, self._waiting = sorted(self._waiting, key=lambda end: end.origin.at), []
        failed = self._failed_at is not None
        if self._failed_at is None:
            self._failed_at = waiting[0].origin.at
        if self._forwarded:
            return
        if any(end.role != "rank" for end in waiting):
            waiting = [end for end in waiting if end.role != "rank"]
        elif failed:
            return
        yield self._finding(waiting[0])

    def _finding(
        self, end: ProcessEnded, severity: Severity = Severity.ERROR, confidence: Confidence = Confidence.HIGH
    ) -> Finding:
        name = signal_name(end.code)
        who = f"rank {end.origin.rank}" if end.role == "rank" and end.origin.rank >= 0 else f"the {end.role}"
        if end.role in ("child", "other"):
            who = "a process of the job"
        return finding_of(
            self.rule,
            f"process {end.origin.pid}",
            f"{who} (process {end.origin.pid}) was ended by {name}; sender not determined",
            rank=end.origin.rank,
            first_step=end.step if end.step >= 0 else None,
            evidence=(
                Evidence("end", "exit of its own accord", f"signal {end.code}, sender not determined"),
                Evidence("command", observed=end.command),
            ),
            severity=severity,
            confidence=confidence,
        )

    def finish(self) -> Iterator[Finding]:
        """Judge what is still held back."""
        if self._waiting:
            yield from self._judge_waiting()
        for end in self._helpers:
            yield self._finding(end, Severity.NOTE, Confidence.MEDIUM)

    def coverage(self) -> Coverage:
        """Processes whose end was read."""
        return self._coverage
