"""``veracity scan``: files that can execute, found before anything loads them."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from ..core.persona import Persona
from ..core.rule import Severity
from .output import console_for, deliver, say
from .parsing import CONFIG_HELP, Parser, add_verb, format_of, home_of
from .scanenv import add_environment, live_environment

if TYPE_CHECKING:
    from ..core.picklepolicy import SitePermits
    from ..scan.gate.config import ScanConfig
    from ..scan.gate.live import LiveEnvironment
    from ..scan.gate.result import FileResult, Summary
    from ..scan.gate.walk import Found

_DESCRIPTION = """\
Read files as the programs would that load them, without running anything, and say which of them could do
more than hold data. What a file is, its content says and not its name; where several readers would accept
it, each is asked and the worst answer counts. What could not be read is incomplete, never clean."""

_EXAMPLES = """\
  veracity scan model.pt
  veracity scan checkpoints/ --exclude '*.log' --format sarif --output scan.sarif
  veracity scan . --write-baseline scan-baseline.json
  veracity scan . --baseline scan-baseline.json --fail-on error
  veracity scan model.pt --env .venv/bin/python
  veracity scan s3://bucket/checkpoints --include '*.pt'
  veracity scan --diff main..HEAD --format markdown"""

_TOLD_EVERY = 0.2
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``scan``."""
    codes = (
        ("0", "every file was read to its end, and nothing was found"),
        ("1", "findings at or above --fail-on"),
        ("2", "something could not be read, or there was no file"),
    )
    parser = add_verb(subparsers, "scan", "find files that can execute", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="a file, or a folder with all that is below; or the URL of one (s3://…, https://…), which is "
        "read in pieces through fsspec: pip install 'veracity[fsspec]'",
    )
    parser.add_argument(
        "--diff",
        metavar="BASE..HEAD",
        help="judge the Python sources between two commits, and of them only what the change adds; PATH is "
        "then the working tree (default: this folder)",
    )
    _add_choice(parser)
    add_environment(parser)
    group = parser.add_argument_group("what counts")
    group.add_argument(
        "--fail-on",
        choices=[one.value for one in Severity],
        default=Severity.WARNING.value,
        help="the least severity that makes a file one with findings (default: warning)",
    )
    group.add_argument(
        "--persona",
        choices=[one.value for one in Persona],
        default=Persona.REGULAR.value,
        help="regular sees what is precise enough for every day, auditor all (default: regular)",
    )
    group.add_argument(
        "--baseline", type=Path, metavar="FILE", help="set aside what this baseline says was there before"
    )
    group.add_argument(
        "--write-baseline", type=Path, metavar="FILE", help="write what is found now as a baseline"
    )
    group.add_argument(
        "--config", type=Path, metavar="FILE", help=CONFIG_HELP.replace("the policy", "[scan]")
    )
    _add_bounds(parser)


def _add_choice(parser: Parser) -> None:
    group = parser.add_argument_group("which files")
    for name, what in (
        ("--include", "read only files that match (may be given again)"),
        ("--exclude", "leave out files and folders that match (may be given again)"),
    ):
        group.add_argument(name, action="append", default=[], metavar="GLOB", help=what)


