"""``veracity demo``: see it catch two planted changes on this machine."""

from __future__ import annotations

import argparse

from .parsing import Parser, add_verb, home_of

_DESCRIPTION = """\
Train a small model three times on this machine: as it should be; with one marked edit in a throw-away copy
of torch's optimizer; and resumed from a checkpoint that was edited in between. Shows what was found each
time and writes the reports. Needs torch in the Python that runs it; takes up to three minutes on 2 cores."""

_EXAMPLES = """\
  veracity demo
  veracity demo --home /tmp/veracity-demo"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``demo``."""
    codes = (
        ("0", "the clean run held and both changes were caught"),
        ("1", "one of them was not"),
        ("2", "could not be carried out"),
    )
    add_verb(subparsers, "demo", "see two planted changes being caught", _DESCRIPTION, _EXAMPLES, codes)


def execute(arguments: argparse.Namespace) -> int:
    """Run the demonstration."""
    from ..drill.demo import run_demo

    return run_demo(home_of(arguments), arguments.quiet)
