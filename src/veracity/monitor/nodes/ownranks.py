"""What the ranks below this monitor held after each step, gathered for the monitors of other nodes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...core.observation import Hello, Observation, OptimizerDeclared, ReplicaStep, StepRecord
from ...core.replicas import group_of, one_voice, told
from ...detect.rules.replica.process import Process
from .lines import Line

MAX_STEPS = 4096
MAX_GROUPS = 1024
MAX_READY = 16384
LATE = 5_000_000_000
"""Nanoseconds of training after which a step is told without the ranks that have not made it."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of which ``local`` ranks run here; of others there are more elsewhere."""

    name: str
    local: int
    machine: str


@dataclass(slots=True)
class OwnRanks:
    """Steps as they come, and those of which all that is to come has."""

    node: str
    _processes: dict[int, Process] = field(default_factory=dict)
    _groups: dict[tuple[int, int], _Group] = field(default_factory=dict)
    _made: dict[tuple[str, int], tuple[_Group, dict[int, StepRecord]]] = field(default_factory=dict)
    _ready: deque[ReplicaStep] = field(default_factory=lambda: deque(maxlen=MAX_READY))
    _newest: int = 0

    def take(self, observation: Observation) -> None:
        """Something a guard said."""
        pid = observation.origin.pid
        if isinstance(observation, Hello):
            if observation.role == "rank" and len(self._processes) < MAX_GROUPS:
                self._processes[pid] = Process.of(observation)
        elif isinstance(observation, OptimizerDeclared):
            self._declared(pid, observation)
        elif isinstance(observation, StepRecord):
            group = self._groups.get((pid, observation.optimizer))
            if group is not None:
                self._take(group, observation)

    def ready(self, *, last: bool = False) -> list[Line]:
        """Lines for the others: steps that all ranks here have made, or that were made long ago."""
        for key, (_, made) in list(self._made.items()):
            oldest = min(step.origin.at for step in made.values())
            if last or oldest < self._newest - LATE or len(self._made) > MAX_STEPS:
                self._tell(key)
        ready = [Line(0, self.node, step=step) for step in self._ready]
        self._ready.clear()
        return ready

    def _declared(self, pid: int, observation: OptimizerDeclared) -> None:
        declared, process = observation.optimizer, self._processes.get(pid)
        self._groups.pop((pid, declared.index), None)
        if process is None or len(declared.replicas) <= process.local or len(self._groups) >= MAX_GROUPS:
            return
        name = group_of(declared, process.port)
        self._groups[pid, declared.index] = _Group(name, process.local, process.machine)

    def _take(self, group: _Group, step: StepRecord) -> None:
        self._newest = max(self._newest, step.origin.at)
        key = group.name, step.step
        if step.origin.rank in self._made.get(key, (group, {}))[1]:
            self._tell(key)  # of an earlier start of the job
        _, made = self._made.setdefault(key, (group, {}))
        made[step.origin.rank] = step
        if len(made) >= group.local:
            self._tell(key)

    def _tell(self, key: tuple[str, int]) -> None:
        group, made = self._made.pop(key)
        self._ready.extend(
            told(held, group.name, step, ranks, group.machine) for ranks, step, held in one_voice(made)
        )
