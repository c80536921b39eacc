"""A tracer was attached to a process of the job, or held it.

## The law

Life: no process of the job ends, stops or freezes without a known cause and sender. Nor is it steered by
another process: a tracer can hold it, read its memory and write to it.

## What breaks it

`gdb -p`, `strace -p`, or any program that calls `ptrace` on a process of the job.

## How it is checked

The kernel names the tracer of each process in `/proc`; the monitor reads it about once a second, and where
the main threads of the ranks wait at shorter intervals. The stacks that the monitor itself reads need no
tracer.

## What fools it

A tracer that attaches and leaves between two looks. Writing through `/proc/<pid>/mem` or `process_vm_writev`
leaves no tracer; what it changes is for the other laws to find.

## What to do

The tracer's process and command are named where they could be read. Debuggers and some profilers are such
tracers: ask whether somebody was debugging the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import Observation, ProcessChanged, ProcessHeld
from ....core.rule import Confidence, Rule, Severity

MAX_PROCESSES = 256


class Traced:
    """One finding per process."""

    rule: ClassVar[Rule] = Rule(
        "life-traced",
        "life",
        "A tracer was attached to a process of the job",
        Severity.WARNING,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (ProcessChanged, ProcessHeld)

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._coverage = Coverage(self.rule.law, "processes")

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Tell of a tracer the first time it is seen at a process."""
        tracer = ""
        if isinstance(observation, ProcessHeld) and observation.how == "traced":
            tracer = observation.tracer or "a process that had left when it was looked for"
        elif isinstance(observation, ProcessChanged) and observation.what == "tracer" and observation.after:
            tracer = observation.detail or f"process {observation.after}"
        if not tracer or not isinstance(observation, (ProcessChanged, ProcessHeld)):
            return
        pid = observation.origin.pid
        if pid in self._told or len(self._told) >= MAX_PROCESSES:
            return
        self._told.add(pid)
        yield finding_of(
            self.rule,
            f"process {pid}",
            f"process {pid} of the job ({observation.role}) had a tracer: {tracer}",
            rank=observation.origin.rank,
            first_step=observation.step if observation.step >= 0 else None,
            evidence=(Evidence("tracer", expected="none", observed=tracer),),
        )

    def finish(self) -> Iterator[Finding]:
        """Nothing is left for the end."""
        yield from ()

    def coverage(self) -> Coverage:
        """Processes are counted by ``life-killed``, once for the law."""
        return self._coverage
