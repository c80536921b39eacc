"""A process that reads files for a monitor: a question a line, an answer a line, until its input ends.

A question is about one state of a file: what lies at the path by the time it is opened, and after it has been
read, must still be the file that was asked about. Of a load that begins within a file, all of the file is
read as well: some loaders look for the archive that a file ends with.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass, replace

import msgspec

from ...core.errors import EvidenceError
from ...core.fileidentity import identity_of, seconds_more
from ...core.picklepolicy import NO_PERMITS, SitePermits
from ...core.pickleprogram import End
from ...observe.artifact.budget import MAX_SECONDS
from ...observe.artifact.input import FileSource, Input, open_file
from ...observe.pickle.machine import walk
from .digest import Digesting
from .file import Settings, judge_open
from .result import FileResult, Missed
from .workers import bound_memory, read_one

MAX_FINDINGS = 50
"""Findings that are told of one file; more are counted."""
MAX_MISSED = 20
MAX_ROW = 100_000
ROW_SECONDS = 10.0
SETTLED = 0.05
"""Seconds after which the kernel's clock for files has moved on."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from veracity.scan.gate.answering import main; main()"


@dataclass(frozen=True, slots=True)
class Question:
    """``offset``: where the load begins; ``permits``: what the site says of globals in pickles."""

    id: int
    path: str
    identity: str
    offset: int = 0
    permits: SitePermits = NO_PERMITS


@dataclass(frozen=True, slots=True)
class Answer:
    """``same``: it is the file that was asked about.

    ``row``: offsets of pickles that the result covers as well.
    """

    id: int
    same: bool
    result: FileResult
    row: tuple[int, ...] = ()


def command() -> list[str]:
    """How this process is started: our own interpreter, and no module but from where ours come from."""
    places = [place for place in sys.path if place.startswith("/")]
    return [sys.executable, "-I", "-B", "-c", _PROGRAM, *places]


def answer(question: Question) -> Answer:
    """Read and judge. Never raises on any file."""
    row: list[int] = []
    same = True

    def read(path: str) -> FileResult:
        nonlocal same
        source = open_file(path)
        try:
            same = identity_of(source.status()) == question.identity
            if not same:
                return FileResult(path)
            if time.time() - source.status().st_ctime < SETTLED:
                time.sleep(SETTLED)  # else a write after the reading could leave the times as they are
            result = _judged(question, source, row)
            same = identity_of(source.status()) == question.identity
            return result
        finally:
            source.close()

    try:
        result = read_one(question.path, read)
    except (EvidenceError, ValueError) as error:
        said = error.diagnostics() if isinstance(error, EvidenceError) else None
        reason, remedy = (str(error), "") if said is None else (said.what, said.remedy)
        result = FileResult(question.path, missed=(Missed(question.path, reason, remedy),))
    more = result.more + max(0, len(result.findings) - MAX_FINDINGS)
    worst = sorted(result.findings, key=lambda one: -one.severity.weight)
    kept = replace(result, findings=tuple(worst[:MAX_FINDINGS]), missed=result.missed[:MAX_MISSED], more=more)
    return Answer(question.id, same, kept, tuple(row))


def _judged(question: Question, source: FileSource, row: list[int]) -> FileResult:
    settings = Settings(seconds=MAX_SECONDS + seconds_more(question.identity), permits=question.permits)
    result = judge_open(question.path, source, settings, time.monotonic())
    if question.offset > 0:
        part = judge_open(question.path, source, settings, time.monotonic(), question.offset)
        result = _joined(result, part)
        row += _row(source, question.offset)
    if result.findings:  # whose file it is may matter, then
        result = replace(result, sha256=Digesting(source).digest())
    return result


def _joined(whole: FileResult, part: FileResult) -> FileResult:
    """What is said of a file that is loaded from within. Of itself it need be nothing that is known."""
    told = {one.rule for one in whole.findings}
    return replace(
        part,
        findings=whole.findings + tuple(one for one in part.findings if one.rule not in told),
        missed=part.missed + (whole.missed if whole.formats else ()),
        formats=tuple(dict.fromkeys((*whole.formats, *part.formats))),
        more=whole.more + part.more,
    )


def _row(source: FileSource, start: int) -> list[int]:
    """Where pickles begin that stand in a row from ``start``: programs load them one by one."""
    found: list[int] = []
    until = time.monotonic() + ROW_SECONDS
    whole = Input.of("", source)
    while start < source.size and len(found) < MAX_ROW and time.monotonic() < until:
        program = walk(whole, start)
        found.append(start)
        if program.ending.kind is not End.STOP:
            break
        start += program.consumed
    return found


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bound_memory()
    for line in sys.stdin.buffer:
        told = answer(msgspec.convert(json.loads(line), Question))
        sys.stdout.buffer.write(json.dumps(msgspec.to_builtins(told)).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()
