"""What was loaded against what was found in memory at the first step after it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ....core.observation import (
    CheckpointLoaded,
    Observation,
    OptimizerDeclared,
    StateRestored,
    StepRecord,
    StepsPassed,
    TensorDigest,
)
from .naming import alike, bare, index_by_suffix

MAX_LOADS = 8
MAX_PROCESSES = 1024

Pair = tuple[TensorDigest, TensorDigest]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tensors that agree with something loaded, pairs (loaded, in memory) that differ, and those that have a
    namesake of another shape or type only. ``combined``: of each that differs, several values were loaded."""

    agreeing: int = 0
    differing: Sequence[Pair] = ()
    reshaped: int = 0
    combined: bool = False


def compare_parameters(
    loaded: Sequence[TensorDigest], now: Sequence[TensorDigest], shared: Collection[str]
) -> Comparison:
    """Parameters by name. One loaded namesake that agrees is enough: a checkpoint may hold an average too.

    Names in ``shared`` belong to another optimizer that has stepped since, and are left out.
    """
    wanted = {bare(tensor.key): tensor for tensor in now if bare(tensor.key) not in shared}
    return _compare(index_by_suffix(loaded, wanted), wanted)


def compare_state(
    loaded: Sequence[TensorDigest], now: Sequence[TensorDigest], names: Sequence[str] = ()
) -> Comparison:
    """Optimizer state: ``<index>.<name>`` against keys that end in ``state.<index>.<name>``.

    Or in ``state.<parameter>.<name>``, as sharded checkpoints have it: ``names`` of the parameters in order.
    """
    wanted = {f"state.{tensor.key}": tensor for tensor in now}
    by_number = _compare(index_by_suffix(loaded, wanted), wanted)
    if by_number.agreeing or by_number.differing or not names:
        return by_number
    wanted = {}
    for tensor in now:
        position, _, name = tensor.key.partition(".")
        if position.isdigit() and len(position) < 9 and int(position) < len(names):
            wanted[f"state.{names[int(position)]}.{name}"] = tensor
    return _compare(index_by_suffix(loaded, wanted), wanted)


def _compare(found: dict[str, list[TensorDigest]], wanted: dict[str, TensorDigest]) -> Comparison:
    agreeing = reshaped = 0
    differing: list[Pair] = []
    combined = True
    for name, tensor in wanted.items():
        namesakes = found[name]
        comparable = [one for one in namesakes if alike(one, tensor)]
        if any(one.sha256 == tensor.sha256 for one in comparable):
            agreeing += 1
        elif comparable:
            differing.append((comparable[0], tensor))
            combined = combined and len({one.sha256 for one in comparable}) > 1
        elif namesakes:
            reshaped += 1
    return Comparison(agreeing, differing, reshaped, combined and bool(differing))


@dataclass(slots=True)
class _Process:
    """Loads not yet restored, and who has stepped since the oldest of them."""

    loads: deque[CheckpointLoaded] = field(default_factory=lambda: deque(maxlen=MAX_LOADS))
    names: dict[int, list[str]] = field(default_factory=dict)
    stepped: dict[int, int] = field(default_factory=dict)
    restored: dict[int, int] = field(default_factory=dict)
    module_at: int = -1


@dataclass(frozen=True, slots=True)
class Resume:
    """What a restored optimizer can be compared with. ``module``: a module was loaded since ``loads``.

    ``names``: of its parameters, in order.
    """

    loads: Sequence[CheckpointLoaded]
    module: bool
    shared: frozenset[str]
    names: Sequence[str] = ()

    @property
    def tensors(self) -> list[TensorDigest]:
        """All loaded tensors, latest load first."""
        return [tensor for load in reversed(self.loads) for tensor in load.tensors]


class Resumes:
    """Loads by process, until the optimizers they were for have been restored."""

    def __init__(self) -> None:
        self._processes: OrderedDict[int, _Process] = OrderedDict()

    def observe(self, seen: Observation) -> Resume | None:
        """Take an observation in; for a StateRestored what it can be compared with."""
        if not isinstance(
            seen, (CheckpointLoaded, OptimizerDeclared, StepRecord, StepsPassed, StateRestored)
        ):
            return None
        process = self._processes.setdefault(seen.origin.pid, _Process())
        if len(self._processes) > MAX_PROCESSES:
            self._processes.popitem(last=False)
        if isinstance(seen, CheckpointLoaded):
            if seen.tensors:  # the other files of a checkpoint of many hold none that can be compared
                process.loads.append(seen)
        elif isinstance(seen, OptimizerDeclared):
            if len(process.names) < MAX_PROCESSES:
                process.names[seen.optimizer.index] = [bare(one.name) for one in seen.optimizer.tensors]
        elif isinstance(seen, (StepRecord, StepsPassed)):
            made = isinstance(seen, StepRecord) or seen.count > 0
            if made and len(process.stepped) < MAX_PROCESSES:
                process.stepped[seen.optimizer] = seen.origin.seq
        else:
            return _resume(process, seen)
        return None


def _resume(process: _Process, seen: StateRestored) -> Resume:
    since = process.restored.get(seen.optimizer, -1)
    if len(process.restored) < MAX_PROCESSES:
        process.restored[seen.optimizer] = seen.origin.seq
    # What was loaded before this optimizer's own last step was loaded for another one; a program that goes
    # back to a state it kept in memory restores from no file at all.
    since = max(since, process.stepped.get(seen.optimizer, -1))
    loads = [load for load in process.loads if load.origin.seq > since]
    if seen.loaded_module:
        process.module_at = seen.origin.seq
    oldest = min((load.origin.seq for load in loads), default=seen.origin.seq)
    shared: set[str] = set()
    for optimizer, at in process.stepped.items():
        if optimizer != seen.optimizer and at > oldest:
            shared.update(process.names.get(optimizer, ()))
    own = process.names.get(seen.optimizer, [])
    return Resume(loads, process.module_at >= oldest, frozenset(shared), own)
