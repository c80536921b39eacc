"""Observe, detect, record: what happens to everything the monitor hears or sees about one run."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from ..core import observation as seen
from ..core.errors import Error, EvidenceError
from ..core.origin import monitor_origin
from ..core.quantity import quantity
from ..core.verdict import Outcome, Verdict
from ..core.wire import Frame
from ..detect.registry import DETECTORS, GATE_RULES
from ..ledger.blobs import Blobs
from ..ledger.entry import Entry
from ..ledger.files import write_private
from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from ..ledger.reader import Reader
from ..ledger.store import Ledger
from ..observe import process
from . import gaps
from .accounts import recording
from .allowance import Allowance
from .channels import ChannelLooks, written
from .code import Code
from .contractfile import ContractFile
from .decode import Header, observation_of, read_header
from .earlier import EarlierKept
from .files import CheckpointFiles
from .folder import RunFolder, close_document, write_document
from .judge import Judge
from .libraries import Libraries
from .lineage import Lineage, described
from .listener import Peer
from .loads import Loads
from .opening import masker_of, opening_entry, run_document
from .prepare import CONFIG_VARIABLE, sampling_key
from .recorder import Recorder
from .replayed import replayed
from .retention import make_room
from .sealing import seal_run
from .spool import Damage, SpoolReader
from .startup import Startup
from .streams import Source

if TYPE_CHECKING:
    from .job import RunOptions
    from .nodes.joining import Joined
    from .nodes.peers import Peers
    from .prepare import Prepared
    from .processes import Known, Processes

SETTLE_SECONDS = 90.0
DRAIN_SECONDS = 60.0
"""How long the end of a run waits for an account that wrote more than it may have taken in at once."""
HELD_BACK_SECONDS = 0.05
LOOK_CLOSELY = ("earlier-runs",)
"""Laws of weak signals that the guard cannot see itself: it is asked to look closely."""
APPROVAL = "approval"


class Pipeline:
    """Takes in frames and the monitor's own observations; judges and records each as it comes."""

    def __init__(
        self,
        folder: RunFolder,
        ledger: Ledger,
        signer: SigningKey,
        started_at: int,
        command: Sequence[str],
        key: bytes,
        allowance: Allowance | None = None,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._signer = signer
        self._started_at = started_at
        self._command = command
        self._masker = masker_of(key)
        self._allowance = allowance or Allowance()
        self._recorder = Recorder(ledger, Blobs(folder.blobs), self._allowance)
        self._judge = Judge(DETECTORS)
        self._spool = SpoolReader(folder.spool)
        self._sources: dict[str, Source] = {}
        self._by_pid: dict[int, str] = {}
        self._verified: dict[str, int] = {}
        self._lineage = Lineage(folder.home, folder.run)
        self._files = CheckpointFiles(self._lineage, folder.run)
        self.loads = Loads(self._lineage, saving=lambda: self._files.pending > 0)
        self._code = Code(folder, started_at)
        self._startup = Startup(folder.home / "cache", folder.archive, command)
        self._processes: Processes | None = None
        self._steps: list[tuple[int, int, int, int]] = []
        self.environment: Mapping[str, str] = os.environ
        """The job's, as it was started."""
        self.held_back = False
        """Whether more lies in the spools than may be taken in at once."""
        self.resting: set[int] = set()
        """Processes whose guard does not look at the steps that are made now."""
        self._last_step = -1
        self._unobserved = False
        self._hello: seen.Hello | None = None
        self._read_files: dict[str, tuple[str, int]] = {}
        self._libraries = Libraries(self._code, started_at)
        self._contract = ContractFile(folder.contract)
        self._earlier = EarlierKept(folder.home, folder.run)
        self.channels: ChannelLooks | None = None
        self._peers: Peers | None = None

    # --- opening and closing ---------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        folder: RunFolder,
        command: Sequence[str],
        started_at: int,
        prepared: Prepared,
        options: RunOptions,
        joined: Joined,
        signer: SigningKey | None = None,
        allowance: Allowance | None = None,
    ) -> Pipeline:
        """A new run: its ledger, its first entry, and the home's key when no ``signer`` is given."""
        with recording():
            signer = signer or SigningKey.load_or_create(folder.home / KEY_FILE, KEY_NAME)
            ledger = Ledger.create(folder.ledger, f"{KEY_NAME}/{folder.run}", signer)
            write_private(folder.verifier, signer.verifier.vkey.encode() + b"\n")
        pipeline = cls(folder, ledger, signer, started_at, command, prepared.key, allowance)
        pipeline.loads.config, pipeline.loads.enforces = options.scan, options.policy == "enforce"
        archive = str(prepared.archive)
        entry = opening_entry(folder, command, started_at, prepared.key, archive, options, code=prepared.code)
        pipeline._recorder.entry("run", entry)
        pipeline._observe_all(joined.said)
        pipeline._peers = joined.peers
        if options.sealed is not None:
            pipeline._observe_all([options.sealed, *pipeline._code.started_on(options.sealed, command)])
        pipeline._observe_all(options.references)
        pipeline._recorder.commit(publish=True)
        write_document(folder.document, run_document(entry, options.sealed))
        return pipeline

    @classmethod
    def resume(
        cls,
        folder: RunFolder,
        signer: SigningKey | None = None,
        key: bytes = b"",
        allowance: Allowance | None = None,
    ) -> Pipeline:
        """A run whose monitor ended before it: everything recorded so far is judged again, then it goes on.

        ``signer`` and ``key`` (for sampling) are the home's and the run's own, where none are given. Raises
        UsageError while another monitor writes to its ledger, EvidenceError when it cannot be read.
        """
        key = key or sampling_key(folder)
        with recording():
            signer = signer or SigningKey.load(folder.home / KEY_FILE, KEY_NAME)
            ledger = Ledger.open(folder.ledger, signer)
        try:
            with recording(), Reader(folder.ledger) as reader:
                entries = [Entry.decode(data) for data in reader.entries()]
            opening = entries[0].body if entries else {}
            words = opening.get("command")
            command = [str(word) for word in words] if isinstance(words, list) else []
            started = opening.get("started_at")
            began = started if isinstance(started, int) else 0
            pipeline = cls(folder, ledger, signer, began, command, key, allowance)
            pipeline._judge_again(entries)
        except BaseException:
            with recording():
                ledger.close()
            raise
        return pipeline

    def _judge_again(self, entries: Sequence[Entry]) -> None:
        """Bring detectors and sequence numbers to where the record ends."""
        blobs = Blobs(self._folder.blobs)
        for index, entry in enumerate(entries):
            try:
                with recording():
                    observation = replayed(entry, blobs)
            except Error as error:
                self.observe(gaps.of_monitor(f"entry {index} could not be judged again", str(error)))
                continue
            name, pid, number = (entry.body.get(part) for part in ("stream", "pid", "seq"))
            if isinstance(name, str) and isinstance(pid, int) and isinstance(number, int):
                source = self._sources.setdefault(name, Source(name, pid, verified=True))
                source.next_seq = source.recorded_below = number + 1
                if isinstance(observation, seen.Hello):
                    source.greeted(observation)
                self._noted(source, observation)
            if isinstance(observation, seen.ModuleChecked):
                self._code.checked[observation.path] = observation
            elif isinstance(observation, seen.EarlierRuns):
                self._earlier.take(observation)
            elif isinstance(observation, seen.SealChecked):
                self._observe_all(self._code.open_seal(observation))
            if observation is not None:
                list(self._judge.observe(observation))

    def alive(self) -> list[int]:
        """Guarded processes that have not said goodbye and still run with this run's configuration."""
        mine = str(self._folder.guard_config)
        return [
            source.pid
            for source in self._sources.values()
            if not source.said_goodbye
            and (process.read_environ(source.pid, frozenset({CONFIG_VARIABLE})) or {}).get(CONFIG_VARIABLE)
            == mine
        ]

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()
        self.loads.close()
        self._libraries.close()
        self._code.close()
        with recording():
            self._ledger.close()

    def attach_processes(self, processes: Processes) -> None:
        """Tell the process watcher who greeted and stepped."""
        self._processes = processes
        processes.mask = self._masker.command
        processes.is_ours = lambda pid: pid in (self._code.worker_pid, self.loads.worker_pid)
        self.channels = ChannelLooks(processes, self._code.folders, self._code)
        alive = set(self.alive())
        for source in self._sources.values():
            if source.hello is not None and source.pid in alive:
                processes.greeted(source.hello, source.pid, source.rank)
                processes.stepped(source.pid, source.last_step)

    # --- what the guards say ---------------------------------------------------------------------

    def read(self, seconds: float = math.inf) -> bool:
        """Take in what is new in the spools, for about ``seconds``, and what was checked; may more wait?"""
        until, self.held_back, before = time.monotonic() + seconds, False, self._spool.taken
        for item in self._spool.read():
            if not self._allowance.record() or time.monotonic() > until:
                self.held_back = True
            if isinstance(item, Damage):
                self._damaged(item.stream, item.pid, item.reason)
            else:
                stream, frame = item
                self._frame(stream.name, stream.pid, frame)
            if self.held_back:
                break  # what is not taken in waits where the job wrote it
        self._collect()
        if not self._code.pending:
            self._spool.recorded()  # modules are recorded by what their check found
        for source in self._sources.values():
            if source.falls_silent():
                self.observe(gaps.silent(source))
        return self._spool.taken != before and not self.held_back

    def heard(self, peer: Peer, frame: Frame) -> None:
        """A datagram from a guard; the kernel says that it comes from ``peer``."""
        try:
            header = read_header(frame)
        except EvidenceError:
            return
        spool = header.body.get("spool")
        if header.kind == "hello" and isinstance(spool, str):
            self._verified[spool] = peer.pid
            self._by_pid[peer.pid] = spool
            source = self._sources.get(spool)
            if source is not None:
                source.verified = source.pid == peer.pid
            self.read()
        elif peer.pid in self._by_pid:
            self.read()
            self._frame(self._by_pid[peer.pid], peer.pid, frame)

    def _frame(self, name: str, pid: int, frame: Frame) -> None:
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = Source(name, pid)
        source.verified = self._verified.get(name) == pid
        try:
            header = read_header(frame)
            if header.seq < source.recorded_below:
                self._caught_up(source, header, frame)
                return
            if header.seq < source.next_seq:
                self._damaged(name, pid, f"record {header.seq} came again after {source.next_seq - 1}")
                return
            if header.seq > source.next_seq:
                self._missing(source, header.seq)
            source.next_seq = header.seq + 1
            observation = observation_of(header, frame, pid=pid, rank=source.rank, verified=source.verified)
        except EvidenceError as error:
            self._damaged(name, pid, str(error))
            return
        source.heard(step=header.kind in ("step", "rested"))
        if isinstance(observation, seen.Hello):
            source.greeted(observation)
            observation = observation_of(header, frame, pid=pid, rank=source.rank, verified=source.verified)
        asked = self._earlier.ask(observation) if isinstance(observation, seen.StepRecord) else None
        if asked is not None:
            self.observe(asked)
        index = -1
        if not isinstance(observation, seen.ModuleImported):
            index = self._recorder.record(name, source.rank, pid, header, frame)
        self._taken_in(source, observation, frame, index)

    def _caught_up(self, source: Source, header: Header, frame: Frame) -> None:
        """A record the ledger has already; modules are not entries of their own, so they may still be due."""
        if header.kind != "module":
            return
        module = observation_of(header, frame, pid=source.pid, rank=source.rank, verified=source.verified)
        if isinstance(module, seen.ModuleImported) and module.path not in self._code.checked:
            self._code.imported(module, frame.blob)

    def _taken_in(self, source: Source, observation: seen.Observation, frame: Frame, index: int) -> None:
        self._noted(source, observation)
        if self._peers is not None:
            self._peers.take(observation)
        if isinstance(observation, seen.StepRecord):
            self._steps.append((source.pid, source.rank, observation.step, observation.origin.at))
            self.resting.discard(source.pid)
            self._libraries.look(self._code.pids, at_once=source.steps == 1)
            if self._processes is not None:
                self._processes.stepped(source.pid, observation.step)
        elif isinstance(observation, seen.StepsPassed):
            self._passed_over(source, observation)
        elif isinstance(observation, seen.Hello):
            python = self._code.python_of(observation)
            self._observe_all(self._startup.greeted(observation, python, self._code.records))
        elif isinstance(observation, seen.ModuleImported):
            self._code.imported(observation, frame.blob)
        elif isinstance(observation, seen.FunctionsSeen):
            self._code.functions(observation)
        elif isinstance(observation, seen.StartedWith):
            self._observe_all(self._startup.began(observation))
        elif isinstance(observation, seen.ChannelUsed) and observation.kind == "write":
            self.observe(written(observation, self._code))
        elif isinstance(observation, seen.FileLoading):
            self.loads.told(observation)
        elif isinstance(observation, (seen.CheckpointSaved, seen.CheckpointLoaded)):
            gap = self._files.submit(observation)
            if gap is not None:
                self.observe(gap)
        self._detect(observation, index)

    def _passed_over(self, source: Source, passed: seen.StepsPassed) -> None:
        """Steps were made that the guard did not look at, or it begins not to."""
        self.resting.add(source.pid)
        if passed.count:
            self._steps.append((source.pid, source.rank, source.last_step, passed.origin.at))
            if self._processes is not None:
                self._processes.stepped(source.pid, source.last_step)

    def _noted(self, source: Source, observation: seen.Observation | None) -> None:
        """What a record says about its source, the ranks and the contract."""
        if observation is not None:
            self._contract.take(observation)
            self._earlier.take(observation)
        if isinstance(observation, seen.Hello):
            self._greeted(source, observation)
        elif isinstance(observation, seen.StepRecord):
            source.steps += 1
            if source.steps == 1:
                with contextlib.suppress(OSError):
                    self._contract.write()
            source.last_step = self._last_step = observation.step
            self._judge.ranks_heard.add(source.rank)
        elif isinstance(observation, seen.StepsPassed):
            source.steps += observation.count
            last = observation.first + observation.count - 1
            source.last_step = self._last_step = max(source.last_step, last)
        elif isinstance(observation, seen.Goodbye):
            source.said_goodbye, source.dropped = True, observation.dropped

    def _greeted(self, source: Source, hello: seen.Hello) -> None:
        self._hello = self._hello or hello
        self._code.greeted(hello)
        if source.role == "rank":
            self._judge.ranks_heard.add(source.rank)
            size = hello.ids.get("LOCAL_WORLD_SIZE", hello.ids.get("WORLD_SIZE", "1"))
            if size.isascii() and size.isdecimal() and len(size) <= 4:
                self._judge.ranks_expected = max(self._judge.ranks_expected, int(size))
        if self._processes is not None:
            self._processes.greeted(hello, source.pid, source.rank)

    def _missing(self, source: Source, got: int) -> None:
        origin = monitor_origin(time.time_ns(), pid=source.pid, rank=source.rank)
        missing = seen.RecordsMissing(origin, source.name, source.next_seq, got, source.last_step)
        self.observe(missing)
        self.observe(gaps.missing(origin, source, got))

    def _damaged(self, name: str, pid: int, reason: str) -> None:
        source = self._sources.get(name) or Source(name, pid)
        origin = monitor_origin(time.time_ns(), pid=pid, rank=source.rank)
        self.observe(seen.RecordDamaged(origin, name, reason, source.next_seq - 1, source.last_step))
        self.observe(gaps.damaged(origin, source, pid, reason))

    # --- what the monitor sees -------------------------------------------------------------------

    def observe(self, observation: seen.Observation) -> None:
        """Record and judge something the monitor saw by itself."""
        index = self._recorder.observed(observation)
        self._detect(observation, index)

    def _observe_all(self, observations: Iterable[seen.Observation]) -> None:
        for observation in observations:
            self.observe(observation)

    def _detect(self, observation: seen.Observation, index: int) -> None:
        if isinstance(observation, seen.Gap) and observation.law == "update":
            self._unobserved = True
        if isinstance(observation, seen.Gap) and observation.stops:
            self._judge.stopped.append(f"{observation.law}: {observation.what}: {observation.reason}"[:400])
        for finding in self._judge.observe(observation):
            self._recorder.finding(finding, index)
            if finding.law in LOOK_CLOSELY:
                with contextlib.suppress(OSError):
                    write_private(self._folder.attention, f"{finding.rule}\n".encode())

    def take_loads(self, *, last: bool = False) -> None:
        """What the gate has read of files that are about to be loaded, recorded and judged."""
        self._observe_all(self.loads.poll(last=last))

    def _collect(self, seconds: float = 0.02, *, last: bool = False) -> None:
        self._observe_all(self._code.poll(seconds))
        self._libraries.look(self._code.pids)
        self._observe_all(self._libraries.poll())
        for observed, remember in self._files.poll(last=last):
            if remember is not None:
                entry = self._recorder.entry(
                    "checkpoint",
                    {
                        "digest": remember.digest,
                        "path": remember.path,
                        "at": remember.at,
                        "tensors": self._recorder.blob(described(remember.tensors).encode()),
                    },
                )
                try:
                    self._lineage.remember(remember, entry)
                except EvidenceError as error:
                    self.observe(gaps.of_monitor("a checkpoint is not in the home's table", str(error)))
            if isinstance(observed, seen.FileDigested) and observed.event == "loaded":
                self._read_files[observed.path] = (observed.digest, observed.size)
            if observed is not None:
                self.observe(observed)
        self.take_loads(last=last)

    def take_steps(self) -> list[tuple[int, int, int, int]]:
        """``(pid, rank, step, end in ns since the epoch)`` of the steps taken in since the last call."""
        steps, self._steps = self._steps, []
        return steps

    def hear_peers(self, *, last: bool = False) -> None:
        """What monitors of the job's other nodes say; ``last``: nothing more comes from this one."""
        if self._peers is not None:
            self._observe_all(self._peers.last() if last else self._peers.look())

    def outlived(self, left: Iterable[Known]) -> None:
        """Processes of the job are still there although the command has ended."""
        for known in left:
            command = " ".join(self._masker.command(known.command))[:160]
            self.observe(gaps.outlived(known, command, self._folder.run))

    def must_stop(self) -> bool:
        """For ``--policy enforce``: a finding has broken the run, or a process trains unobserved.

        What was found before the start does not stop what was started all the same, by an override; nor does
        what a file holds that was refused, and so not loaded.
        """
        found = (one for one in self._judge.findings if one.law != APPROVAL and one.rule not in GATE_RULES)
        return self._unobserved or any(finding.breaks for finding in found)

    def stopped_by_policy(self) -> None:
        """``--policy enforce`` ends the job."""
        self._recorder.entry("enforced", {"at": time.time_ns(), "step": self._last_step})

    @property
    def busy(self) -> bool:
        """Whether code or files are still being checked."""
        return any((self._code.pending, self._files.pending, self._libraries.pending, self.loads.pending))

    @property
    def last_step(self) -> int:
        """The last step taken in from any rank, -1 before the first."""
        return self._last_step

    @property
    def has_news(self) -> bool:
        """Whether anything waits for :meth:`commit` but what comes all the time in a run that goes well."""
        return self._recorder.has_news

    def commit(self) -> None:
        """Make what was recorded durable; the guards' files that hold nothing else are removed then."""
        if self._recorder.commit():
            self._spool.release()

    # --- the end ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """The job has ended: take in all that is left."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.read() or self.held_back:
            if self.held_back:
                if time.monotonic() > deadline:
                    said = "not all that the job wrote was taken in"
                    self.observe(gaps.of_monitor(said, self._allowance.pace))
                    break
                time.sleep(HELD_BACK_SECONDS)
        for torn in self._spool.torn():
            self._damaged(torn.stream, torn.pid, torn.reason)

    def finish(self, *, exit_code: int | None, note: str = "") -> Verdict:
        """Settle what is pending, seal, judge, and close the record."""
        self._settle()
        for source in self._sources.values():
            if source.role == "rank" and source.last_step >= 0 and not source.said_goodbye:
                self.observe(gaps.no_goodbye(source))
        for finding in self._judge.finish():
            self._recorder.finding(finding, -1)
        if self._judge.suppressed:
            what = quantity(self._judge.suppressed, "further finding is", "further findings are")
            self.observe(gaps.of_monitor(f"{what} not listed", "so many of the same rule are already"))
        with contextlib.suppress(OSError):
            self._contract.write()
        self._seal()
        if self._recorder.refused:
            refused = quantity(self._recorder.refused, "entry was", "entries were")
            self._judge.stopped.append(f"{refused} not recorded: {self._recorder.refusal}")
        verdict = self._judge.verdict()
        ended_at = time.time_ns()
        self._recorder.judged(
            verdict, self._judge.coverage(), {"exit_code": exit_code, "ended_at": ended_at, "note": note}
        )
        self._recorder.commit(publish=True)
        ending = {"verdict": verdict.outcome.value, "exit_code": exit_code, "ended_at": ended_at}
        close_document(self._folder, self._started_at, ending)
        self._discard_spools()
        if verdict.outcome is Outcome.HELD:
            self._keep_trusted()
        return verdict

    def _discard_spools(self) -> None:
        """The record is durable: what was taken in of processes that have ended need not be kept twice."""
        alive = set(self.alive())
        if not self._recorder.refused:
            self._spool.recorded()
            self._spool.release()
        for source in self._sources.values():
            if source.pid not in alive and not self._recorder.refused:
                with contextlib.suppress(OSError):
                    self._spool.discard(source.name)

    def _keep_trusted(self) -> None:
        """A held run's sources are what later changes are shown against; old sample blocks make room."""
        with contextlib.suppress(OSError):
            self._code.held()
            self._startup.held()
            make_room(self._folder.home, keep=self._folder.run)
        with contextlib.suppress(OSError):
            self._earlier.held(self._ledger.size, self._ledger.root().hex())

    def _seal(self) -> None:
        """Sign what the run consisted of; kept as a blob, beside the ledger, and named in it."""
        try:
            envelope = seal_run(
                self._folder.run, self._command, self._started_at, self._code, self._hello,
                self._libraries.all(), self._read_files, self.environment, self._masker, self._signer,
            )  # fmt: skip
            with recording():
                write_private(self._folder.seal, envelope)
        except (Error, OSError) as error:
            self.observe(gaps.of_monitor("the run could not be sealed", str(error)))
            return
        self._recorder.entry("seal", {"envelope": self._recorder.blob(envelope, closing=True)})

    def _settle(self) -> None:
        """Give the code and file checkers time to finish; what does not is a gap."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.busy and time.monotonic() < deadline:
            self._collect(seconds=0.25)
            time.sleep(0.005)
        self._collect()
        if self.busy:
            what, why = "not all code or files were checked", f"not finished after {SETTLE_SECONDS:.0f} s"
            self.observe(gaps.of_monitor(what, why))
        self._collect(last=True)
