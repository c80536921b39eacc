"""The process that records one run: as the job's account but for the record itself (:mod:`..accounts`).

It observes, judges and records as the monitor of a single account does, by the same loop and pipeline. What
it reads of the job (modules, checkpoints, repositories, ``/proc``) it reads as the job's account, and what it
starts (git, the job's interpreter) runs as that: there is nothing that a caller could have it open, that the
caller could not open anyway.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import stat
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.errors import Error, EvidenceError, TransportError, UsageError
from ...core.observation import Gap
from ...core.origin import monitor_origin
from ...ledger.blobs import Blobs
from ...ledger.files import write_private
from ...ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from ...ledger.timestamp import check_address
from ...ledger.witness.asking import KnownWitness
from ...ledger.witness.policy import Policy
from ...observe import process
from ...scan.gate.config import ScanConfig
from .. import accounts, launch
from ..allowance import TODAY, Allowance, Day
from ..attach import attend_to
from ..folder import RunFolder
from ..job import Loop, RunOptions
from ..loads import find_rules
from ..metricfiles import MetricFiles
from ..nodes.joining import join
from ..pipeline import Pipeline
from ..prepare import Prepared, prepare
from ..references import declared
from ..stamping import stamp
from ..witnessing import Witnessing
from .attendant import Attendant
from .caller import is_there, reaches_alike, sees_alike
from .handed import Handed, account_home, read_handed
from .order import Order, read_order
from .protocol import Channel, Judged, NotStarted, Open, Opened, Refused, Signalled, Started

START_SECONDS = 300.0
"""How long the caller may take to start its command once it is told that the run is open."""
ANSWER_SECONDS = 10.0
MAX_KNOWN = 32
MAX_COPIED = 32 << 20
MAX_SAID = 500
OOM_ADJUSTMENT = b"500"
CLOSED, FAILED, LEFT, BUSY = 0, 2, 75, 76
"""Exit codes: the record is closed; it failed; it was left to be taken up; another process has it."""


@dataclass(slots=True)
class _Keeper:
    """One run: who handed it over, where its record lies, and what may be recorded."""

    order: Order
    signer: SigningKey
    channel: Channel | None
    attendant: Attendant | None = None
    ended: bool = False

    @property
    def home(self) -> Path:
        """The home of the caller's account."""
        return account_home(Path(self.order.home), self.order.uid)

    def folder(self, place: Path) -> RunFolder:
        """The run's folders, those of the caller among them."""
        return RunFolder(self.home / "runs" / self.order.run, place, Path(self.order.guard))

    def allowance(self, folder: RunFolder) -> Allowance:
        """What the account may still have recorded, what this run took before included."""
        with accounts.recording():
            taken = Blobs(folder.blobs).size_bytes()
        return Allowance(self.order.quota, Day(self.home / TODAY), self.home, taken)

    def leave(self, *_: object) -> None:
        """The service ends (SIGTERM)."""
        self.ended = True
        if self.attendant is not None:
            self.attendant.leaves = True

    # --- a new run -------------------------------------------------------------------------------

    def record(self, opened: Open, channel: Channel) -> int:
        """From the caller's request to the verdict."""
        strange = sees_alike(self.order.pid)
        if strange:
            raise UsageError(strange, remedy="run a service where the job sees what it does")
        folder = self.folder(checked_place(opened.place, self.order.uid))
        folder.spool.mkdir(mode=0o700)
        _copy_known(self.home / "cache", folder)
        started_at = time.time_ns()
        environment = process.read_environ(self.order.pid) or {}
        options = _options(opened, environment, self.home, self.order)
        witnessing = _witnessing(folder, opened)
        if strange := (reaches_alike(self.order.pid) if opened.witnesses or opened.timestamps else ""):
            raise UsageError(strange, remedy="ask witnesses and authorities without --monitor")
        joined = join(
            folder,
            started_at,
            opened.command,
            environment,
            job=opened.job,
            place=Path(opened.job_folder) if opened.job_folder else None,
        )
        enforces = opened.policy == "enforce"
        prepared = prepare(folder, environment, opened.overhead, joined.key, enforces=enforces)
        handed = _handed(self.order, opened, prepared)
        handed.write(folder)
        metrics = MetricFiles.of(opened.command, Path.cwd())
        with Pipeline.create(
            folder, opened.command, started_at, prepared, options, joined, self.signer, self.allowance(folder)
        ) as pipeline:
            pipeline.environment = environment
            witnessing.start()
            channel.send(Opened(folder.run, str(folder.archive), str(folder.guard_config)))
            started = self._started(channel)
            if isinstance(started, NotStarted):
                verdict = pipeline.finish(exit_code=started.status, note=started.note)
            else:
                handed = _with_root(handed, started.pid)
                handed.write(folder)
                status = self._watch(folder, pipeline, handed, options, metrics, channel, witnessing)
                if self.ended:
                    return LEFT
                code = launch.shell_status(status) if status is not None else None
                verdict = pipeline.finish(exit_code=code)
                if joined.peers is not None:
                    joined.peers.close(verdict.outcome.value)
        if prepared.socket_folder is not None:
            shutil.rmtree(prepared.socket_folder, ignore_errors=True)
        return self._close(folder, handed, verdict.outcome.value, witnessing)

    def _started(self, channel: Channel) -> Started | NotStarted:
        """What the caller says once it has tried to start its command."""
        try:
            message = channel.receive(START_SECONDS)
            while isinstance(message, Signalled):
                message = channel.receive(START_SECONDS)
        except TransportError:
            message = None
        if isinstance(message, (Started, NotStarted)):
            if isinstance(message, Started) and not _is_the_job(message.pid, self.order):
                return NotStarted(1, "what the caller says is its command's process is not its child")
            return message
        return NotStarted(1, "`veracity run` ended before it had started its command")

    def _watch(
        self,
        folder: RunFolder,
        pipeline: Pipeline,
        handed: Handed,
        options: RunOptions,
        metrics: MetricFiles,
        channel: Channel | None,
        witnessing: Witnessing,
    ) -> int | None:
        """Until the job has ended, or the service does."""
        self.attendant = Attendant(channel, handed.root)
        self.attendant.leaves = self.ended
        loop = Loop(
            folder,
            Path(handed.socket),
            pipeline,
            handed.root,
            options,
            metrics,
            witnessing,
            self.attendant,
            above=handed.pid,
        )
        status = loop.run()
        if self.attendant.is_alone:
            self.channel = None
        return status

    # --- a run that is taken up ------------------------------------------------------------------

    def take_up(self) -> int:
        """Go on where the record ends; its job goes on too, or has ended."""
        with accounts.recording():
            handed = read_handed(self.folder(Path("/")))
        folder = self.folder(Path(handed.place))
        options = RunOptions(
            self.home,
            handed.policy,
            stacks=handed.stacks,
            overhead=handed.overhead,
            hang_after=handed.hang_after,
        )
        try:
            kept = Pipeline.resume(folder, self.signer, bytes.fromhex(handed.key), self.allowance(folder))
        except UsageError:
            return BUSY
        witnessing = _witnessing(folder, handed)
        with kept as pipeline:
            pipeline.loads.enforces = handed.policy == "enforce"
            wrong = pipeline.loads.configure(self.home, Path.cwd())
            if wrong is not None:
                pipeline.observe(wrong)
            witnessing.start()
            pipeline.environment = process.read_environ(handed.pid) or {}
            pipeline.observe(_interrupted(ends=self.order.ends))
            if self.order.ends:
                pipeline.drain()
                verdict = pipeline.finish(exit_code=None, note="closed while its job may go on")
                return self._close(folder, handed, verdict.outcome.value, witnessing)
            handed, code = self._met_again(folder, handed), None
            status = process.read_stat(handed.root) if handed.root else None
            if status is not None and status.starttime == handed.root_starttime:
                metrics = MetricFiles.of(process.read_cmdline(handed.root) or [], Path.cwd())
                found = self._watch(folder, pipeline, handed, options, metrics, self.channel, witnessing)
                code = launch.shell_status(found) if found is not None else None
            else:
                attend_to(pipeline, lambda: self.ended)
            if self.ended:
                return LEFT
            verdict = pipeline.finish(exit_code=code, note="taken up by the service")
        return self._close(folder, handed, verdict.outcome.value, witnessing)

    def _met_again(self, folder: RunFolder, handed: Handed) -> Handed:
        """The caller has come back: it says once more which process its command's is."""
        if self.channel is None:
            return handed
        try:
            self.channel.send(Opened(folder.run, str(folder.archive), str(folder.guard_config)))
        except TransportError:
            self.channel = None
            return handed
        started = self._started(self.channel)
        if isinstance(started, Started) and not handed.root:
            handed = _with_root(handed, started.pid)
            handed.write(folder)
        return handed

    def _close(self, folder: RunFolder, handed: Handed, outcome: str, witnessing: Witnessing) -> int:
        # From here on it is closed: who ends us while witnesses are asked has the record as it is.
        replace(handed, closed=True).write(folder)
        uncosigned = [one[:MAX_SAID] for one in witnessing.close()]
        unstamped = [one[:MAX_SAID] for one in stamp(folder, handed.timestamps)]
        if self.channel is not None:
            with contextlib.suppress(TransportError):
                judged = Judged(folder.run, outcome, uncosigned, unstamped, witnessing.is_reached())
                self.channel.send(judged)
        return CLOSED


