"""A process of the job was stopped by a signal for a while.

## The law

Life: no process of the job ends, stops or freezes without a known cause and sender.

## What breaks it

`kill -STOP` from another shell, again and again, each time for a moment: the job goes on, only slower, and
all other ranks wait for it. A scheduler that suspends jobs does the same for good reasons.

## How it is checked

The monitor reads the state of each process of the job once a second, and where the main threads of the ranks
wait at shorter intervals. One stop of half a second, or three shorter ones of one process, are a warning.

## What fools it

Stops between two looks. Who sent the signal is not in what `/proc` shows: the sender is not determined here.
Ctrl-Z at the terminal of `veracity run` stops the monitor as well, which `time-frozen` then tells.

## What to do

Look for the sender in the scheduler's log (suspended, preempted) and, where there is one, in the kernel's
audit log at the time given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessHeld
from ....core.rule import Confidence, Rule, Severity

LONG = 500_000_000
"""Nanoseconds from which a single stop counts."""

OFTEN = 3
MAX_PROCESSES = 1024
MAX_PER_PROCESS = 5


@dataclass(slots=True)
class _Stops:
    """What one process was put through."""

    count: int = 0
    total: int = 0
    told: int = 0
    open: bool = False


class Stopped:
    """Counts stops per process."""

    rule: ClassVar[Rule] = Rule(
        "life-stopped",
        "life",
        "A process of the job was stopped by a signal",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessHeld,)

    def __init__(self) -> None:
        self._stops: dict[int, _Stops] = {}
        self._coverage = Coverage(self.rule.law, "processes")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Judge one stop."""
        if not isinstance(observation, ProcessHeld) or observation.how != "stopped":
            return
        pid = observation.origin.pid
        if pid not in self._stops and len(self._stops) >= MAX_PROCESSES:
            self._coverage.skip(f"more than {MAX_PROCESSES} processes were stopped: the rest is not listed")
            return
        stops = self._stops.setdefault(pid, _Stops())
        known, stops.open = stops.open, not observation.over
        if known and observation.over:
            return  # told when it had lasted for a while
        stops.count += 1
        stops.total += observation.span
        if observation.span < LONG and stops.count < OFTEN:
            return
        if stops.told >= MAX_PER_PROCESS:
            self._coverage.skip("a process was stopped again and again: the rest is not listed")
            return
        stops.told += 1
        yield self._finding(observation, stops)

    def _finding(self, held: ProcessHeld, stops: _Stops) -> Finding:
        rank, pid = held.origin.rank, held.origin.pid
        who = f"rank {rank}" if held.role == "rank" else f"a process of the job ({held.role})"
        how_long = f"for at least {held.span / 1e9:.1f} s"
        if not held.over:
            how_long += ", and it had not gone on"
        if stops.count >= OFTEN:
            how_long += f"; {stops.count} times so far, {stops.total / 1e9:.1f} s in all"
        return finding_of(
            self.rule,
            f"process {pid}",
            f"{who} (process {pid}) was stopped by a signal {how_long}; sender not known",
            rank=rank,
            first_step=held.step if held.step >= 0 else None,
            evidence=(
                Evidence("state", "running, or waiting of its own accord", "stopped; sender not known"),
                Evidence("command", observed=held.command),
            ),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Processes are counted by ``life-killed``, once for the law."""
        return self._coverage
