"""Copies of the same parameters below the monitors of several nodes: which steps meet, and where they differ.

A step of one node is compared with the step of the same number on another when both were made at about the
same time: replicas wait for one another at each step. That keeps the starts of a job apart without trusting
counts that launchers keep for each node alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ....core.contract import OptimizerDeclaration
from ....core.coverage import Coverage
from ....core.observation import PeerReplicas, StepRecord
from ....core.replicas import Held, heard, one_voice

NEAR = 3_000_000_000
"""Nanoseconds: copies that were read further apart than this are not taken for those of one step."""
PATIENCE = 20_000_000_000
"""Nanoseconds of training after which a node that has said nothing of a step is not waited for."""
MAX_WAITING = 1024
MAX_BYTES = 64 << 20
MAX_GROUPS = 256
MAX_COPIES = 256
ACROSS = "compared with the copies below the monitors of other nodes"
UNTOLD = "no monitor of another node told what its ranks held after the step"
UNLIKE_NODE = "a rank of another node runs on a machine that computes differently"
ELSEWHERE = "another node read its copy at other places"
APART = "the step of the same number was made at another time on another node: do the clocks agree?"
CLAIMED = "two monitors speak for the same rank: is the id of the job another job's too?"
FOREIGN = "a monitor speaks for ranks that hold no copy"


@dataclass(frozen=True, slots=True)
class Copy:
    """What some ranks below one monitor held after one step; ``run`` is empty for our own."""

    run: str
    node: str
    ranks: tuple[int, ...]
    at: int
    machine: str
    held: Held

    @property
    def who(self) -> str:
        """Those ranks as people read it."""
        ranks = ", ".join(map(str, self.ranks[:8])) + (" …" if self.ranks[8:] else "")
        return f"rank{'s' if self.ranks[1:] else ''} {ranks} on {self.node} ({self.run or 'this run'})"


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which our copy and another node's differ.

    ``parts`` and ``fingers`` say where, ``tensors`` which ones a part stands for; ``since`` is the last step
    compared before at which no difference was seen, -1 when there was none. ``claimed``: two of the runs
    speak for the same rank, so one of them is not of this job, or not what it says it is.
    """

    declared: OptimizerDeclaration
    step: int
    since: int
    own: Copy
    copies: tuple[Copy, ...]
    parts: tuple[int, ...]
    fingers: tuple[int, ...]
    tensors: tuple[int, ...]
    claimed: bool


@dataclass(slots=True, eq=False)
class _Step:
    """Copies of one step as they come; the first of them was read ``at``. A second start of the job makes
    steps of the same numbers; so do clocks that disagree (``apart``). ``reasons``: why copies were not
    compared with ours.
    """

    number: int
    at: int
    copies: list[Copy] = field(default_factory=list)
    tensors: tuple[int, ...] = ()
    compared: bool = False
    apart: bool = False
    reasons: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Group:
    """An optimizer on all ranks that hold its parameters. ``alone``: one of them runs below this monitor."""

    declared: OptimizerDeclaration | None = None
    alone: bool = False
    steps: dict[_Step, None] = field(default_factory=dict)
    numbered: dict[int, list[_Step]] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    newest: int = 0
    since: int = -1
    suspect: tuple[_Step, Copy, Copy] | None = None
    reported: bool = False


