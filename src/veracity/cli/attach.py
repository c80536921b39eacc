"""``veracity attach RUN``: take up the record of a run whose monitor ended before it."""

from __future__ import annotations

import argparse

from .output import console_for, deliver
from .outsiders import add_outsiders, tell_unsigned, timestamps_of, witnesses_of
from .parsing import RUN_HELP, Parser, add_verb, format_of, home_of

_DESCRIPTION = """\
Read what the guards of RUN wrote while no monitor was there, record and judge it. The job goes on in the
meantime or has ended; nothing that was written is lost. Ends when the job does."""

_EXAMPLES = """\
  veracity attach latest
  veracity attach run-20250302-140211-a1b2c3 --format json
  veracity attach latest --witness-policy witnesses.policy"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``attach``."""
    codes = (("0", "held"), ("1", "broken"), ("2", "incomplete, or could not attach"))
    parser = add_verb(
        subparsers, "attach", "take up a run whose monitor ended", _DESCRIPTION, _EXAMPLES, codes
    )
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP + " (default: latest)"
    )
    add_outsiders(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Attach, then show the run; the verdict decides the exit code."""
    import sys

    form = format_of(arguments, "text", "json")
    from ..monitor.attach import attach_run
    from ..monitor.home import Home
    from ..render import json_document, text

    home = home_of(arguments)
    witnesses, policy = witnesses_of(arguments)
    timestamps = timestamps_of(arguments)
    folder = Home(home).resolve(arguments.run)
    summary = attach_run(home, folder.name)
    if witnesses or timestamps:
        from ..monitor.folder import RunFolder
        from ..monitor.stamping import stamp
        from ..monitor.witnessing import Witnessing

        witnessing = Witnessing(RunFolder(folder), witnesses, policy)
        witnessing.start()
        tell_unsigned(witnessing.close(), stamp(RunFolder(folder), timestamps))
    if form == "json":
        deliver(arguments, json_document.document(summary))
    else:
        told = text.headline if arguments.quiet else text.show
        deliver(arguments, told(summary, console_for(sys.stdout, arguments.output)))
    return summary.verdict.outcome.exit_code if summary.verdict is not None else 2
