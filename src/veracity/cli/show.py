"""``veracity show RUN``: what was found in a run."""

from __future__ import annotations

import argparse
import sys

from .output import console_for, deliver
from .parsing import RUN_HELP, Parser, add_verb, format_of
from .service import add_monitor, summary_of

_DESCRIPTION = """\
Show a run: its verdict, the findings with what was expected and seen, how much each law checked, what could
not be observed, what ran, and the root of its record."""

_EXAMPLES = """\
  veracity show                          the newest run
  veracity show run-20250302-1402        any prefix that only one run has
  veracity show latest --format json --output run.json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``show``."""
    codes = (("0", "held"), ("1", "broken"), ("2", "incomplete, no verdict yet, or could not be read"))
    parser = add_verb(subparsers, "show", "show what was found in a run", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP + " (default: latest)"
    )
    add_monitor(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Show the run; the verdict decides the exit code."""
    form = format_of(arguments, "text", "json")
    from ..render import json_document, text

    summary, _ = summary_of(arguments, arguments.run)
    if form == "json":
        deliver(arguments, json_document.document(summary))
    else:
        told = text.headline if arguments.quiet else text.show
        deliver(arguments, told(summary, console_for(sys.stdout, arguments.output)))
    return summary.verdict.outcome.exit_code if summary.verdict is not None else 2
