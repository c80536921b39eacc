"""Data-parallel ranks hold different parameters.

## The law

After each step all ranks of one DistributedDataParallel group hold the same parameters, bit for bit: they
began with the same, and each applied the same averaged gradient.

## What breaks it

A rank whose gradients are left out of the average, scaled or edited after it; a step that one rank skips or
makes with other settings; weights edited on one rank.

## How it is checked

A few elements of every parameter, at places that a keyed function of the step gives and that are the same on
all ranks, are read after each step; every fourth step whole tensors are fingerprinted as well. What the ranks
report for one step is compared bit for bit, also with what they held before it. The first step at which
they differ is reported.

## What fools it

A change of elements that are not sampled, until they are. Ranks that all change alike: that is the other
laws' matter. An optimizer that holds other parameters on each rank is not compared. Parameters sharded over
the ranks (FSDP2) have no copies. Monitors of several nodes that do not meet compare only what each sees, and
coverage says so. Whoever runs under the account of the job can write digests in the name of a node whose
monitor is not there: what comes from the folder is what that account says.

## What to do

Look at the ranks named. Of two nodes nobody can say which one holds the declared weights; of more, the side
on which most are is the likelier one, not the proven one. When the values differed already before the step,
look for code that writes weights on one rank; else for code that touches gradients or settings by rank (``if
rank == …``). Weights of any one rank from that step on are not those of the declared training.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import (
    Hello,
    JobJoined,
    Observation,
    OptimizerDeclared,
    PeerReplicas,
    PeerSeen,
    StepRecord,
)
from ....core.quantity import quantity
from ....core.replicas import group_of, machine_of
from ....core.rule import Confidence, Rule, Severity
from ....core.sample import Values
from ....core.sweep import Sweep
from .across import Across
from .between import MAX_NAMED, told_apart
from .process import Process

MAX_PENDING = 512
MAX_PROCESSES = 4096
UNLIKE = "the ranks run on machines that compute differently"


@dataclass(frozen=True, slots=True)
class _Held:
    """What one rank held around one step."""

    before: Sweep
    after: Sweep
    fingerprints: dict[int, int]
    made: StepRecord | None

    def differing(self, other: _Held) -> list[int]:
        """Tensors that differ from another rank's, which was swept at the same places."""
        pairs = ((at, _part(self.after, at), _part(other.after, at)) for at in self.after.tensors)
        found = {at for at, mine, theirs in pairs if mine.tobytes() != theirs.tobytes()}
        both = self.fingerprints.keys() & other.fingerprints.keys()
        found |= {at for at in both if self.fingerprints[at] != other.fingerprints[at]}
        return sorted(found)

    def values(self, tensor: int) -> list[float]:
        """The sampled elements of a tensor after the step."""
        return list(_part(self.after, tensor))

    def words(self, tensor: int) -> bytes:
        """The same bit for bit, with the fingerprint where there is one."""
        return _part(self.after, tensor).tobytes() + b"%d" % self.fingerprints.get(tensor, 0)

    def began_like(self, other: _Held, tensors: list[int]) -> bool:
        """Whether these tensors, where both ranks were swept, were the same before the step."""
        return all(
            _part(self.before, at).tobytes() == _part(other.before, at).tobytes()
            for at in tensors
            if at in self.before.tensors and at in other.before.tensors
        )


def _part(sweep: Sweep, tensor: int) -> Values:
    if tensor not in sweep.tensors:
        return array("f")
    begin = sweep.tensors.index(tensor) * sweep.count
    return sweep.values[begin : begin + sweep.count]


@dataclass(slots=True)
class _Group:
    """One optimizer on all ranks of its group, in one start of the job.

    ``expected`` of them run below this monitor; ``pending`` holds each step until all of those have made it.
    ``name`` is the group's across nodes, ``machine`` what decides the bits on this one.
    """

    declared: OptimizerDeclaration
    expected: int
    name: str
    machine: str
    pending: dict[int, dict[int, _Held]] = field(default_factory=dict)
    reported: bool = False


