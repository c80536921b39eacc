"""The loss that is logged is not the loss that was computed.

## The law

Reported = computed: what a program writes down as its training loss is the number that ``backward`` was
called on, or one of the usual means of it.

## What breaks it

A log line that writes another number than the one trained on: a better curve for the report, a hidden
degradation, a result that nobody can reproduce.

## How it is checked

The monitor reads, from outside, the files of metrics that the job writes: JSON lines, CSV, TensorBoard
events, MLflow's file store, W&B's ``.wandb``, the Hugging Face Trainer's ``trainer_state.json``. The guard
ships the loss of each step. For each key of each file the last values are compared with the losses of every
step, as they are or as a mean: over the micro-batches, the ranks, the logging interval, a window, since the
start, exponential. A printed number stands for all that round to it. A series is taken for the loss when at
least eight values fall where one relation puts them and the odds of that being chance, over all relations
and places that are tried, are below 1e-9; a validation loss is never that near. A series that was never
explained is ignored, and the coverage says so.

From then on each value is compared. Eight that share one factor or difference, in a row or here and there,
break the law, at the first of them, when it is not the computed loss that moved by it. A multiple from the
start, such as 0.9, is a warning, for a weight in the objective may be its reason; integers, powers of two
and bits for nats are taken as they are. So is, as a warning, a series that is explained by nothing any
more. Single values prove nothing. Where the guard rests, the values about steps that it looked at are
compared, and the others are counted as passed over.

Only files count that a process of the job had open, as the kernel tells, or opened or moved there, as its
interpreter announced: another run of the same command may write below the same folder.

## What fools it

Another number for each step, which shares nothing: only the warning remains. A half or a quarter from the
start. A program that prints its loss and writes no file, or one of too few digits. A report that is wrong
from the start in a way that is no multiple: it is not known as the loss. A weight of the objective that
changes in mid-run from one to nearly one, in a program that logs the loss without it, looks like the
sabotage. Means over epochs are not known, and no mean over steps of which one was passed over. A file that
native code or a forked process opens, writes and closes each time is not compared. The run is incomplete
when it follows the loss and no file that counts does; a decoy that counts hides that.

## What to do

Look at the line that writes the metric, and at who changed it last. Compare the file with the losses in the
report of this run. A program that means to log something else does well to give it a name of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, Location, finding_of
from ....core.observation import (
    Hello,
    MetricsLogged,
    MetricsOpened,
    Observation,
    ProcessEnded,
    StepRecord,
    StepsPassed,
)
from ....core.quantity import quantity
from ....core.rule import Confidence, Rule, Severity
from .fitting import Tables
from .losses import Losses
from .series import Bounds, Series, Shown

MAX_SERIES = 64
MAX_PROCESSES = 32
MAX_OPTIMIZERS = 4
MAX_SOURCES = 12
MAX_PENDING = 256
MAX_FILES = 4096
MAX_SHOWN = 8
FOREIGN = "values are in a file that no process of the job was seen to open: they may be another job's"
UNSEEN = "a file follows what was computed, and no process of the job was seen to open it: not compared"

SEVERITY = {
    "changed": Severity.ERROR,
    "scattered": Severity.ERROR,
    "multiple": Severity.WARNING,
    "undecided": Severity.WARNING,
    "lost": Severity.WARNING,
    "single": Severity.WARNING,
    "weighted": Severity.NOTE,
}


@dataclass(slots=True)
class Computed:
    """What was computed for the steps of one optimizer in one process.

    ``last`` is the loss of the last backward pass before the step; ``sum`` and ``mean`` are over all of them,
    kept from the first step on that had several.
    """

    last: Losses
    several: tuple[Losses, Losses] | None = None

    def put(self, step: StepRecord) -> dict[str, float]:
        """Note one step; the values by which kind of loss they are."""
        value = step.loss if step.loss is not None else math.nan
        self.last.put(step.step, value)
        if step.losses > 1 and self.several is None:
            rank = step.origin.rank
            self.several = (
                Losses("the sum of the losses of a step's backward passes", rank),
                Losses("the mean of the losses of a step's backward passes", rank),
            )
        whole = value
        if step.losses > 1:
            whole = step.loss_sum if step.loss_sum is not None else math.nan
        if self.several is not None:
            self.several[0].put(step.step, whole, step.losses)
            self.several[1].put(step.step, whole / max(step.losses, 1), step.losses)
        return {"loss": value, "sum of losses": whole}

    def passed(self, until: int) -> None:
        """The guard let the steps before ``until`` pass."""
        for losses in self.all():
            losses.passed(until)

    def ended(self) -> None:
        """The process has ended."""
        for losses in self.all():
            losses.ended = True

    def all(self) -> list[Losses]:
        """What a logged value may come from, the simplest first."""
        return [self.last, *(self.several or ())]


@dataclass(slots=True)
class _Ranks:
    """The mean over the ranks of one start of the job, for one optimizer."""

    world: int
    means: dict[str, Losses] = field(default_factory=dict)
    pending: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    reached: dict[int, int] = field(default_factory=dict)

    def passed(self, pid: int, until: int) -> None:
        """A rank's guard let steps pass: of those that all ranks have left behind no mean will be known."""
        self.reached[pid] = until
        if len(self.reached) == self.world:
            for losses in self.means.values():
                losses.passed(min(self.reached.values()))

    def put(self, pid: int, step: int, values: dict[str, float]) -> None:
        """Note one rank's step; when it was the last rank's, the means are known."""
        self.reached[pid] = step + 1
        if step not in self.pending and len(self.pending) >= MAX_PENDING:
            del self.pending[min(self.pending)]
        held = self.pending.setdefault(step, [])
        held.append(values)
        if len(held) < self.world:
            return
        for kind in values:
            mean = math.fsum(one[kind] for one in held if math.isfinite(one[kind])) / len(held)
            complete = all(math.isfinite(one[kind]) for one in held)
            losses = self.means.setdefault(kind, Losses(f"the mean {kind} over the ranks", -1))
            losses.put(step, mean if complete else math.nan)
        del self.pending[step]


