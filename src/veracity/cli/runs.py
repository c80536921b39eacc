"""``veracity runs``: list the runs of a home."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .output import console_for, deliver
from .parsing import Parser, add_verb, format_of, home_of
from .service import add_monitor, service_of

if TYPE_CHECKING:
    from ..monitor.home import RunListing

_DESCRIPTION = """\
List the runs of the home and those that a service recorded for this account, newest first, with their
verdicts: held, broken, incomplete, unfinished (no verdict yet), refused (not started, on a seal that the
policy does not let run), or unreadable (the run's directory was edited or is damaged; `veracity verify` says
how)."""

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
    add_monitor(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Print the list."""
    form = format_of(arguments, "text", "json")
    from ..render import runs

    listings = _listings(arguments)
    if arguments.limit is not None:
        listings = listings[: max(0, arguments.limit)]
    if form == "json":
        deliver(arguments, runs.document(listings))
    else:
        deliver(arguments, runs.table(listings, console_for(sys.stdout, arguments.output)))
    return 0


def _listings(arguments: argparse.Namespace) -> list[RunListing]:
    """The runs of the home, and those of this account that a service recorded."""
    from ..monitor.home import MAX_LISTED, Home

    socket, asked = service_of(arguments)
    own = [] if asked else Home(home_of(arguments)).runs()
    if socket is None:
        return own
    from ..monitor.service.finding import ask_runs

    theirs = ask_runs(socket, MAX_LISTED, asked=asked)
    return sorted([*theirs, *own], key=lambda one: one.started_at, reverse=True)