def _add_bounds(parser: Parser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("--digest", action="store_true", help="tell the SHA-256 of each file")
    group.add_argument(
        "--jobs", type=_jobs, metavar="N", help="read in so many processes (default: one for each processor)"
    )
    group.add_argument(
        "--max-seconds",
        type=_seconds,
        default=120.0,
        metavar="S",
        help="how long one file may take before it is incomplete (default: 120)",
    )
    group.add_argument(
        "--max-unpacked",
        type=_size,
        default=8 << 30,
        metavar="BYTES",
        help="how much may be unpacked of one file, such as 500M (default: 8G)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Scan; the exit code says what was found."""
    form = format_of(arguments, "text", "json", "sarif", "junit", "markdown")
    from ..scan.gate.config import find_config
    from ..scan.gate.result import summarize

    config = find_config(home_of(arguments), Path.cwd(), arguments.config)
    baseline = _baseline(arguments)
    results, left_out = _scan(arguments, config) if arguments.diff is None else (_scan_change(arguments), 0)
    results = _set_aside(results, arguments, config, baseline)
    threshold = Severity(arguments.fail_on)
    may_be_empty = arguments.diff is not None
    summary = summarize(results, threshold, may_be_empty=may_be_empty, left_out=left_out)
    if arguments.write_baseline:
        _write_baseline(arguments.write_baseline, results)
    if form != "text" or not arguments.quiet or summary.exit_code or arguments.output is not None:
        deliver(arguments, _rendered(arguments, form, results, summary, threshold))
    return summary.exit_code


def _scan_change(arguments: argparse.Namespace) -> list[FileResult]:
    from ..scan.code import examine_change
    from ..scan.gate.result import FileResult, Missed

    if arguments.env is not None:
        raise UsageError("--env is about what files name, and --diff reads sources", remedy="leave one out")
    if len(arguments.paths) > 1:
        raise UsageError("--diff is about one working tree", remedy="name one folder, or none")
    folder = arguments.paths[0] if arguments.paths else "."
    results = []
    for one in examine_change(folder, arguments.diff, Persona(arguments.persona)):
        missed = tuple(Missed(gap.what, gap.reason, gap.remedy) for gap in one.gaps)
        results.append(FileResult(one.path, 0, one.findings, missed, ("python",), 1))
    return results


def _scan(arguments: argparse.Namespace, config: ScanConfig) -> tuple[list[FileResult], int]:
    """What was read, and how many names patterns kept out."""
    from ..observe.artifact.url import is_url
    from ..scan.gate.file import Settings
    from ..scan.gate.result import FileResult, Missed
    from ..scan.gate.walk import Choice, Found, Unread, walk
    from ..scan.gate.workers import scan_files

    if not arguments.paths:
        raise UsageError("nothing to scan was named", remedy="veracity scan PATH, or --diff BASE..HEAD")
    choice = Choice(tuple(arguments.include), (*arguments.exclude, *config.exclude))
    found: list[Found] = []
    results: list[FileResult] = []
    left_out = 0
    paths = [path if is_url(path) else os.path.normpath(path) for path in arguments.paths]
    for one in walk(paths, choice):
        if isinstance(one, Found):
            found.append(one)
        elif not isinstance(one, Unread):
            left_out += 1
        else:
            results.append(FileResult(one.path, missed=(Missed(one.path, one.reason, one.remedy),)))
    live = live_environment(arguments)
    bounds = (arguments.max_seconds, arguments.max_unpacked)
    persona, permits = Persona(arguments.persona), _permits(config, live)
    settings = Settings(arguments.digest, *bounds, persona, permits, names=live is not None)
    told = _Told(len(found), quiet=arguments.quiet)
    first = [one for one in found if not one.twin]
    read = scan_files([one.path for one in first], settings, arguments.jobs or os.cpu_count() or 1, told)
    told.done()
    results += read
    results += _twins(found, {one.path: one for one in read})
    if live is not None and results:
        results = live.judged(results, permits, persona)
    return sorted(results, key=lambda one: one.path), left_out


def _permits(config: ScanConfig, live: LiveEnvironment | None) -> SitePermits:
    from ..core.picklepolicy import NO_PERMITS

    if not config.permits:
        return NO_PERMITS
    from ..core.permit import bound_keys, in_force

    definers = live.definers(bound_keys(config.permits, _today())) if live is not None else None
    return in_force(config.permits, _today(), definers)


def _twins(found: Sequence[Found], read: dict[str, FileResult]) -> list[FileResult]:
    """A file that has several names is read once and told under each."""
    return [
        replace(read[one.twin], path=one.path, twin=one.twin)
        for one in found
        if one.twin and one.twin in read
    ]


def _rendered(
    arguments: argparse.Namespace,
    form: str,
    results: list[FileResult],
    summary: Summary,
    threshold: Severity,
) -> str:
    if form == "sarif":
        from .. import __version__
        from ..detect.registry import EVERY
        from ..render.sarif import sarif

        rules = {one.rule.id: one.rule for one in EVERY}
        return sarif(results, summary, rules, __version__, os.getcwd())
    if form == "junit":
        from ..render.junit import junit

        return junit(results, summary, threshold)
    if form == "markdown":
        from ..render.markdown import markdown

        return markdown(results, summary, threshold)
    from ..render.scanned import scan_document, scanned

    if form == "json":
        return scan_document(results, summary, threshold)
    return scanned(results, summary, threshold, console_for(sys.stdout, arguments.output))


class _Told:
    """How many files have been read: on a terminal only."""

    def __init__(self, files: int, *, quiet: bool) -> None:
        self._files = files
        self._read = 0
        self._shows = not quiet and sys.stderr.isatty()
        self._next = time.monotonic() + _TOLD_EVERY
        self._shown = False

    def __call__(self, result: FileResult) -> None:
        self._read += 1
        now = time.monotonic()
        if self._shows and now >= self._next:
            self._next, self._shown = now + _TOLD_EVERY, True
            sys.stderr.write(f"\r{self._read:,} of {self._files:,} files ")
            sys.stderr.flush()

    def done(self) -> None:
        if self._shown:
            say("")


def _baseline(arguments: argparse.Namespace) -> Mapping[str, int]:
    if not arguments.baseline:
        return {}
    from ..scan.gate.aside import read_baseline

    return read_baseline(arguments.baseline)


def _set_aside(
    results: list[FileResult],
    arguments: argparse.Namespace,
    config: ScanConfig,
    baseline: Mapping[str, int],
) -> list[FileResult]:
    if not any(one.findings for one in results):
        return results
    from ..scan.gate.aside import Rules, set_aside

    # Of a change, comments in its own lines set nothing aside: who plants something brings them along.
    return set_aside(results, Rules(config.ignores, baseline, _today(), comments=arguments.diff is None))


def _write_baseline(path: Path, results: Sequence[FileResult]) -> None:
    from ..scan.gate.aside import baseline_document

    deliver(argparse.Namespace(output=str(path)), baseline_document(results))


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.timezone.utc).date()


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of processes from 1 to 256")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of seconds up to a day")
    return seconds


def _size(text: str) -> int:
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no size, such as 500M")
    return int(number) * _UNITS[unit]