class LossMisreported:
    """Compares what is logged with what was computed."""

    rule: ClassVar[Rule] = Rule(
        "metric-loss-misreported",
        "reported-computed",
        "The logged loss is not the computed loss",
        Severity.ERROR,
        Confidence.HIGH,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        Hello,
        StepRecord,
        StepsPassed,
        MetricsLogged,
        MetricsOpened,
        ProcessEnded,
    )
    severity: ClassVar[Mapping[str, Severity]] = SEVERITY

    def __init__(self) -> None:
        self._coverage = Coverage("reported-computed", "logged values")
        self._optimizers: dict[tuple[int, int], Computed] = {}
        self._jobs: dict[int, tuple[str, int]] = {}
        self._ranks: dict[tuple[str, int], _Ranks] = {}
        self._ranks_of: dict[int, list[_Ranks]] = {}
        self._series: dict[tuple[str, str], Series] = {}
        self._tables = Tables()
        self._opened: set[str] = set()
        self._foreign = Coverage("reported-computed", "logged values")
        self._lost: set[tuple[str, str]] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """A finding for each series, when enough of its values have departed."""
        if isinstance(observation, Hello):
            self._greet(observation)
        elif isinstance(observation, StepRecord):
            yield from self._step(observation)
        elif isinstance(observation, StepsPassed):
            yield from self._passed(observation)
        elif isinstance(observation, MetricsLogged):
            yield from self._logged(observation)
        elif isinstance(observation, MetricsOpened):
            if len(self._opened) < MAX_FILES:
                self._opened.add(observation.path)
        elif isinstance(observation, ProcessEnded):
            self._ended(observation.origin.pid)

    def finish(self) -> Iterator[Finding]:
        """Series that could not be explained before all losses were there are tried once more."""
        for series in list(self._series.values()):
            for shown in series.finish(self._counts(series)):
                yield from self._finding(series, shown)

    def coverage(self) -> Coverage:
        """Logged values that were compared with what they should be, of those that are known as the loss."""
        if not any(series.ever for series in self._series.values()):
            reason = "the job wrote no file of metrics of a known kind"
            if self._series:
                reason = f"none of {len(self._series)} logged series is explained by the computed loss"
            if reason not in self._coverage.reasons:
                self._coverage.skip(reason)
        if self._foreign.possible and FOREIGN not in self._coverage.reasons:
            self._coverage.skip(FOREIGN)
        explained = [self._is_held(series) for series in self._series.values() if series.ever]
        # It is this job's report by all that it says. Beside a report that was compared it is a neighbour's.
        self._coverage.stopped = UNSEEN if explained and not any(explained) else ""
        return self._coverage

    # --- what was computed -----------------------------------------------------------------------

    def _greet(self, hello: Hello) -> None:
        ids = hello.ids
        size = ids.get("WORLD_SIZE", "1")
        world = int(size) if size.isascii() and size.isdecimal() and len(size) < 5 else 1
        if hello.role != "rank" or world < 2 or ids.get("LOCAL_WORLD_SIZE", size) != size:
            return
        name = ids.get("TORCHELASTIC_RUN_ID", "none")
        if name == "none":
            name = f"{hello.ppid}:{ids.get('MASTER_PORT', '')}"
        self._jobs[hello.origin.pid] = f"{name}:{ids.get('TORCHELASTIC_RESTART_COUNT', '')}", world

    # Losses that are means at the end of an epoch, or have another part at some steps, are too many to count.
    bounds: Bounds | None = None

    def begun(self, step: StepRecord) -> Computed | None:
        """What is followed of an optimizer whose first step this is; None when nothing is yet."""
        return Computed(Losses("the loss", step.origin.rank))

    def _step(self, step: StepRecord) -> Iterator[Finding]:
        key = step.origin.pid, step.optimizer
        known = self._optimizers.get(key)
        if known is None:
            pids = {pid for pid, _ in self._optimizers} | {step.origin.pid}
            if len(pids) > MAX_PROCESSES or step.optimizer >= MAX_OPTIMIZERS:
                self._coverage.skip("more processes or optimizers than are followed")
                return
            known = self.begun(step)
            if known is None:
                return
            self._optimizers[key] = known
        values = known.put(step)
        job = self._jobs.get(step.origin.pid)
        if job is not None:
            ranks = self._ranks.setdefault((job[0], step.optimizer), _Ranks(job[1]))
            mine = self._ranks_of.setdefault(step.origin.pid, [])
            if ranks not in mine:
                mine.append(ranks)
            ranks.put(step.origin.pid, step.step, values)
        yield from self._moved_on()

    def _passed(self, steps: StepsPassed) -> Iterator[Finding]:
        pid = steps.origin.pid
        known = self._optimizers.get((pid, steps.optimizer))
        if known is None:
            return
        until = steps.first + steps.count
        known.passed(until)
        job = self._jobs.get(pid)
        ranks = self._ranks.get((job[0], steps.optimizer)) if job is not None else None
        if ranks is not None:
            ranks.passed(pid, until)
        yield from self._moved_on()

    def _ended(self, pid: int) -> None:
        for (owner, _), computed in self._optimizers.items():
            if owner == pid:
                computed.ended()
        for ranks in self._ranks_of.get(pid, ()):
            for losses in ranks.means.values():
                losses.ended = True

    def _moved_on(self) -> Iterator[Finding]:
        """More losses are known, or known to stay unknown."""
        self._tables.clear()
        for series in list(self._series.values()):
            for shown in series.losses_came(self._counts(series)):
                yield from self._finding(series, shown)

    def _sources(self, pid: int) -> Sequence[Losses]:
        """What a file that ``pid`` writes may report: its own losses and its ranks' means, or everyone's."""
        own = [one for (owner, _), one in self._optimizers.items() if owner == pid]
        ranks = list(self._ranks_of.get(pid, ()))
        if not own:
            own = sorted(self._optimizers.values(), key=lambda one: max(one.last.rank, 0))
            ranks = list(self._ranks.values())
        means = [losses for one in ranks for losses in one.means.values()]
        return [*(losses for one in own for losses in one.all()), *means][:MAX_SOURCES]

    # --- what was logged -------------------------------------------------------------------------

    def _logged(self, logged: MetricsLogged) -> Iterator[Finding]:
        for value in logged.values:
            key = logged.path, value.key
            series = self._series.get(key)
            if series is None:
                if len(self._series) >= MAX_SERIES:
                    self._coverage.skip("more series are logged than are followed")
                    continue
                series = self._series[key] = self._new(logged, value.key)
            series.held = series.held or logged.held
            if logged.origin.pid:
                series.pid = logged.origin.pid
            for shown in series.take(value.step, value.low, value.high, self._counts(series)):
                yield from self._finding(series, shown)

    def _new(self, logged: MetricsLogged, key: str) -> Series:
        series: Series

        def sources() -> Sequence[Losses]:
            return self._sources(series.pid)

        series = Series(logged.path, key, logged.origin.pid, self._tables, sources, self.bounds)
        return series

    def _is_held(self, series: Series) -> bool:
        """Whether a process of the job was seen to have the file open for writing, or said that it opens it.

        Another run of the same command may write into the same folder, and its losses are the same for a
        while.
        """
        return series.held or series.path in self._opened

    def _counts(self, series: Series) -> Coverage:
        """Where the values of a series are counted: what may be another job's is no part of this one's."""
        return self._coverage if self._is_held(series) else self._foreign

    def _finding(self, series: Series, shown: Shown) -> Iterator[Finding]:
        losses = shown.hypothesis.losses
        if not self._is_held(series):
            return
        if shown.kind == "lost":
            others = (one for one in self._series.values() if one is not series and one.hypothesis)
            explained = any(
                one.hypothesis is not None
                and one.hypothesis.losses is losses
                and one.newest_match > shown.first.step
                for one in others
            )
            if explained or (series.path, series.key) in self._lost:
                return
            self._lost.add((series.path, series.key))
        severity = self.severity[shown.kind]
        yield finding_of(
            self.rule,
            series.key,
            _message(series, shown),
            rank=losses.rank,
            first_step=shown.first.step,
            locations=(Location(series.path),),
            severity=severity,
            confidence=Confidence.HIGH if severity is Severity.ERROR else Confidence.MEDIUM,
            evidence=_evidence(shown),
        )


