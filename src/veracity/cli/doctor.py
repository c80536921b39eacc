"""``veracity doctor``: can this machine do it, and what is missing?"""

from __future__ import annotations

import argparse
import json
import sys

from .output import console_for, deliver
from .parsing import Parser, add_verb, format_of, home_of

_DESCRIPTION = """\
Check what Veracity needs on this machine and in this home, and say in words what is missing and what to do
about it. Starts no process and changes nothing but a file it writes into the home and takes away again."""

_EXAMPLES = """\
  veracity doctor
  veracity doctor --home /shared/veracity --format json"""

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``doctor``."""
    codes = (("0", "no problem (notes are none)"), ("2", "at least one problem"))
    add_verb(subparsers, "doctor", "check what this machine offers", _DESCRIPTION, _EXAMPLES, codes)


def execute(arguments: argparse.Namespace) -> int:
    """Check and explain."""
    form = format_of(arguments, "text", "json")
    from ..render.page import Page
    from .checkup import PROBLEM, examine

    lines = examine(home_of(arguments))
    if form == "json":
        rows = [
            {"subject": line.subject, "state": line.state, "seen": line.seen, "remedy": line.remedy}
            for line in lines
        ]
        deliver(arguments, json.dumps(rows, ensure_ascii=True, indent=2) + "\n")
    else:
        page = Page()
        for line in lines:
            if arguments.quiet and line.state != PROBLEM:
                continue
            page.line((line.state.ljust(9), _STYLES[line.state]), line.subject.ljust(16), line.seen)
            if line.remedy:
                page.paragraph(f"what to do: {line.remedy}", indent=" " * 25)
        deliver(arguments, page.show(console_for(sys.stdout, arguments.output)))
    return 2 if any(line.state == PROBLEM for line in lines) else 0
