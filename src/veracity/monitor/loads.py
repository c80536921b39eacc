"""Files that the job is about to load, read by the gate: each state of a file once, in a process of its own.

A guard tells of a file and goes on, or asks and waits (``--policy enforce``). What is found is recorded and
judged like anything else the monitor sees. The answer to a question goes back over the connection that it
came by, which the kernel has tied to an account.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ..core.errors import EvidenceError, UsageError
from ..core.fileidentity import seconds_more
from ..core.finding import Finding
from ..core.observation import FileLoading, FileScanned, Gap
from ..core.origin import monitor_origin
from ..core.permit import in_force
from ..core.quantity import quantity
from ..core.rule import Severity
from ..core.wire import Frame
from ..detect.rules.checkpoint.pickle_unknown_global import PickleUnknownGlobal
from ..scan.gate import answering
from ..scan.gate.aside import Rules, set_aside
from ..scan.gate.config import ScanConfig, find_config
from ..scan.gate.result import CLEAN, FINDINGS, INCOMPLETE, FileResult, Missed, SetAside
from ..scan.lineworker import Answered, LineWorker, Share
from ..seal.configuration import FILE_NAME
from .accounts import recording
from .decode import read_header
from .lineage import Lineage
from .listener import Peer

LAW = "load"
QUESTION = "ask"
CHANGED = "changed"
MAX_WAITING = 4096
MAX_KNOWN = 50_000
MAX_ROWS = 64
MAX_CLEAN = 10_000
"""Clean files that are recorded one by one."""
MAX_GAPS = 100
MAX_WHY = 1_500
MAX_LISTED = 20
SECONDS = 180.0
"""How long one file may take before its reader is ended; within, the gate has bounds of its own."""


@dataclass(frozen=True, slots=True)
class _Key:
    identity: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Question:
    """A process that waits, and for what."""

    peer: Peer
    key: _Key


class _Asked(msgspec.Struct, frozen=True):
    path: str
    identity: str
    offset: int


def find_rules(home: Path, folder: Path) -> ScanConfig:
    """``[scan]`` of the configuration that counts for a job started in ``folder``; raises UsageError.

    The home's file is opened as the account that records, a project's as the job's.
    """
    with recording():
        if os.path.lexists(home / FILE_NAME):
            found = find_config(home, folder, home / FILE_NAME)
            if found != ScanConfig():
                return found
    return find_config(home, folder, None)


class Loads:
    """What the gate knows of the files of one run.

    Classes that nobody has permitted are no findings of a run that only observes: a program that loads its
    own is the usual case. ``saving``: whether files that the run has saved are still being digested; what it
    wrote itself, and what earlier runs of the home did, may name such classes when loads are enforced.
    """

    def __init__(self, lineage: Lineage, saving: Callable[[], bool]) -> None:
        self.config = ScanConfig()
        self.enforces = False
        self._lineage = lineage
        self._saving = saving
        self._worker: LineWorker | None = None
        self._sent: dict[int, tuple[_Key, str]] = {}
        self._known: OrderedDict[_Key, FileScanned | None] = OrderedDict()
        self._rows: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._held: list[tuple[_Key, str, answering.Answer]] = []
        self._questions: list[_Question] = []
        self._number = self._clean = self._left = self._gaps = 0

    def configure(self, home: Path, folder: Path) -> Gap | None:
        """Take the configuration that counts; nothing is permitted, and a gap says so, where it is wrong."""
        try:
            self.config = find_rules(home, folder)
        except UsageError as error:
            return _gap("what the site permits in files that are loaded is not known", str(error))
        return None

    @property
    def pending(self) -> int:
        """Files that are not read yet."""
        return len(self._sent) + len(self._held)

    @property
    def asked(self) -> bool:
        """Whether a process waits for an answer."""
        return bool(self._questions)

    @property
    def worker_pid(self) -> int:
        """The reader's own process, 0 while there is none."""
        return 0 if self._worker is None else self._worker.pid

    def told(self, loading: FileLoading) -> None:
        """A guard has told of a file."""
        self._submit(_Key(loading.identity, loading.offset), loading.path)

    def heard(self, peer: Peer, frame: Frame) -> bool:
        """Take a datagram that is a question; False when it is none."""
        try:
            header = read_header(frame)
        except EvidenceError:
            return False
        if header.kind != QUESTION:
            return False
        try:
            asked = msgspec.convert(header.body, _Asked)
        except (msgspec.ValidationError, UnicodeError, RecursionError):
            return True
        key = _Key(asked.identity, asked.offset)
        self._questions.append(_Question(peer, key))
        self._submit(key, asked.path)
        self._reply()
        return True

    def poll(self, *, last: bool = False) -> Iterator[FileScanned | Gap]:
        """What has been read since; ``last``: what has not is given up."""
        for one in self._worker.pump() if self._worker is not None else ():
            key, path = self._sent.pop(one.number, (None, ""))
            if key is None:
                continue  # it was given up
            if isinstance(one, Answered):
                self._held.append((key, path, _answer_of(one.body, path)))
            else:
                unread = FileResult(path, missed=(Missed(path, one.reason),))
                self._held.append((key, path, answering.Answer(one.number, True, unread)))
        waiting, self._held = self._held, []
        for key, path, answer in waiting:
            if not last and self.enforces and _is_unknown(answer.result) and self._saving():
                self._held.append((key, path, answer))  # it may be what the run itself is known to have saved
            else:
                yield from self._conclude(key, path, answer)
        if last:
            yield from self._given_up()
        self._reply()

    def close(self) -> None:
        """End the reader."""
        if self._worker is not None:
            self._worker.close()

    def _given_up(self) -> Iterator[Gap]:
        """What nothing comes of any more."""
        for number, why in ((len(self._sent), "the run ended before"), (self._left, "too many were waiting")):
            if number:
                files = quantity(number, "file was", "files were")
                yield _gap(f"{files} to be loaded, but not scanned", why)
        if self._gaps > MAX_GAPS:
            files = quantity(self._gaps - MAX_GAPS, "further file was", "further files were")
            yield _gap(f"{files} not scanned, or not to the end", f"{MAX_GAPS} are listed")
        self._sent.clear()
        self._left, self._gaps = 0, min(self._gaps, MAX_GAPS)

    def _submit(self, key: _Key, path: str) -> None:
        if key in self._known or key.offset in self._rows.get(key.identity, ()):
            return
        if len(self._sent) >= MAX_WAITING:
            self._left += 1
            return
        if self._worker is None:
            share = Share.ITS_STARTERS if self.enforces else Share.LEFT_OVER
            self._worker = LineWorker(answering.command(), "the reader", seconds=SECONDS, share=share)
        self._remember(key, None)
        self._number += 1
        self._sent[self._number] = key, path
        permits = in_force(self.config.permits, _today())
        question = answering.Question(self._number, path, key.identity, key.offset, permits)
        body = msgspec.to_builtins(question)
        self._worker.send(body.pop("id"), body, more=seconds_more(key.identity))

    def _remember(self, key: _Key, scanned: FileScanned | None) -> None:
        self._known[key] = scanned
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _conclude(self, key: _Key, path: str, answer: answering.Answer) -> Iterator[FileScanned | Gap]:
        result = _with_rest(self._judged(path, answer.result))
        scanned = _scanned(key, path, answer.same, result)
        if scanned.status in (CHANGED, INCOMPLETE):
            # Of another file, or of what may be read at the next time: no answer to the same question.
            self._known.pop(key, None)
        else:
            self._remember(key, scanned)
        if answer.row and scanned.status == CLEAN:
            self._rows[key.identity] = self._rows.get(key.identity, frozenset()) | frozenset(answer.row)
            while len(self._rows) > MAX_ROWS:
                self._rows.popitem(last=False)
        self._reply(key, scanned)
        if scanned.status == CLEAN:
            self._clean += 1
            if self._clean > MAX_CLEAN:
                return
        yield scanned
        for gap in _gaps(scanned):
            self._gaps += 1
            if self._gaps <= MAX_GAPS:
                yield gap

    def _judged(self, path: str, result: FileResult) -> FileResult:
        """What counts of a result: not what the site has set aside, nor classes of the home's own runs."""
        rules = Rules(self.config.ignores, {}, _today(), comments=False)
        (result,) = set_aside([result], rules)
        if not _is_unknown(result):
            return result
        if not self.enforces:
            by, reason = "observe", "programs save classes of their own; `veracity scan` tells of them"
        elif self._is_ours(result.sha256):
            by, reason = "the record", "a run of this home saved it"
        else:
            return result
        own = [one for one in result.findings if one.rule == PickleUnknownGlobal.rule.id]
        return result.setting_aside([SetAside(one, by, reason) for one in own])

    def _is_ours(self, sha256: str) -> bool:
        try:
            return bool(sha256 and self._lineage.by_digest(sha256, search=False))
        except EvidenceError:
            return False  # then a class that nobody permits is told, which it would be anywhere else

    def _reply(self, key: _Key | None = None, scanned: FileScanned | None = None) -> None:
        """Answer those who need not wait any longer; ``scanned``, of ``key``, need not be remembered."""
        waiting, self._questions = self._questions, []
        for one in waiting:
            found = scanned if one.key == key else self._known.get(one.key)
            if found is not None:
                _send(one, "" if found.status == CLEAN else _why(found))
            elif one.key.offset in self._rows.get(one.key.identity, ()):
                _send(one, "")
            elif one.key in self._known:
                self._questions.append(one)
            else:
                _send(one, "so many files wait to be read that this one cannot. Load it again in a while")