def _message(series: Series, shown: Shown) -> str:
    step, relation = shown.first.step, shown.hypothesis.relation.describe()
    what = f"{series.key!r} was {relation} ({shown.hypothesis.losses.name})"
    how = shown.alike.describe() if shown.alike is not None else ""
    if shown.kind == "changed":
        return f"{what} for {quantity(series.matched, 'value')}; from step {step} on it is {how} that"
    if shown.kind == "scattered":
        return f"{what}, but {_odd(shown.count)} {how} that, the first at step {step}"
    if shown.kind == "undecided":
        return (
            f"{what}, but {_odd(shown.count)} {how} that, the first at step {step}; whether the report or "
            "what was computed moved cannot be told"
        )
    if shown.kind == "weighted":
        return (
            f"{what}; from step {step} on it is {how} that. What was computed jumped there, not what was "
            "reported: a weight of the objective seems to have changed, and the report is without it"
        )
    if shown.kind == "single":
        much = shown.first.point.middle / shown.first.predicted if shown.first.predicted else math.inf
        return (
            f"{what} to all digits at {quantity(series.matched, 'value')}, but at step {step} it is "
            f"{much:.6g} times that, which is nothing that was computed"
        )
    if shown.kind == "multiple":
        return f"{series.key!r} is {how} {relation} in all of {quantity(shown.count, 'value')} compared"
    return (
        f"{what} for {quantity(series.matched, 'value')}; from step {step} on none of {shown.count} is "
        "explained by it"
    )


def _odd(count: int) -> str:
    return quantity(count, "value here or there is", "values here and there are")


def _evidence(shown: Shown) -> tuple[Evidence, ...]:
    odds = shown.alike.odds if shown.alike is not None else (shown.first,)
    return tuple(
        Evidence(
            f"logged for step {one.step}",
            expected=f"{one.predicted:.9g}",
            observed=f"{one.point.middle:.9g}",
        )
        for one in odds[:MAX_SHOWN]
    )
