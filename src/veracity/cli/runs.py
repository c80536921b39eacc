"""``veracity runs``: list the runs of a home."""

from __future__ import annotations

import argparse
import sys

from .output import console_for, deliver
from .parsing import Parser, add_verb, format_of, home_of

_DESCRIPTION = """\
List the runs of the home, newest first, with their verdicts: held, broken, incomplete, unfinished (no
verdict yet), refused (not started, on a seal that the policy does not let run), or unreadable (the run's
directory was edited or is damaged; `veracity verify` says how)."""

_EXAMPLES = """\
  veracity runs
  veracity runs --limit 5 --format json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``runs``."""
    codes = (("0", "listed, whatever the verdicts"), ("2", "the home could not be read"))
    parser = add_verb(subparsers, "runs", "list runs, newest first", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "--limit", type=int, default=None, metavar="N", help="only the newest N runs (default: all)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the list."""
    form = format_of(arguments, "text", "json")
    from ..monitor.home import Home
    from ..render import runs

    listings = Home(home_of(arguments)).runs()
    if arguments.limit is not None:
        listings = listings[: max(0, arguments.limit)]
    if form == "json":
        deliver(arguments, runs.document(listings))
    else:
        deliver(arguments, runs.table(listings, console_for(sys.stdout, arguments.output)))
    return 0
