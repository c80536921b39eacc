"""The service itself: takes callers in, starts a process for each thing they ask, and keeps its own record.

It does nothing of what it is asked by itself: it looks who the caller is, whether the account may ask for
more, and starts a keeper or an answerer with the connection. So whatever a caller sends or leaves unsent, it
takes this process a packet's time.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ... import __version__
from ...core.canonical import Json
from ...core.errors import Error, EvidenceError, TransportError, UsageError
from ...core.quantity import quantity
from ...ledger.files import read_bounded, write_whole
from ...ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from ...ledger.tree_head import FILE_NAME as TREE_HEAD
from ...ledger.tree_head import TreeHead
from ...observe import process
from .. import accounts
from ..allowance import TODAY, Day
from ..archive import build_archive
from ..folder import ARCHIVE, RunFolder, code_beside, create_folder
from ..guardcode import build_code
from ..launch import Child
from .caller import Caller, caller_of, uid_of
from .guests import Guests
from .handed import Handed, account_home, is_run, read_handed, unfinished
from .keeper import BUSY, CLOSED, LEFT
from .log import ServiceLog
from .order import HELD_SIGNALS, Order, ended_by, start
from .protocol import AskRuns, AskSummary, Channel, Message, Open, Reference, Refused, Resume, decode
from .settings import Settings

TICK = 0.5
FIRST_WORD = 10.0
"""Seconds within which a caller must ask for something."""
ACCEPT_AT_ONCE = 64
MAX_REFERENCES = 16
ANSWERS_AT_ONCE = 2
TAKE_UP_AFTER = 5.0
"""Seconds in which the caller of a run whose keeper ended may come back to it by itself."""
LOOK_AGAIN = 30.0
MAX_TAKEN_UP = 3
LEAVE_SECONDS = 30.0
MAX_HEAD = 16 << 10
RUN_BYTES = 256 << 10
"""What a run's folder takes on a disk at least."""
WAKE_EVERY = 5.0
MAX_DATA = 1 << 18


@dataclass(slots=True)
class _Guest:
    """A caller who has not asked yet for what a process is started for."""

    channel: Channel
    caller: Caller
    since: float
    references: list[Reference] = field(default_factory=list)


@dataclass(slots=True)
class _Child:
    """A process that was started: the keeper of a run, or an answerer (``run`` is empty)."""

    process: Child
    handle: int
    uid: int
    run: str = ""
    held: bool = False


