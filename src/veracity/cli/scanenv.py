"""``veracity scan --env``: the environment that is to load the files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .parsing import Parser, home_of

if TYPE_CHECKING:
    from ..scan.gate.live import LiveEnvironment


def add_environment(parser: Parser) -> None:
    """Add the flag."""
    group = parser.add_argument_group("what the files' names stand for")
    group.add_argument(
        "--env",
        type=Path,
        metavar="PYTHON",
        help="the interpreter that will load the files, or its virtual environment: what pickles name is "
        "looked up there (path, packages, .pth, sitecustomize, bytecode), and none of it imported; permits "
        "with a sha256 hold only with this",
    )


def live_environment(arguments: argparse.Namespace) -> LiveEnvironment | None:
    """What ``--env`` names, as it starts with our variables; raises UsageError when that is no Python."""
    if arguments.env is None:
        return None
    import veracity

    from ..scan.gate.live import Caches, LiveEnvironment

    code = Path(veracity.__file__).resolve().parent
    caches = Caches(home_of(arguments) / "cache", code.parent, code.name)
    return LiveEnvironment(arguments.env.expanduser(), os.environ, caches)