def _answer_of(body: dict[str, object], path: str) -> answering.Answer:
    try:
        return msgspec.convert(body, answering.Answer, strict=False)
    except (msgspec.ValidationError, UnicodeError, RecursionError):
        unread = FileResult(path, missed=(Missed(path, "its reader's answer is damaged"),))
        return answering.Answer(0, True, unread)


def _is_unknown(result: FileResult) -> bool:
    """Whether it matters for a finding who wrote the file."""
    return any(one.rule == PickleUnknownGlobal.rule.id for one in result.findings)


def _with_rest(result: FileResult) -> FileResult:
    """Where all that is listed was set aside, what is not listed is unread: nobody has looked at it."""
    if not result.more or not result.aside:
        return result
    rest = quantity(result.more, "finding is", "findings are")
    unseen = Missed(result.path, f"{rest} not listed", "set aside less of it, or see `veracity scan`")
    return replace(result, missed=(*result.missed, unseen))


def _scanned(key: _Key, path: str, same: bool, result: FileResult) -> FileScanned:
    counting = [one for one in result.findings if one.severity.weight >= Severity.WARNING.weight]
    status = result.status(Severity.WARNING) if same else CHANGED
    return FileScanned(
        monitor_origin(time.time_ns(), source="scan"),
        path,
        key.identity,
        key.offset,
        status,
        result.sha256,
        list(result.formats),
        counting if same else [],
        result.more,
        [f"{one.finding.rule}: {one.by}: {one.reason}" for one in result.aside[:MAX_LISTED]],
        [_sentence(one) for one in result.missed[:MAX_LISTED]],
    )