class Service:
    """Serves until it is told to end. Raises UsageError when it cannot be set up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._account = accounts.own_account()
        _own_folder(settings.home)
        self._signer = SigningKey.load_or_create(settings.home / KEY_FILE, KEY_NAME)
        self._log = ServiceLog(settings.home, self._signer)
        try:
            self._guard = _put_guard(settings.socket.parent)
            self._server = _listen(settings.socket)
        except BaseException:
            self._log.close()
            raise
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._guests: dict[socket.socket, _Guest] = {}
        self._children: list[_Child] = []
        self._counted = Guests(settings.quota)
        self._due: dict[str, float] = {}
        self._next_wake = 0.0
        self._tries: dict[str, int] = {}
        self._owners: dict[str, int] = {}

    def run(self) -> None:
        """Until SIGTERM, SIGINT or SIGHUP."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
        self._say("started", before=self._log.ended_before, **self._about())
        try:
            due = time.monotonic() + TAKE_UP_AFTER
            for folder, handed in unfinished(self._settings.home):
                self._due[folder.run] = due
                self._owners[folder.run] = handed.uid
            while (told := signal.sigtimedwait(HELD_SIGNALS, 0)) is None:
                self._turn()
            self._say("stopped", signal=told.si_signo, by_uid=told.si_uid, by_pid=told.si_pid)
        finally:
            self._end()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _turn(self) -> None:
        for key, _ in self._selector.select(TICK):
            if key.fileobj is self._server:
                self._accept()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._guests:
                self._hear(self._guests[key.fileobj])
            elif isinstance(key.data, _Child) and key.data.process.poll() is not None:
                self._ended(key.data)
        now = time.monotonic()
        for guest in [one for one in self._guests.values() if now - one.since > FIRST_WORD]:
            self._refuse(guest, "nothing was asked for in time")
        if now >= self._next_wake:
            self._next_wake = now + WAKE_EVERY
            self._wake()
        for run in [run for run, at in self._due.items() if now >= at]:
            del self._due[run]
            self._take_up(run)

    # --- callers ---------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.setblocking(False)
            self._let_in(connection)

    def _let_in(self, connection: socket.socket) -> None:
        channel, uid = Channel(connection), uid_of(connection)
        # Before anything that takes time: who floods is shown the door here.
        refused = self._counted.connects(uid)
        if refused:
            self._log_refused(uid, refused)
            _answer(channel, Refused(refused))
            return
        try:
            caller = caller_of(connection)
        except EvidenceError as error:
            self._counted.disconnects(uid)
            _answer(channel, Refused(error.diagnostics().what, error.diagnostics().remedy))
            return
        self._guests[connection] = _Guest(channel, caller, time.monotonic())
        self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, guest: _Guest) -> None:
        try:
            data = guest.channel.connection.recv(MAX_DATA)
            if not data:
                self._dismiss(guest)
                return
            message = decode(data)
        except BlockingIOError:
            return
        except OSError:
            self._dismiss(guest)
            return
        except EvidenceError as error:
            self._refuse(guest, error.diagnostics().what, error.diagnostics().remedy)
            return
        if isinstance(message, Reference) and len(guest.references) < MAX_REFERENCES:
            guest.references.append(message)
            return
        refused = self._counted.asks(guest.caller.uid) or self._serve(guest, message)
        if refused:
            self._refuse(guest, refused)
        else:
            self._dismiss(guest)

    def _serve(self, guest: _Guest, message: Message) -> str:
        """Start what was asked for; why it was not, empty when it was."""
        uid = guest.caller.uid
        if uid in (0, self._account.uid):
            return f"jobs of uid {uid} could change the record: they are not recorded by this service"
        try:
            if isinstance(message, Open):
                return self._open(guest, message)
            if isinstance(message, Resume):
                return self._resume(guest, message)
            if isinstance(message, AskRuns):
                return self._answer(guest, limit=message.limit)
            if isinstance(message, AskSummary):
                return self._answer(guest, asked=message.run[:200] or "latest")
        except (Error, OSError) as error:
            what = error.diagnostics().what if isinstance(error, Error) else str(error.strerror)
            return f"the service could not do it: {what}"
        return "nothing that a service does was asked for"

    def _open(self, guest: _Guest, message: Open) -> str:
        caller = guest.caller
        refused = self._counted.begins(caller.uid)
        if refused:
            return refused
        home = account_home(self._settings.home, caller.uid)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            _, runs = Day(home / TODAY).add(RUN_BYTES, runs=1)
            if runs > self._settings.quota.runs_per_day:
                self._counted.ends(caller.uid)
                return (
                    f"the account has had its {quantity(self._settings.quota.runs_per_day, 'run')} of today"
                )
            folder = create_folder(home, time.time_ns(), Path("/"))
            # Before anything of the job begins: from here on the run is on record.
            about: dict[str, Json] = {"uid": caller.uid, "gid": caller.gid, "pid": caller.pid}
            self._log.say("opened", run=folder.run, starttime=caller.starttime, **about)
            order = self._order(caller, folder.run, guest.channel)
            order = _with(order, opened=message, references=guest.references)
            keeper = start("keeper", order, guest.channel.connection)
        except BaseException:
            self._counted.ends(caller.uid)
            raise
        self._started(keeper, caller.uid, folder.run)
        return ""

    def _resume(self, guest: _Guest, message: Resume) -> str:
        caller = guest.caller
        if not is_run(message.run) or any(one.run == message.run for one in self._children):
            return "this run has somebody who records it, or is none"
        folder = self._folder(caller.uid, message.run)
        handed = read_handed(folder) if folder.path.is_dir() else None
        if handed is None or handed.closed:
            return "there is no such run that goes on"
        if (handed.pid, handed.starttime) != (caller.pid, caller.starttime):
            return "only who handed a run over can come back to it"
        self._keep(folder, handed, guest.channel)
        return ""

    def _answer(self, guest: _Guest, *, asked: str = "", limit: int = 0) -> str:
        uid = guest.caller.uid
        if sum(one.uid == uid and not one.run for one in self._children) >= ANSWERS_AT_ONCE:
            return "the account's last questions are still being answered"
        order = self._order(guest.caller, "", guest.channel)
        order = _with(order, asked=asked, limit=limit)
        self._started(start("answerer", order, guest.channel.connection), uid)
        return ""

    def _refuse(self, guest: _Guest, what: str, remedy: str = "") -> None:
        self._log_refused(guest.caller.uid, what)
        with contextlib.suppress(Error):
            guest.channel.send(Refused(what[:500], remedy[:500]))
        self._dismiss(guest)

    def _dismiss(self, guest: _Guest) -> None:
        """Let go of a connection: it has ended, or is a child's now."""
        del self._guests[guest.channel.connection]
        self._selector.unregister(guest.channel.connection)
        guest.channel.close()
        self._counted.disconnects(guest.caller.uid)

    # --- children --------------------------------------------------------------------------------

    def _started(self, started: Child, uid: int, run: str = "") -> None:
        child = _Child(started, os.pidfd_open(started.pid), uid, run)
        self._children.append(child)
        self._selector.register(child.handle, selectors.EVENT_READ, child)

    def _ended(self, child: _Child) -> None:
        self._children.remove(child)
        self._selector.unregister(child.handle)
        os.close(child.handle)
        if not child.run:
            return
        self._counted.ends(child.uid)
        self._owners[child.run] = child.uid
        folder, code = self._folder(child.uid, child.run), child.process.returncode
        if code == CLOSED:
            self._say("closed", run=child.run, uid=child.uid, **_outcome(folder))
            return
        if code == LEFT:
            self._say("left", run=child.run, uid=child.uid)
            return
        if code == BUSY:
            # The keeper of an earlier service goes on with it, which is as good.
            self._tries[child.run] = self._tries.get(child.run, 1) - 1
            self._due[child.run] = time.monotonic() + LOOK_AGAIN
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._say("lost", run=child.run, uid=child.uid, how=how)
        self._due[child.run] = time.monotonic() + TAKE_UP_AFTER

    def _wake(self) -> None:
        """A keeper may be stopped by its job's account: that is said once, and it goes on."""
        for child in self._children:
            status = process.read_stat(child.process.pid)
            if status is not None and status.state == "T":
                child.process.send_signal(signal.SIGCONT)
                if not child.held:
                    child.held = True
                    self._say("held", run=child.run, uid=child.uid)

    def _take_up(self, run: str) -> None:
        """Have a run recorded further, or closed when that has failed too often."""
        folder = self._folder(self._owners[run], run)
        if any(one.run == run for one in self._children):
            return
        try:
            handed = read_handed(folder)
            if handed.closed:
                self._say("closed", run=run, uid=handed.uid, **_outcome(folder))
                return
            self._tries[run] = self._tries.get(run, 0) + 1
            if self._tries[run] > MAX_TAKEN_UP + 1:
                self._say("abandoned", run=run, uid=handed.uid, why="its keeper ends again and again")
                return
            self._keep(folder, handed, None)
        except EvidenceError as error:
            self._say("abandoned", run=run, uid=self._owners[run], why=str(error)[:300])
        except OSError:
            self._due[run] = time.monotonic() + LOOK_AGAIN  # no room for a process now

    def _keep(self, folder: RunFolder, handed: Handed, channel: Channel | None) -> None:
        caller = Caller(handed.uid, handed.gid, tuple(handed.groups), handed.pid, handed.starttime)
        order = self._order(caller, folder.run, channel)
        ends = self._tries.get(folder.run, 0) > MAX_TAKEN_UP
        connection = None if channel is None else channel.connection
        self._say("taken up", run=folder.run, uid=handed.uid, ends=ends)
        keeper = start("keeper", _with(order, ends=ends), connection)
        self._counted.takes_up(handed.uid)
        self._due.pop(folder.run, None)
        self._started(keeper, handed.uid, folder.run)

    def _order(self, caller: Caller, run: str, channel: Channel | None) -> Order:
        return Order(
            str(self._settings.home),
            run,
            caller.uid,
            caller.gid,
            list(caller.groups),
            caller.pid,
            caller.starttime,
            str(self._guard),
            self._settings.quota,
            -1 if channel is None else channel.connection.fileno(),
        )

    def _folder(self, uid: int, run: str) -> RunFolder:
        return RunFolder(account_home(self._settings.home, uid) / "runs" / run)

    # --- the record and the end ------------------------------------------------------------------

    def _about(self) -> Mapping[str, Json]:
        account, quota = self._account, self._settings.quota
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uid": account.uid,
            "account": account.name,
            "quota": {name: getattr(quota, name) for name in quota.__slots__},
        }

    def _say(self, event: str, **about: Json) -> None:
        """An entry; a disk that refuses it stops no run."""
        try:
            self._log.say(event, **about)
        except EvidenceError as error:
            _complain(error)

    def _log_refused(self, uid: int, what: str) -> None:
        try:
            self._log.refused(uid, what)
        except EvidenceError as error:
            _complain(error)

    def _end(self) -> None:
        """Let every process leave its run in order, then close the record."""
        self._server.close()
        with contextlib.suppress(OSError):
            self._settings.socket.unlink()
        for guest in list(self._guests.values()):
            self._refuse(guest, "the service ends")
        for child in self._children:
            with contextlib.suppress(OSError):
                child.process.terminate()
        deadline = time.monotonic() + LEAVE_SECONDS
        for child in list(self._children):
            ended_by(child.process, deadline - time.monotonic())
            self._ended(child)
        self._say("ended")
        self._log.close()