def checked_place(text: str, uid: int) -> Path:
    """The folder of the caller's for what passes between job and service.

    It is opened as the caller's account, so nothing else would be reached by it; these are checks against
    mistakes. Raises UsageError when it is not an empty folder of theirs alone.
    """
    place = Path(text)
    try:
        status = place.lstat()
        sound = stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not status.st_mode & 0o077
        if not place.is_absolute() or ".." in place.parts or not sound or any(place.iterdir()):
            raise UsageError("not an empty folder of the caller's alone", where=text[:300])
    except OSError as error:
        raise UsageError(f"the caller's folder cannot be used: {error.strerror}", where=text[:300]) from error
    return place


def _options(opened: Open, environment: dict[str, str], home: Path, order: Order) -> RunOptions:
    return RunOptions(
        home,
        policy=opened.policy,
        name=opened.name,
        stacks=opened.stacks,
        overhead=opened.overhead,
        environment=environment,
        hang_after=opened.hang_after,
        references=tuple(declared(one.path, one.text.encode()) for one in order.references or ()),
        scan=_permitted(home, opened),
    )


def _permitted(home: Path, opened: Open) -> ScanConfig:
    """What is permitted in files that the job loads; nothing where that is wrong, unless to enforce."""
    try:
        return find_rules(home, Path.cwd())
    except UsageError:
        if opened.policy == "enforce":
            raise
        return ScanConfig()  # the caller reads the same file, and tells its user


