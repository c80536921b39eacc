"""What is done to the job's processes from outside: stopped, traced, frozen, throttled, pushed back.

Each look costs a few small files of ``/proc`` and of the control groups, so it is rationed: where the main
threads of the ranks sleep is known from the looks for stalls anyway; states are read once a second, of a few
processes in turn when there are many.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.observation import GroupLoad, MonitorHeld, Observation, ProcessChanged, ProcessHeld
from ..core.origin import monitor_origin
from ..observe import process
from ..observe.cgroup import Groups, GroupState, Membership
from .pace import run_delay
from .processes import Known, Processes

LOOK_EVERY = 1.0
STATES_PER_LOOK = 16
STANDINGS_PER_LOOK = 2
REPORT_AFTER = 5.0
GROUP_EVERY = 10.0
MONITOR_HELD = 2.0
MAX_REPORTS = 500
_STATES = {"T": "stopped", "t": "traced"}
_WAITS = {
    "do_signal_stop": "stopped",
    "do_jobctl_trap": "stopped",
    "ptrace_stop": "traced",
    "__refrigerator": "frozen",
    "do_freezer_trap": "frozen",
    "get_signal": "frozen",
}


@dataclass(slots=True)
class _Held:
    """A process that does not run because somebody holds it. Times of the monotonic clock."""

    how: str
    since: float
    until: float
    starttime: int
    tracer: str
    known: Known
    told: bool = False


@dataclass(slots=True)
class _Standing:
    """What a process may use, as last seen."""

    starttime: int
    nice: int
    cpus: int | None = None
    tracer: int = 0


@dataclass(slots=True)
class _Group:
    """The control group of a rank as last seen."""

    membership: Membership
    state: GroupState
    at: float
    moved_to: Membership | None = None


class Conditions:
    """Looks at the processes of a job. ``groups``: control group trees, the machine's by default."""

    def __init__(self, processes: Processes, groups: Groups | None = None) -> None:
        self._processes = processes
        self._groups = groups if groups is not None else Groups.of_this_machine()
        self._held: dict[int, _Held] = {}
        self._standings: dict[int, _Standing] = {}
        self._group_of: dict[int, _Group] = {}
        self._next_look = 0.0
        self._turn = 0
        self._reports = 0
        self._faults = 0

    def look(self, waits: Mapping[int, str]) -> Iterator[Observation]:
        """Whoever is held, by ``waits`` (pid → kernel function its main thread sleeps in) and by state."""
        now = time.monotonic()
        for pid, wait in waits.items():
            held = self._held.get(pid)
            # A task that waits for something else is frozen where it is: only its group knows.
            how = _WAITS.get(wait, "frozen" if held is not None and held.how == "frozen" else "")
            if held is not None or how:
                yield from self._seen(pid, self._confirmed(pid, how), now)
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        self._turn += 1
        known = list(self._processes.known.values())
        for one in self._in_turn(known, STATES_PER_LOOK):
            yield from self._state(one, now)
        for one in self._in_turn([one for one in known if one.role != "other"], STANDINGS_PER_LOOK):
            yield from self._standing(one)
        ranks = [one for one in known if one.step >= 0]
        for one in self._in_turn(ranks, 1):
            yield from self._group(one, now)
        for pid in [pid for pid in self._held if pid not in self._processes.known]:
            yield from self._seen(pid, "", now)
        self._forget()

    def slept(self, asked: float, took: float, waited: float, step: int) -> Iterator[MonitorHeld]:
        """The monitor slept for ``took`` seconds where it had asked for ``asked`` at most.

        ``waited``: the part for which it was ready and had no processor.
        """
        faults, self._faults = self._faults, resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        held = took - asked - max(0.0, waited)
        # Where the kernel does not say how long a task waited for a processor, or memory had to be read
        # back from disk meanwhile, there are other explanations.
        if held > MONITOR_HELD and run_delay() > 0 and faults == self._faults and self._count():
            yield MonitorHeld(monitor_origin(time.time_ns()), int(held * 1e9), step)

    # --- held ------------------------------------------------------------------------------------

    def _state(self, known: Known, now: float) -> Iterator[Observation]:
        status = process.read_stat(known.pid)
        if status is None or status.starttime != known.starttime:
            return
        how = _STATES.get(status.state, "")
        if not how and known.pid in self._held:
            how = self._confirmed(known.pid, self._held[known.pid].how)
        if how or known.pid in self._held:
            yield from self._seen(known.pid, how, now)
        before = self._standings.get(known.pid)
        if before is None or before.starttime != known.starttime:
            self._standings[known.pid] = _Standing(known.starttime, status.nice)
        elif before.nice != status.nice:
            yield from self._changed(known, "nice", before.nice, status.nice)
            before.nice = status.nice

    def _confirmed(self, pid: int, how: str) -> str:
        """Where a frozen task waits depends on the kernel: only the group's own word counts."""
        if how != "frozen":
            return how if how == _WAITS.get(process.read_wchan(pid) or "") else ""
        group = self._groups.membership(pid)
        return "frozen" if group is not None and self._groups.read(group).frozen else ""

    def _seen(self, pid: int, how: str, now: float) -> Iterator[Observation]:
        held, known = self._held.get(pid), self._processes.known.get(pid)
        if held is not None and (known is None or how != held.how):
            del self._held[pid]
            yield from self._report(held, over=known is not None)
            held = None
        if known is None or not how:
            return
        if held is None:
            tracer = self._tracer(pid) if how == "traced" else ""
            self._held[pid] = _Held(how, now, now, known.starttime, tracer, known)
            return
        held.until = now
        if not held.told and now - held.since >= REPORT_AFTER:
            held.told = True
            yield from self._report(held, over=False)

    def _tracer(self, pid: int) -> str:
        standing = process.read_standing(pid)
        if standing is None or not standing.tracer:
            return ""
        words = self._processes.mask(process.read_cmdline(standing.tracer) or [])
        return f"process {standing.tracer}: {' '.join(words)}"[:200]

    def _report(self, held: _Held, *, over: bool) -> Iterator[ProcessHeld]:
        if self._count():
            known = held.known
            yield ProcessHeld(
                monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc"),
                held.how,
                _role(known),
                " ".join(self._processes.mask(known.command))[:200],
                known.step,
                int((held.until - held.since) * 1e9),
                over,
                held.tracer,
            )

    # --- shares ----------------------------------------------------------------------------------

    def _standing(self, known: Known) -> Iterator[Observation]:
        before, now = self._standings.get(known.pid), process.read_standing(known.pid)
        if before is None or now is None:
            return
        if before.cpus is not None and before.cpus != now.cpus:
            yield from self._changed(known, "cpus", before.cpus, now.cpus)
        if before.tracer != now.tracer:
            detail = self._tracer(known.pid) if now.tracer else ""
            yield from self._changed(known, "tracer", before.tracer, now.tracer, detail)
        before.cpus, before.tracer = now.cpus, now.tracer

    def _changed(
        self, known: Known, what: str, before: int, after: int, detail: str = ""
    ) -> Iterator[ProcessChanged]:
        if self._count():
            origin = monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc")
            yield ProcessChanged(origin, what, before, after, _role(known), known.step, detail)

    def _group(self, known: Known, now: float) -> Iterator[Observation]:
        membership = self._groups.membership(known.pid)
        if membership is None:
            return
        state = self._groups.read(membership)
        if state.frozen and known.pid not in self._held:
            yield from self._seen(known.pid, "frozen", now)
        before = self._group_of.get(known.pid)
        if before is not None and before.membership != membership and before.moved_to != membership:
            # Told at the next look, if it still is so: a process that ends leaves its groups first.
            before.moved_to = membership
            return
        changed = before is None or (state.quota, state.frozen) != (before.state.quota, before.state.frozen)
        if before is not None and before.membership == membership and not changed:
            before.moved_to = None
            if now - before.at < GROUP_EVERY:
                return  # counts add up meanwhile
        self._group_of[known.pid] = _Group(membership, state, now)
        if before is None:
            return
        if before.membership != membership:
            yield from self._changed(known, "cgroup", 0, 0, _moved(before.membership, membership))
            return
        throttled = state.throttled - before.state.throttled
        if state.quota is None and not (changed or throttled or state.reclaimed != before.state.reclaimed):
            return  # nothing limits it: not worth an entry each second
        yield GroupLoad(
            monitor_origin(time.time_ns(), pid=known.pid, rank=known.rank, source="/proc"),
            membership.name[:300],
            int((now - before.at) * 1e9),
            _thousandths(state.quota),
            _thousandths(before.state.quota),
            max(0, state.periods - before.state.periods),
            max(0, throttled),
            max(0, state.throttled_ns - before.state.throttled_ns),
            bool(state.frozen),
            max(0, state.reclaimed - before.state.reclaimed),
            known.step,
        )

    # --- bounds ----------------------------------------------------------------------------------

    def _in_turn(self, known: Sequence[Known], most: int) -> Sequence[Known]:
        """All of them when they are few, else another part at each look; those that train come first."""
        if len(known) <= most:
            return known
        ordered = sorted(known, key=_rest_last)
        first = self._turn * most % len(ordered)
        return [*ordered[first:], *ordered[:first]][:most]

    def _count(self) -> bool:
        self._reports += 1
        return self._reports <= MAX_REPORTS

    def _forget(self) -> None:
        alive = self._processes.known
        self._standings = {pid: one for pid, one in self._standings.items() if pid in alive}
        self._group_of = {pid: one for pid, one in self._group_of.items() if pid in alive}


def _rest_last(known: Known) -> bool:
    return known.step < 0


def _moved(before: Membership, after: Membership) -> str:
    """``cpu:/a → cpu:/b`` for each controller whose group is another one."""
    old, new = dict(before.names), dict(after.names)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    sides = [" ".join(f"{name}:{side.get(name, '?')}" for name in names)[:200] for side in (old, new)]
    return " → ".join(sides)


def _thousandths(quota: int | None) -> int:
    return -1 if quota is None else quota


def _role(known: Known) -> str:
    return "rank" if known.step >= 0 else known.role