def _with(order: Order, **fields: object) -> Order:
    values = {name: getattr(order, name) for name in order.__slots__}
    return Order(**{**values, **fields})


def _answer(channel: Channel, message: Message) -> None:
    with contextlib.suppress(TransportError):
        channel.send(message)
    channel.close()


def _complain(error: Error) -> None:
    os.write(2, f"veracity monitor: {error.diagnostics().what}\n".encode("ascii", "replace"))


def _own_folder(folder: Path) -> None:
    """The home: there, ours, and nobody else's to look into. Raises UsageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise UsageError(f"the service's home cannot be used: {error.strerror}", where=str(folder)) from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise UsageError(
            "the service's home must be its account's alone",
            where=str(folder),
            remedy=f"chown it to {accounts.own_account().name}, and chmod 700",
        )


def _put_guard(folder: Path) -> Path:
    """The guard's archive and its code where every job can read them and none can change them; its path."""
    data, digest = build_archive()
    place = folder / f"guard-{digest.value[:16]}"
    try:
        _public_folder(folder)
        place.mkdir(mode=0o755, exist_ok=True)
        place.chmod(0o755)
        for path, content in ((place / ARCHIVE, data), (code_beside(place / ARCHIVE), build_code(data))):
            write_whole(path, content, 0o644)
            path.chmod(0o644)
    except OSError as error:
        raise UsageError(
            f"the service's folder cannot be used: {error.strerror}", where=str(error.filename or folder)
        ) from error
    return place / ARCHIVE