class Across:
    """Our copies and those of other nodes: which steps are compared, and the first difference."""

    def __init__(self, node: str, coverage: Coverage) -> None:
        self._node = node
        self._coverage = coverage
        self._groups: dict[str, _Group] = {}
        self._done: dict[str, bool] = {}
        self._bytes = 0

    def declare(self, name: str, declared: OptimizerDeclaration, *, alone: bool) -> None:
        """Ranks below this monitor are in this group."""
        group = self._groups.setdefault(name, _Group())
        group.declared, group.alone = declared, alone

    def own(self, name: str, made: dict[int, StepRecord], machine: str) -> Iterator[Difference]:
        """What our ranks held after a step; those that hold the same speak with one voice."""
        group = self._groups.get(name)
        if group is None or group.declared is None:
            return
        for ranks, step, held in one_voice(made):
            copy = Copy("", self._node, tuple(ranks), step.origin.at, machine, held)
            yield from self._add(group, step.step, copy, step.swept_after.tensors)

    def peer(self, told: PeerReplicas) -> Iterator[Difference]:
        """What another node's ranks held."""
        run = told.origin.source
        for step in told.steps:
            group, held = self._group(step.group), heard(step)
            if group is None or held is None or not run:
                self._coverage.skip("a line of another node could not be read")
                continue
            copy = Copy(run, told.node, tuple(step.ranks), step.at, step.machine, held)
            group.told[run] = max(group.told.get(run, 0), step.at)
            yield from self._add(group, step.step, copy, ())

    def seen(self, run: str, *, done: bool) -> None:
        """Another node's monitor is there, or has said all it has to say."""
        if run in self._done or len(self._done) < MAX_COPIES:
            self._done[run] = done or self._done.get(run, False)

    def finish(self) -> Iterator[Difference]:
        """The run is over: what waits is not compared any more."""
        for group in self._groups.values():
            yield from self._found(group, wait=False)
            for step in list(group.steps):
                self._drop(group, step)

    def _group(self, name: str) -> _Group | None:
        if name not in self._groups and len(self._groups) < MAX_GROUPS:
            self._groups[name] = _Group()
        return self._groups.get(name)

    def _add(self, group: _Group, number: int, copy: Copy, tensors: tuple[int, ...]) -> Iterator[Difference]:
        step = _step_at(group, number, copy.at)
        if _claimed((*step.copies, copy)):
            # Both are compared: whoever came first must not hide the other.
            self._coverage.skip(CLAIMED)
            self._coverage.stopped = CLAIMED
        if len(step.copies) < MAX_COPIES:
            step.copies.append(copy)
            step.tensors = tensors or step.tensors
            self._bytes += _size(copy)
            group.newest = max(group.newest, copy.at)
            for later in group.numbered[number]:
                if any(bool(one.run) != bool(copy.run) for one in later.copies if later is not step):
                    step.apart = later.apart = True
            for other in step.copies:
                if bool(other.run) != bool(copy.run):
                    own, peer = (copy, other) if other.run else (other, copy)
                    self._compare(group, step, own, peer)
        while len(group.steps) > MAX_WAITING or (self._bytes > MAX_BYTES and len(group.steps) > 1):
            oldest = next(iter(group.steps))
            if group.suspect is not None and group.suspect[0] is oldest:
                yield from self._found(group, wait=False)
            self._drop(group, oldest)
        yield from self._found(group, wait=True)

    def _compare(self, group: _Group, step: _Step, own: Copy, peer: Copy) -> None:
        if group.declared is None or not set(peer.ranks) <= set(group.declared.replicas):
            step.reasons.add(FOREIGN)
        elif own.machine != peer.machine:
            step.reasons.add(UNLIKE_NODE)
        elif not own.held.comparable(peer.held):
            step.reasons.add(ELSEWHERE)
        else:
            step.compared = True
            if own.held.differing(peer.held) == ([], []):
                group.since = step.number if group.suspect is None else group.since
            elif group.suspect is None or own.at < group.suspect[1].at:
                group.suspect = step, own, peer

    def _found(self, group: _Group, *, wait: bool) -> Iterator[Difference]:
        """The difference that is due, once the nodes that may break the tie have spoken or are late."""
        if group.suspect is None or group.reported or group.declared is None:
            return
        step, own, peer = group.suspect
        late = group.newest - own.at > PATIENCE
        spoken = {run for run, done in self._done.items() if done} | {copy.run for copy in step.copies}
        known = self._done.keys() | group.told.keys()
        silent = [run for run in known - spoken if group.told.get(run, -1) < own.at]
        if wait and silent and not late:
            return
        group.reported = True
        copies = [one for one in step.copies if one.machine == own.machine and own.held.comparable(one.held)]
        parts, fingers = own.held.differing(peer.held)
        yield Difference(
            group.declared,
            step.number,
            group.since,
            own,
            tuple(copies),
            tuple(parts),
            tuple(fingers),
            step.tensors,
            _claimed(copies),
        )

    def _drop(self, group: _Group, step: _Step) -> None:
        del group.steps[step]
        same = group.numbered[step.number]
        same.remove(step)
        if not same:
            del group.numbered[step.number]
        self._bytes -= sum(map(_size, step.copies))
        if all(copy.run for copy in step.copies):
            return
        if not step.compared and not step.reasons:
            step.reasons.add(APART if step.apart else UNTOLD)
        # A reason of a step that was compared is that of some further node.
        for reason in step.reasons:
            self._coverage.skip(reason)
        if step.compared:
            self._coverage.skip(ACROSS)
        if group.alone:
            self._coverage.count(checked=step.compared)


def _claimed(copies: Sequence[Copy]) -> bool:
    """Whether two runs speak for one rank."""
    of: dict[int, str] = {}
    return any(of.setdefault(rank, copy.run) != copy.run for copy in copies for rank in copy.ranks)


def _size(copy: Copy) -> int:
    """About how much memory a copy takes."""
    return 500 + len(copy.held.parts) + 100 * len(copy.held.fingers)


def _step_at(group: _Group, number: int, at: int) -> _Step:
    """The step of that number that was made at about that time, a new one when there is none yet."""
    same = group.numbered.setdefault(number, [])
    near = [one for one in same if abs(one.at - at) <= NEAR]
    if near:
        return min(near, key=lambda one: abs(one.at - at))
    step = _Step(number, at)
    same.append(step)
    group.steps[step] = None
    return step