def _sentence(missed: Missed) -> str:
    what = f"{missed.what}: {missed.reason}"
    return f"{what} ({missed.remedy})" if missed.remedy else what


def _gaps(scanned: FileScanned) -> Iterator[Gap]:
    if scanned.status == CHANGED:
        reason = "another file lies there, or it was changed, since the load began or while it was read"
        yield _gap(f"{scanned.path}, which was about to be loaded, was not scanned", reason)
    elif scanned.missed:
        yield _gap(
            f"{scanned.path}, which was about to be loaded, was not read to its end", scanned.missed[0]
        )


def _why(scanned: FileScanned) -> str:
    """Why a file must not be loaded, and what to do."""
    if scanned.status == CHANGED:
        return "it was changed while it was looked at. Load it again when nobody writes to it"
    if scanned.status != FINDINGS:
        missed = scanned.missed[0] if scanned.missed else "it could not be read"
        return f"it was not read to its end: {missed}"[:MAX_WHY]
    worst = max(scanned.findings, key=_weight)
    others = len(scanned.findings) + scanned.more - 1
    more = f" (and {others:,} more)" if others else ""
    remedy = "If it is sound, permit or ignore that under [scan] in veracity.toml. "
    remedy += f"`veracity scan {scanned.path}` shows all"
    return f"{worst.rule}: {worst.message}"[:MAX_WHY] + f"{more}. {remedy}"


def _weight(finding: Finding) -> tuple[int, bool]:
    return finding.severity.weight, finding.breaks


def _send(question: _Question, why: str) -> None:
    connection = question.peer.connection
    if connection is None:
        return
    key = question.key
    told = {"identity": key.identity, "offset": key.offset, "allowed": not why, "why": why}
    try:
        connection.send(json.dumps(told).encode("ascii"))
    except OSError:
        return  # who asked has gone, or does not listen


def _gap(what: str, reason: str) -> Gap:
    return Gap(monitor_origin(time.time_ns(), source="scan"), what, reason, law=LAW)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.timezone.utc).date()
