"""``veracity run``: one job from launch to verdict.

The monitor is the job's parent. It prepares, launches, receives, judges and records; whatever happens to it,
the job goes on, and whatever happens to the job, the record ends in order.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.observation import ReferenceDeclared, SealChecked, SignalForwarded, StacksUnavailable
from ..core.origin import monitor_origin
from ..core.summary import RunSummary
from ..core.verdict import Outcome
from ..ledger.witness.asking import KnownWitness
from ..ledger.witness.policy import Policy
from ..scan.gate.config import ScanConfig
from . import launch
from .attention import Attention
from .clocks import ClockWatch
from .conditions import Conditions
from .folder import RunFolder, create_folder
from .hang import HANG_AFTER, Hangs
from .listener import Listener
from .metricfiles import MetricFiles
from .nodes.joining import join
from .pace import Pace
from .pipeline import Pipeline
from .prepare import Prepared, prepare
from .processes import Processes
from .stacks import WARM_STEPS, Stacks, find_py_spy
from .stamping import stamp
from .summary import load_summary
from .thrift import Thrift
from .witnessing import Witnessing
from .workers import Workers

READ_EVERY = 0.05
ASKED_EVERY = 0.01
"""The same while a process waits to hear whether it may load a file."""
PORTION_SECONDS = 1.0
"""So long a turn takes in what the job wrote: one that gets next to nothing must end to get more."""
READS_AT_AN_END = 16
COMMIT_EVERY = 1.0
CALM_COMMIT_EVERY = 4.0
"""The same while all guards rest and nothing came but what always comes: each sync takes a core, too."""
GRACE = 3.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run.

    ``policy``: ``observe``, or ``enforce``: stop what is broken or unobserved. ``overhead`` is the share of
    training time, 0 to 1, that checks made on sampled steps may take. ``job`` names the job over several
    nodes that the run is part of, ``job_folder`` where their monitors meet; both are found out without.
    ``references`` declare what optimizers compute that are not torch's. ``witnesses`` are asked to cosign;
    ``witness_policy`` says how many of them are enough. ``timestamps`` are addresses of authorities.
    ``sealed``: how the seal stood that the run is started on (:func:`.startcheck.check_start`). ``scan``:
    what the site permits in files that are loaded.
    """

    home: Path
    policy: str = "observe"
    name: str = ""
    stacks: bool = True
    quiet: bool = False
    overhead: float = 0.01
    environment: Mapping[str, str] | None = None
    hang_after: float = HANG_AFTER
    job: str = ""
    job_folder: Path | None = None
    references: Sequence[ReferenceDeclared] = ()
    witnesses: Sequence[KnownWitness] = ()
    sealed: SealChecked | None = None
    witness_policy: Policy | None = None
    timestamps: Sequence[str] = ()
    scan: ScanConfig = field(default_factory=ScanConfig)


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job: its run id, the exit code for ``run``, and the summary.

    ``uncosigned``: a sentence for each witness that did not sign the finished record, and one when too few
    did for the policy; ``witnessed``: whether it was reached. ``unstamped``: one for each authority that did
    not stamp it.
    """

    run: str
    exit_code: int
    summary: RunSummary
    uncosigned: Sequence[str] = ()
    witnessed: bool = True
    unstamped: Sequence[str] = ()


def run_job(command: Sequence[str], options: RunOptions) -> JobResult:
    """Run ``command`` guarded and return when it has ended and the verdict is recorded.

    Raises UsageError for a home that cannot be used; CommandError (a UsageError) when the command cannot be
    started, after that has been recorded.
    """
    started_at = time.time_ns()
    folder = create_folder(options.home.absolute(), started_at)
    environment = os.environ if options.environment is None else options.environment
    joined = join(folder, started_at, command, environment, job=options.job, place=options.job_folder)
    enforces = options.policy == "enforce"
    prepared = prepare(folder, environment, options.overhead, joined.key, enforces=enforces)
    metrics = MetricFiles.of(command, Path.cwd())
    witnessing = Witnessing(folder, options.witnesses, options.witness_policy)
    with Pipeline.create(folder, command, started_at, prepared, options, joined) as pipeline:
        witnessing.start()
        signals = launch.Signals()
        try:
            process = launch.start(command, prepared.environment)
        except launch.CommandError as error:
            signals.close()
            pipeline.finish(exit_code=error.status, note=str(error))
            witnessing.close()
            _clean_up(folder, prepared)
            raise
        launch.become_subreaper()
        signals.reach(process.pid)
        loop = Loop(folder, prepared.socket, pipeline, process.pid, options, metrics, witnessing, signals)
        status = loop.run()
        status = 1 if status is None else status
        process.returncode = status
        exit_code = launch.shell_status(status)
        verdict = pipeline.finish(exit_code=exit_code)
        if joined.peers is not None:
            joined.peers.close(verdict.outcome.value)
    uncosigned = witnessing.close()
    unstamped = stamp(folder, options.timestamps)
    _clean_up(folder, prepared)
    summary = load_summary(folder.path)
    if enforces and exit_code == 0 and verdict.outcome is not Outcome.HELD:
        exit_code = verdict.outcome.exit_code
    return JobResult(folder.run, exit_code, summary, uncosigned, witnessing.is_reached(), unstamped)


def _clean_up(folder: RunFolder, prepared: Prepared) -> None:
    with contextlib.suppress(OSError):  # what the job starts from now on has the sources
        folder.code.unlink()
    if prepared.socket_folder is not None:
        shutil.rmtree(prepared.socket_folder, ignore_errors=True)
    if folder.spool.exists() and not any(folder.spool.iterdir()):
        folder.spool.rmdir()


class Loop:
    """The monitor's event loop: sockets, pidfds, signals, and a short tick.

    ``above``: the process that started the command, this one by default.
    """

    def __init__(
        self,
        folder: RunFolder,
        socket: Path,
        pipeline: Pipeline,
        pid: int,
        options: RunOptions,
        metrics: MetricFiles,
        witnessing: Witnessing,
        attended: launch.Attended,
        above: int = 0,
    ) -> None:
        self._pipeline = pipeline
        self._witnessing = witnessing
        self._metrics = metrics
        self._pid = pid
        self._enforce = options.policy == "enforce"
        self._selector = selectors.DefaultSelector()
        self._attended = attended
        self._selector.register(attended.reader, selectors.EVENT_READ)
        self._listener = Listener(socket, self._selector)
        self._processes = Processes(pid, str(folder.archive), self._selector, above=above or os.getpid())
        pipeline.attach_processes(self._processes)
        program = find_py_spy() if options.stacks else None
        self._stacks = Stacks(program) if program is not None else None
        if self._stacks is None:
            why = "py-spy is not installed" if options.stacks else "switched off by --no-stacks"
            pipeline.observe(StacksUnavailable(monitor_origin(time.time_ns()), why))  # coverage, not a gap
        read = None if self._stacks is None else self._stacks.read
        self._hangs = Hangs(read, options.hang_after)
        self._conditions = Conditions(self._processes)
        self._workers = None if read is None else Workers(self._processes, read)
        self._slept = (0.0, 0.0)
        self._attention = Attention(time.monotonic())
        self._thrift = Thrift(options.overhead)
        self._clocks = ClockWatch()
        self._next_read = self._committed = 0.0
        self._stopped = False

    def run(self) -> int | None:
        """Serve until the job has ended; its wait status as ``Popen.returncode`` has it, None if unseen."""
        pace = Pace()
        try:
            while self._pid in self._processes.known and not self._attended.leaves:
                self._turn()
                pace.turned()
                for held in self._conditions.slept(*self._slept, pace.starved, self._pipeline.last_step):
                    self._pipeline.observe(held)
            self._wait_for_goodbyes()
        finally:
            pace.end()
            if not self._attended.leaves:
                self._look_last()
            self._listener.close()
            self._processes.close()
            self._attended.close()
            self._selector.close()
        status = self._processes.statuses.get(self._pid)
        return os.waitstatus_to_exitcode(status) if status is not None else None

    def _hear(self) -> None:
        """What reached whoever stands beside the job."""
        for number, _ in self._attended.take():
            if number != signal.SIGCHLD:
                self._processes.forwarded.append(number)
                self._pipeline.observe(SignalForwarded(monitor_origin(time.time_ns()), number))
        for gap in self._attended.gaps():
            self._pipeline.observe(gap)

    def _look_last(self) -> None:
        """The job has ended: what is left of what it wrote."""
        self._hear()
        self._pipeline.drain()
        for seen in self._metrics.last():
            self._pipeline.observe(seen)
        self._pipeline.hear_peers(last=True)

    def _turn(self) -> None:
        now = time.monotonic()
        calm = self._is_calm()
        interval = self._attention.interval(now, calm=calm, stretch=self._thrift.stretch)
        # In a rest what the checkers finish waits for the next reading.
        if (self._pipeline.busy and not calm) or self._pipeline.held_back or self._stopped:
            interval = min(interval, READ_EVERY)
        if self._pipeline.loads.asked:
            interval = min(interval, ASKED_EVERY)
        asked = time.monotonic()
        ready = self._selector.select(interval)
        self._slept = interval, time.monotonic() - asked
        for gap in self._clocks.look(self._pipeline.last_step):
            self._pipeline.observe(gap)
        for key, _ in ready:
            self._ready(key.fileobj)
        if self._pipeline.loads.asked:
            self._pipeline.take_loads()
        now = time.monotonic()
        self._hear()
        fresh = now >= self._next_read and self._take_in(now, calm=calm)
        self._look(now, fresh=fresh)
        quiet = calm and not self._pipeline.has_news
        if now - self._committed >= (CALM_COMMIT_EVERY if quiet else COMMIT_EVERY):
            self._committed = now
            self._pipeline.commit()
        if self._enforce and not self._stopped and self._pipeline.must_stop():
            self._stopped = True
            self._pipeline.stopped_by_policy()
            self._attended.end()
            self._processes.forwarded.append(signal.SIGTERM)

    def _take_in(self, now: float, *, calm: bool) -> bool:
        """What the job wrote, and what it does beside that; whether nothing of the former was left."""
        self._next_read = now + self._until_next(now, calm=calm)
        self._pipeline.read(PORTION_SECONDS)
        for seen in self._processes.scan():
            self._pipeline.observe(seen)
        for logged in self._metrics.look(self._processes.trainers(), calm=calm):
            self._pipeline.observe(logged)
        self._pipeline.hear_peers()
        for gap in self._witnessing.gaps():
            self._pipeline.observe(gap)
        if self._pipeline.held_back:
            self._next_read = now
        return not self._pipeline.held_back

    def _until_next(self, now: float, *, calm: bool) -> float:
        """Seconds until what the job wrote is read again."""
        if calm:  # what comes then is not due at once
            return self._thrift.after(now)
        self._thrift.forget()
        return READ_EVERY

    def _is_calm(self) -> bool:
        """Whether every process that trains lets steps pass."""
        training = [known.pid for known in self._processes.known.values() if known.step >= 0]
        return bool(training) and self._pipeline.resting.issuperset(training)

    def _look(self, now: float, *, fresh: bool) -> None:
        """At the processes from outside: stacks, and what is done to them."""
        for pid, rank, step, ended in self._pipeline.take_steps():
            ago = self._clocks.ago(ended)
            for over in self._hangs.stepped(pid, rank, step, ago):
                self._pipeline.observe(over)
            if self._stacks is not None:
                self._stacks.stepped(pid, rank, step, ago)
                if step == WARM_STEPS:
                    self._attention.caught(now)
        waits: dict[int, str] = {}
        if self._stacks is not None:
            for pid in self._pipeline.resting:
                self._stacks.rests(pid)
            for sample in self._stacks.look(fresh=fresh):
                self._pipeline.observe(sample)
            if self._stacks.sees_sleep:
                self._attention.caught(now)
            waits = self._stacks.waits()
        for seen in self._conditions.look(waits):
            self._pipeline.observe(seen)
        if self._workers is not None:
            for workers in self._workers.look():
                self._pipeline.observe(workers)
        if self._pipeline.channels is not None:
            for channel in self._pipeline.channels.look():
                self._pipeline.observe(channel)
        if fresh:
            for stuck in self._hangs.look():
                self._pipeline.observe(stuck)

    def _ready(self, candidate: object) -> None:
        if self._listener.owns(candidate):
            for peer, frame in self._listener.ready(candidate):
                if not self._pipeline.loads.heard(peer, frame):
                    self._pipeline.heard(peer, frame)
        elif isinstance(candidate, int) and self._processes.owns(candidate):
            self._processes.note_status(candidate)
            # All that the process wrote is read before its end is noted: which step was its last? But a
            # job that writes faster than anybody reads does not keep us from looking at it.
            for _ in range(READS_AT_AN_END):
                if not self._pipeline.read():
                    break
            ended = self._processes.ended(candidate)
            if ended is not None:
                self._hangs.ended(ended.origin.pid)
                if self._stacks is not None:
                    self._stacks.forget(ended.origin.pid)
                self._pipeline.observe(ended)
            for gap in self._processes.ended_unheard():
                self._pipeline.observe(gap)

    def _wait_for_goodbyes(self) -> None:
        """The command has ended: give guarded processes that are still there a moment to end as well."""
        deadline = time.monotonic() + GRACE
        while self._processes.greeted_alive() and time.monotonic() < deadline and not self._attended.leaves:
            self._turn()
        left = self._processes.greeted_alive()
        if left and not self._attended.leaves:
            self._pipeline.outlived(left)
