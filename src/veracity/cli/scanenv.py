"""``veracity scan --env``: the environment that is to load the files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
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
    for name, metavar, what in (
        (
            "--lock",
            "FILE",
            "with --env: a lock file that names packages' archives by digest, which then say how "
            "files should be, and not the RECORDs beside them (may be given again)",
        ),
        ("--wheels", "DIR", "with --env: a folder with these archives (may be given again)"),
    ):
        group.add_argument(name, type=Path, action="append", default=[], metavar=metavar, help=what)


def live_environment(arguments: argparse.Namespace) -> LiveEnvironment | None:
    """What ``--env`` names, as it starts with our variables; raises UsageError when that is no Python."""
    locks, wheels = arguments.lock, arguments.wheels
    if arguments.env is None:
        if locks or wheels:
            raise UsageError(
                "--lock and --wheels are about an environment", remedy="name it with --env PYTHON"
            )
        return None
    import veracity

    from ..observe.lockfile import read_lock
    from ..scan.archives import Archives
    from ..scan.gate.live import Caches, LiveEnvironment

    code = Path(veracity.__file__).resolve().parent
    caches = Caches(home_of(arguments) / "cache", code.parent, code.name)
    archives = Archives(caches.home, [read_lock(one) for one in locks], wheels) if locks or wheels else None
    return LiveEnvironment(arguments.env.expanduser(), os.environ, caches, archives)