def _public_folder(folder: Path) -> None:
    """For all to enter and nobody else to write. Raises UsageError, OSError."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        raise UsageError(
            "others can put a socket of theirs into this folder",
            where=str(folder),
            remedy="choose a folder that belongs to the service and that nobody else can write",
        )
    if status.st_uid == os.geteuid():
        folder.chmod(0o755)


def _listen(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # The ledger's lock is held: whoever bound this name before has ended.
        path.unlink(missing_ok=True)
        server.bind(str(path))
        path.chmod(0o666)
        server.listen(256)
    except OSError as error:
        server.close()
        raise UsageError(f"the socket cannot be opened: {error.strerror}", where=str(path)) from error
    server.setblocking(False)
    return server


def _outcome(folder: RunFolder) -> Mapping[str, Json]:
    """What a closed run came to: outcome, size and root, for the service's own record."""
    outcome: Json = "unreadable"
    with contextlib.suppress(Error, ValueError, AttributeError):
        outcome = str(json.loads(read_bounded(folder.document, MAX_HEAD << 4)).get("verdict"))
    try:
        head = TreeHead.parse(read_bounded(folder.ledger / TREE_HEAD, MAX_HEAD))
    except Error:
        return {"outcome": outcome}
    return {"outcome": outcome, "size": head.size, "root": head.root.hex()}
