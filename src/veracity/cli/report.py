"""``veracity report RUN``: one HTML file to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import deliver, say
from .parsing import RUN_HELP, Parser, add_verb, format_of
from .service import add_monitor, summary_of

_DESCRIPTION = """\
Write a run as one HTML file that needs no network and no script: loss curve with findings marked, step
times, findings with numbers and source, coverage, gaps, what ran. Without --output it is put into the run's
directory as report.html; a run that a service recorded into the working folder, as <run>.html."""

_EXAMPLES = """\
  veracity report latest
  veracity report latest --output report.html"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``report``."""
    codes = (
        ("0", "written, whatever the verdict"),
        ("2", "the run could not be read or the file not written"),
    )
    parser = add_verb(subparsers, "report", "write a run as one HTML file", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP + " (default: latest)"
    )
    add_monitor(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Write the file and say where it is."""
    format_of(arguments, "html")
    from ..render import html
    from ..render.visible import visible

    summary, folder = summary_of(arguments, arguments.run)
    # A run that a service recorded has its folder where nobody else may write: the report comes here.
    place = Path(f"{summary.run}.html") if folder is None else folder / "report.html"
    written = deliver(arguments, html.report(summary), place)
    if written is not None and not arguments.quiet:
        say(visible(f"report: {written.absolute()}"))
    return 0