class ReplicaDisagrees:
    """Compares the ranks' records of each step as they come."""

    rule: ClassVar[Rule] = Rule(
        "replica-disagrees",
        "replica-agreement",
        "Data-parallel ranks hold different parameters",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        Hello,
        JobJoined,
        OptimizerDeclared,
        PeerReplicas,
        PeerSeen,
        StepRecord,
    )

    def __init__(self) -> None:
        self._coverage = Coverage("replica-agreement", "steps")
        self._processes: dict[int, Process] = {}
        self._machines: set[str] = set()
        self._groups: dict[tuple[tuple[str, ...], int, str], _Group] = {}
        self._of: dict[tuple[int, int], _Group] = {}
        self._across: Across | None = None

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """One finding per group of ranks, at the first step at which they differ."""
        pid = observation.origin.pid
        if isinstance(observation, Hello):
            if observation.role == "rank" and len(self._processes) < MAX_PROCESSES:
                self._processes[pid] = Process.of(observation)
                self._machines.add(machine_of(observation.numerics))
        elif isinstance(observation, OptimizerDeclared):
            self._declare(pid, observation.optimizer)
        elif isinstance(observation, StepRecord):
            group = self._of.get((pid, observation.optimizer))
            if group is not None:
                yield from self._take(group, observation)
        elif isinstance(observation, JobJoined):
            self._across = self._across or Across(observation.node, self._coverage)
        elif self._across is not None:
            yield from self._heard(self._across, observation)

    def finish(self) -> Iterator[Finding]:
        """Steps that not all ranks have made are compared among those that have."""
        for group in self._groups.values():
            for number in sorted(group.pending):
                yield from self._compare(group, number)
        if self._across is not None:
            yield from (told_apart(self.rule, one) for one in self._across.finish())

    def coverage(self) -> Coverage:
        """Steps of which the parameters of at least two ranks were compared."""
        if not self._groups and not self._coverage.reasons:
            self._coverage.skip("no optimizer's parameters are all held by one DistributedDataParallel group")
        return self._coverage

    def _declare(self, pid: int, declared: OptimizerDeclaration) -> None:
        seen = self._processes.get(pid)
        self._of.pop((pid, declared.index), None)
        if declared.sharded:
            self._coverage.skip("parameters are sharded over the ranks: each holds its own part of them")
        if len(declared.replicas) < 2 or seen is None:
            return
        expected = min(len(declared.replicas), seen.local)
        if expected < 2 and self._across is None:
            self._coverage.skip("only one rank of the group runs below this monitor")
            return
        if expected < len(declared.replicas) and self._across is None:
            self._coverage.skip("ranks below other monitors hold copies too and are not compared")
        # Ranks that share the optimizer's state out among them declare other tensors each.
        key = seen.job, declared.index, repr([(one.name, one.shape) for one in declared.tensors])
        if key in self._groups or len(self._groups) < MAX_PROCESSES:
            name = group_of(declared, seen.port)
            self._of[pid, declared.index] = self._groups.setdefault(
                key, _Group(declared, expected, name, seen.machine)
            )
            if self._across is not None and expected < len(declared.replicas):
                self._across.declare(name, declared, alone=expected < 2)

    def _heard(self, across: Across, observation: Observation) -> Iterator[Finding]:
        """What the monitors of other nodes say."""
        if isinstance(observation, PeerReplicas):
            yield from (told_apart(self.rule, one) for one in across.peer(observation))
        elif isinstance(observation, PeerSeen):
            across.seen(observation.origin.source, done=observation.state != "began")

    def _take(self, group: _Group, step: StepRecord) -> Iterator[Finding]:
        fingerprints = {pair[0]: pair[1] for pair in step.fingerprint_after if len(pair) == 2}
        held = group.pending.setdefault(step.step, {})
        made = step if self._across is not None else None
        held[step.origin.rank] = _Held(step.swept_before, step.swept_after, fingerprints, made)
        if len(held) >= group.expected:
            yield from self._compare(group, step.step)
        elif len(group.pending) > MAX_PENDING:
            self._coverage.skip("some ranks are hundreds of steps behind the others")
            yield from self._compare(group, min(group.pending))

    def _compare(self, group: _Group, number: int) -> Iterator[Finding]:
        held = group.pending.pop(number)
        if self._across is not None:
            made = {rank: one.made for rank, one in held.items() if one.made is not None}
            yield from (
                told_apart(self.rule, one) for one in self._across.own(group.name, made, group.machine)
            )
        if group.expected < 2:
            return
        first, *others = (held[rank] for rank in sorted(held))
        alike = [other for other in others if _comparable(first, other)]
        reason = "" if others else "only one rank made the step"
        if others and not alike:
            reason = "the ranks' records are not of the same tensors"
        if len(self._machines) > 1:
            alike, reason = [], UNLIKE
        self._coverage.count(checked=bool(alike), reason=reason)
        tensors = sorted({at for other in alike for at in first.differing(other)})
        if tensors and not group.reported:
            group.reported = True
            yield self._finding(group.declared, number, held, tensors)

    def _finding(
        self, declared: OptimizerDeclaration, number: int, held: dict[int, _Held], tensors: list[int]
    ) -> Finding:
        names = [
            declared.tensors[at].name if at < len(declared.tensors) else f"tensor {at}" for at in tensors
        ]
        shown = ", ".join(names[:MAX_NAMED]) + (
            f" and {len(names) - MAX_NAMED} more" if names[MAX_NAMED:] else ""
        )
        votes = Counter(one.words(tensors[0]) for one in held.values())
        common, times = votes.most_common(1)[0]
        odd = [rank for rank, one in sorted(held.items()) if one.words(tensors[0]) != common]
        alone = odd[0] if len(odd) == 1 and times > 1 else -1
        who = f"rank {alone}" if alone >= 0 else f"ranks {', '.join(map(str, sorted(held)[:8]))}"
        earlier = not all(one.began_like(held[min(held)], tensors) for one in held.values())
        when = "before this step: weights were changed between two steps" if earlier else "in this step"
        return finding_of(
            self.rule,
            shown,
            f"after step {number} the ranks of the group do not agree on {len(tensors)} of "
            f"{quantity(len(declared.tensors), 'parameter tensor')}; {who} came to differ {when}",
            rank=alone,
            first_step=number,
            evidence=tuple(
                Evidence(
                    f"rank {rank}, sampled elements of {names[0]}",
                    expected=_shown(held[min(held)].values(tensors[0])),
                    observed=_shown(one.values(tensors[0])),
                )
                for rank, one in sorted(held.items())[:8]
            ),
        )


def _comparable(one: _Held, other: _Held) -> bool:
    mine, theirs = one.after, other.after
    return bool(mine.tensors) and (mine.tensors, mine.count) == (theirs.tensors, theirs.count)


def _shown(values: list[float]) -> str:
    return ", ".join(f"{value:.9g}" for value in values[:4])