def _witnessing(folder: RunFolder, asked: Open | Handed) -> Witnessing:
    """Who is to cosign. They are asked as the job's account, which could ask them by itself.

    Raises UsageError or EvidenceError for what are no witnesses and no policy.
    """
    witnesses = [KnownWitness.parse(one) for one in asked.witnesses]
    for url in asked.timestamps:
        check_address(url)
    try:
        data = base64.b64decode(asked.witness_policy, validate=True)
    except ValueError as error:
        raise EvidenceError("the witness policy is not in base64") from error
    return Witnessing(folder, witnesses, Policy.parse(data) if data else None)


def _handed(order: Order, opened: Open, prepared: Prepared) -> Handed:
    return Handed(
        order.uid,
        order.gid,
        list(order.groups),
        order.pid,
        order.starttime,
        opened.place,
        str(prepared.socket),
        opened.policy,
        opened.stacks,
        opened.overhead,
        opened.hang_after,
        prepared.key.hex(),
        witnesses=opened.witnesses,
        witness_policy=opened.witness_policy,
        timestamps=opened.timestamps,
    )


def _with_root(handed: Handed, root: int) -> Handed:
    status = process.read_stat(root)
    return replace(handed, root=root, root_starttime=status.starttime if status is not None else 0)


def _is_the_job(pid: int, order: Order) -> bool:
    """Whether a process is the caller's child; of a caller that has ended meanwhile, its account's."""
    status = process.read_stat(pid)
    if status is None or status.ppid == order.pid:
        return status is not None
    try:
        owner = os.stat(f"{process.PROC}/{pid}").st_uid
    except OSError:
        return False
    return owner == order.uid and not is_there(order.pid, order.starttime)


def _interrupted(*, ends: bool) -> Gap:
    """Why a part of the run was not seen."""
    what = "the process that records this run was not there for a part of it"
    why = "it was killed or the service ended; how processes ended meanwhile was not seen"
    if ends:
        why += ", and it came to its end too often to be started again"
    return Gap(monitor_origin(time.time_ns()), what, why, law="life", stops=ends)


def _copy_known(cache: Path, folder: RunFolder) -> None:
    """Let the guard know which bytecode need not be shipped; it costs time when that cannot be."""
    found: dict[str, bytes] = {}
    try:
        with accounts.recording():
            for path in sorted(cache.glob("bytecode-*"))[:MAX_KNOWN]:
                found[path.name] = path.read_bytes()[:MAX_COPIED]
        for name, data in found.items():
            write_private(folder.known_bytecode.parent / name, data)
    except OSError:
        return  # every module is shipped, then


def main() -> int:
    """Record one run. Started by the service alone."""
    os.umask(0o077)
    order = read_order()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(OOM_ADJUSTMENT)
    signer = SigningKey.load(Path(order.home) / KEY_FILE, KEY_NAME)
    channel = Channel(socket.socket(fileno=order.connection)) if order.connection >= 0 else None
    if channel is not None:
        channel.connection.settimeout(ANSWER_SECONDS)
    keeper = _Keeper(order, signer, channel)
    signal.signal(signal.SIGTERM, keeper.leave)
    try:
        accounts.take_on(order.uid, order.gid, order.groups)
        with contextlib.suppress(OSError):
            os.chdir(process.read_cwd(order.pid) or "/")
        if order.opened is None:
            return keeper.take_up()
        if channel is None:
            raise EvidenceError("a new run without a caller")
        return keeper.record(order.opened, channel)
    except (Error, OSError) as error:
        said = error.diagnostics() if isinstance(error, Error) else None
        what = said.what if said is not None else str(error)
        sys.stderr.write(f"veracity monitor: {order.run}: {what}\n".encode("ascii", "replace").decode())
        if channel is not None:
            with contextlib.suppress(Error):
                channel.send(Refused(what[:500], said.remedy if said is not None else ""))
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
