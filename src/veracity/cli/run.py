"""``veracity run -- CMD``: run a training job under observation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from ..core.rule import Severity
from ..core.verdict import Outcome
from .output import console_for, deliver, say, tell_error
from .parsing import Parser, add_verb, format_of, home_of, share

if TYPE_CHECKING:
    from ..core.summary import RunSummary

_DESCRIPTION = """\
Run CMD as you would without `veracity run --` in front of it. Its output, its signals and its exit code
are its own; each training step is checked from outside the process and recorded. Nothing found or failed
here stops the job, unless --policy enforce says so."""

_EXAMPLES = """\
  veracity run -- python train.py --steps 300
  veracity run --name baseline -- torchrun --nproc-per-node 2 train.py
  veracity run --job-folder /shared/jobs/42 -- torchrun --nnodes 2 --node-rank 0 ... train.py
  veracity run --optimizer-reference lion.py -- python train.py
  veracity run --fail-on warning --format json --output run.json -- python train.py"""

_CODES = (
    ("CMD's", "when CMD was started and --fail-on asks for nothing else"),
    ("1", "with --fail-on: the verdict is not held, or a finding is at or above SEVERITY"),
    ("2", "could not start observing (wrong usage, home not writable)"),
    ("126", "CMD is not executable"),
    ("127", "CMD does not exist"),
)


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``run``."""
    parser = add_verb(
        subparsers, "run", "run a training job under observation", _DESCRIPTION, _EXAMPLES, _CODES
    )
    parser.usage = "veracity run [flags] -- CMD ..."
    parser.add_argument(
        "--policy",
        choices=("observe", "enforce"),
        default="observe",
        help="observe never stops the job; enforce does when it is broken or unobserved (default: observe)",
    )
    parser.add_argument(
        "--fail-on",
        choices=[level.value for level in Severity],
        metavar="SEVERITY",
        help="exit 1 when the verdict is not held or a finding is at least error, warning or note",
    )
    parser.add_argument("--name", default="", metavar="NAME", help="a name for people to know the run by")
    _add_job(parser)
    parser.add_argument(
        "--overhead",
        type=share,
        default=0.01,
        metavar="PERCENT",
        help="how much longer training may take, its first steps apart; half of it is spent on looking at "
        "steps that a key draws (default: 1%%; 50%% looks at every step)",
    )
    parser.add_argument(
        "--no-stacks",
        dest="stacks",
        action="store_false",
        help="do not read the stacks of slow steps from outside",
    )
    parser.add_argument(
        "--hang-after",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="no step of any rank for this long, and for much longer than usual, is a hang (default: 120)",
    )
    parser.add_argument(
        "--optimizer-reference",
        dest="references",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="functions that say what steps of optimizers that are not torch's compute, so that these steps "
        "are checked too; the file is read, not run (may be given several times)",
    )
    _add_witness(parser)
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="-- CMD ...",
        help="the command to run, with its arguments",
    )


def _add_witness(parser: Parser) -> None:
    parser.add_argument(
        "--witness",
        dest="witnesses",
        action="append",
        default=[],
        metavar="URL=KEY",
        help="have the record cosigned by this witness, now and then and at its end (may be given several "
        "times; see `veracity witness`)",
    )


def _add_job(parser: Parser) -> None:
    """Flags of jobs over several nodes."""
    parser.add_argument(
        "--job",
        default="",
        metavar="ID",
        help="the job over several nodes that this run is part of, the same on each node (default: what the "
        "scheduler or the launcher's own flags say, when they speak of more than one node)",
    )
    parser.add_argument(
        "--job-folder",
        type=Path,
        metavar="DIR",
        help="where the monitors of one job meet, on a file system that all its nodes share (default: "
        "jobs/ID in the home)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code, or what ``--fail-on`` makes of the verdict."""
    if not arguments.command:
        raise UsageError("no command to run", remedy="veracity run -- python train.py")
    form = format_of(arguments, "text", "json")
    from ..ledger.witness.asking import KnownWitness
    from ..monitor.job import RunOptions, run_job
    from ..monitor.launch import CommandError
    from ..monitor.references import read_references
    from ..render import json_document, text
    from ..render.visible import visible

    options = RunOptions(
        home=home_of(arguments),
        policy=arguments.policy,
        name=arguments.name,
        stacks=arguments.stacks,
        quiet=arguments.quiet,
        overhead=arguments.overhead,
        hang_after=arguments.hang_after,
        job=arguments.job,
        job_folder=arguments.job_folder,
        references=read_references(arguments.references),
        witnesses=tuple(map(KnownWitness.parse, arguments.witnesses)),
    )
    try:
        result = run_job(arguments.command, options)
    except CommandError as error:
        tell_error(error)
        return error.status
    if not arguments.quiet:
        # On standard error: standard output is the job's own.
        say(text.closing(result.summary, console_for(sys.stderr)))
    for sentence in result.uncosigned:
        say(f"not cosigned: {visible(sentence)}")
    if form == "json":
        deliver(arguments, json_document.document(result.summary))
    elif arguments.output is not None:
        deliver(arguments, text.show(result.summary))
    return exit_code_of(result.summary, result.exit_code, arguments.fail_on)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 <= value <= 1e6:
        raise argparse.ArgumentTypeError("must be between 1 and 1000000 seconds")
    return value


def exit_code_of(summary: RunSummary, code: int, fail_on: str | None) -> int:
    """The command's own ``code``; 1 instead when ``fail_on`` is given and the run is not clean enough."""
    if fail_on is None:
        return code
    threshold = Severity(fail_on).weight
    held = summary.verdict is not None and summary.verdict.outcome is Outcome.HELD
    if held and all(finding.severity.weight < threshold for finding in summary.findings):
        return code
    return 1
