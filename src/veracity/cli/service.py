"""Where a service records: its flag, and how its runs are asked for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .parsing import Parser, default_home

if TYPE_CHECKING:
    from ..core.summary import RunSummary

MONITOR_HELP = (
    "the socket of a service that records under an account of its own, or `none` "
    "(default: $VERACITY_MONITOR, else /run/veracity/monitor.sock, where it is root's or that of the account "
    "veracity and no --home is given)"
)


def add_monitor(parser: Parser) -> None:
    """Add ``--monitor``."""
    parser.add_argument("--monitor", default=None, metavar="SOCKET", help=MONITOR_HELP)


def service_of(arguments: argparse.Namespace) -> tuple[Path | None, bool]:
    """The service's socket, None without one; and whether the person asked for it."""
    from ..monitor.service.finding import find_socket

    socket, asked = find_socket(arguments.monitor, os.environ)
    own = arguments.home != default_home()
    return (socket, asked) if asked or not own else (None, False)


def summary_of(arguments: argparse.Namespace, run: str) -> tuple[RunSummary, Path | None]:
    """The run as the service has it, or the home; and its folder where it is one's own.

    A run that the service does not have is looked for in the home, unless the service was asked for.
    """
    from ..monitor.home import Home
    from ..monitor.summary import load_summary
    from .parsing import home_of

    socket, asked = service_of(arguments)
    if socket is not None:
        from ..monitor.service.finding import ask_summary

        try:
            return ask_summary(socket, run, asked=asked), None
        except UsageError:
            if asked:
                raise
    folder = Home(home_of(arguments)).resolve(run)
    return load_summary(folder), folder
