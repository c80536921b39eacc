"""``veracity run -- CMD``: run a training job under observation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import Error, EvidenceError, TransportError, UsageError, VerificationError
from ..core.level import FULL, Level
from ..core.rule import Severity
from ..core.verdict import Outcome
from ..render.visible import visible
from .output import console_for, deliver, say, tell_error
from .outsiders import add_outsiders, tell_unsigned, timestamps_of, witnesses_of
from .parsing import CONFIG_HELP, LEVEL_HELP, Parser, add_verb, format_of, home_of, level, share
from .progress import Told
from .service import add_monitor, service_of
from .witness import policy_in

if TYPE_CHECKING:
    from ..core.observation import SealChecked
    from ..core.summary import RunSummary
    from ..monitor.job import RunOptions
    from ..monitor.service.handover import HandedOver
    from ..scan.gate.config import ScanConfig

_DESCRIPTION = """\
Run CMD as you would without `veracity run --` in front of it. Its output, its signals and its exit code
are its own; each training step is checked from outside the process and recorded. Nothing found or failed
here stops the job, unless --policy enforce says so."""

_EXAMPLES = """\
  veracity run -- python train.py --steps 300
  veracity run --name baseline -- torchrun --nproc-per-node 2 train.py
  veracity run --job-folder /shared/jobs/42 -- torchrun --nnodes 2 --node-rank 0 ... train.py
  veracity run --optimizer-reference lion.py -- python train.py
  veracity run --policy enforce --seal latest -- python train.py
  veracity run --monitor /run/veracity/monitor.sock -- python train.py
  veracity run --fail-on warning --format json --output run.json -- python train.py"""

MAX_REFUSALS = 30
_CODES = (
    ("CMD's", "when CMD was started and --fail-on asks for nothing else"),
    (
        "1",
        "with --policy enforce --seal: not started, as the seal is not approved or not what is there",
    ),
    ("1", "with --fail-on: the verdict is not held, a finding is at or above SEVERITY, or too few witnesses"),
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
    add_monitor(parser)
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
    add_outsiders(parser)
    _add_seal(parser)
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="-- CMD ...",
        help="the command to run, with its arguments",
    )


def _add_seal(parser: Parser) -> None:
    """Flags of runs that are started on a seal."""
    parser.add_argument(
        "--seal",
        metavar="SEAL",
        help="read what was sealed again and look its approvals up before CMD is started: its id, a prefix, "
        "or `latest`; with --policy enforce CMD is not started on what differs or is not approved",
    )
    parser.add_argument(
        "--unsafe-override",
        metavar="REASON",
        help="start CMD whatever the policy says of the seal, where it allows that; the reason and who gave "
        "it stand in the record, and the run is never called held",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG_HELP)
    parser.add_argument(
        "--level",
        type=level,
        metavar="LEVEL",
        help=f"of --seal, {LEVEL_HELP} (default: the policy's, else full; no weaker one to enforce)",
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
    spoken = (arguments.unsafe_override, arguments.config, arguments.level)
    if arguments.seal is None and any(one is not None for one in spoken):
        raise UsageError("--unsafe-override, --config and --level speak of a seal: name it with --seal")
    form = format_of(arguments, "text", "json")
    from ..monitor.job import RunOptions, run_job
    from ..monitor.launch import CommandError
    from ..monitor.references import read_references
    from ..render import json_document, text

    witnesses, policy = witnesses_of(arguments)
    sealed, refused = (None, []) if arguments.seal is None else _sealed(arguments)
    options = RunOptions(
        home=home_of(arguments),
        sealed=sealed,
        policy=arguments.policy,
        name=arguments.name,
        stacks=arguments.stacks,
        quiet=arguments.quiet,
        overhead=arguments.overhead,
        hang_after=arguments.hang_after,
        job=arguments.job,
        job_folder=arguments.job_folder,
        references=read_references(arguments.references),
        witnesses=witnesses,
        witness_policy=policy,
        timestamps=timestamps_of(arguments),
        scan=_permitted(arguments),
    )
    if sealed is not None and refused:
        raise _refuse(arguments, options, sealed, refused)
    try:
        handed = _handed_over(arguments, options)
        if handed is not None and handed.result is None:
            return handed.exit_code if arguments.fail_on is None else 1
        result = handed.result if handed is not None else None
        result = result or run_job(arguments.command, options)
    except CommandError as error:
        tell_error(error)
        return error.status
    if not arguments.quiet:
        # On standard error: standard output is the job's own.
        say(text.closing(result.summary, console_for(sys.stderr)))
    tell_unsigned(result.uncosigned, result.unstamped)
    if form == "json":
        deliver(arguments, json_document.document(result.summary))
    elif arguments.output is not None:
        deliver(arguments, text.show(result.summary))
    if arguments.fail_on is not None and not result.witnessed:
        return 1
    return exit_code_of(result.summary, result.exit_code, arguments.fail_on)


def _permitted(arguments: argparse.Namespace) -> ScanConfig:
    """What the site permits in files that are loaded; nothing where that is wrong, unless to enforce."""
    from ..monitor.loads import find_rules
    from ..scan.gate.config import ScanConfig

    try:
        return find_rules(home_of(arguments), Path.cwd())
    except UsageError as error:
        if arguments.policy == "enforce":
            raise
        tell_error(error)
        say("veracity: nothing is permitted in files that are loaded; the run goes on")
        return ScanConfig()


def _handed_over(arguments: argparse.Namespace, options: RunOptions) -> HandedOver | None:
    """The run as a service has recorded it; None when there is none to hand it over to.

    One that was asked for must take it (UsageError, TransportError). One that merely is there need not: the
    run is then recorded by this account, and the person is told so; but not with ``--policy enforce``.
    """
    socket, asked = service_of(arguments)
    if socket is None:
        return None
    from ..monitor.service.handover import RefusedError, hand_over

    try:
        if options.sealed is not None:
            raise RefusedError(
                "a service has no seals, and does not take the word of a job's own account for one",
                remedy="record by yourself with --monitor none",
            )
        opened = hand_over(arguments.command, options, socket, asked=asked)
    except (RefusedError, TransportError) as error:
        if asked or options.policy == "enforce":
            raise
        tell_error(error)
        say("veracity: recorded by this account instead")
        return None
    handed = opened.run()
    for sentence in handed.told:
        say(f"veracity: {sentence}")
    return handed


def _sealed(arguments: argparse.Namespace) -> tuple[SealChecked, list[str]]:
    """How the seal stands, and why the command must not be started on it; nothing where it may."""
    from ..monitor.startcheck import check_start, refusals
    from ..seal.folder import find_seal
    from ..seal.policyfile import find_policy

    home = home_of(arguments)
    override: str = arguments.unsafe_override or ""
    folder = find_seal(home, arguments.seal)
    policy = find_policy(home, Path.cwd(), arguments.config)
    enforces = arguments.policy == "enforce"
    if policy is None and enforces:
        raise UsageError(
            "there is no policy to enforce", remedy="write [policy] into veracity.toml of the home"
        )
    if arguments.unsafe_override is not None and not override.strip():
        raise UsageError("an override needs a reason: --unsafe-override 'why it cannot wait'")
    wanted = FULL if policy is None else policy.policy.level
    asked: Level = arguments.level or wanted
    if enforces and asked.is_weaker_than(wanted):
        raise UsageError(f"the policy wants the level {wanted}, and {asked} may miss what that finds")
    read = Told(quiet=arguments.quiet)
    file: Path | None = arguments.witness_policy
    witnesses = [policy_in(file)] if file is not None else []
    checked = check_start(
        home,
        folder,
        policy,
        arguments.command,
        level=asked,
        override=override,
        progress=read,
        witnesses=witnesses,
    )
    read.done()
    if asked.remembers and not arguments.quiet:
        for sentence in checked.looked:
            say(f"veracity: {checked.seal}, {sentence}")
    refused = refusals(checked)
    if override and policy is not None and not policy.policy.override:
        return checked, [f"the policy allows no override: {policy.path}", *refused]
    if refused and enforces and not override:
        return checked, refused
    if refused or override:
        does = "OVERRIDE, started although" if override else "started although"
        for sentence in refused or ["nothing stood against it: the override was not needed"]:
            say(f"veracity: {does}: {visible(sentence)}")
    return checked, []


def _refuse(
    arguments: argparse.Namespace, options: RunOptions, sealed: SealChecked, refused: Sequence[str]
) -> Error:
    """Record the refusal, and give the error that says it; it is refused even if it cannot be recorded."""
    from ..monitor.refused import record_refusal

    error = refusal(sealed, refused)
    outcome = Outcome.BROKEN if isinstance(error, VerificationError) else Outcome.INCOMPLETE
    try:
        run, uncosigned = record_refusal(arguments.command, options, refused, outcome)
    except (Error, OSError) as failure:
        say(f"veracity: the refusal is not recorded: {visible(str(failure))}")
        return error
    say(f"veracity: the refusal is recorded as {run}")
    tell_unsigned(uncosigned, ())
    return error


def refusal(checked: SealChecked, refused: Sequence[str]) -> Error:
    """Why a run is not started; exit code 1, or 2 when all that stands against it is what was not read."""
    lines = "\n".join(f"  {sentence}" for sentence in refused[:MAX_REFUSALS])
    more = f"\n  and {len(refused) - MAX_REFUSALS:,} more" if len(refused) > MAX_REFUSALS else ""
    what = f"not started on {checked.seal}:\n{lines}{more}"
    remedy = f"see `veracity approve --list {checked.seal}` and `veracity verify {checked.seal}`"
    decided = bool(checked.drift or checked.outside or checked.override)
    decided = decided or checked.standing not in ("approved", "unknown")
    return (VerificationError if decided else EvidenceError)(what, remedy=remedy)


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
