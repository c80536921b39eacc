"""``veracity seal --sbom``: a bill of materials of a Python environment."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from ..core.quantity import quantity
from .output import STANDARD_OUTPUT, deliver, say
from .parsing import Parser, format_of

if TYPE_CHECKING:
    from ..observe.interpreter import PythonEnvironment

MAX_SHOWN = 20


def add_flags(parser: Parser) -> None:
    """The flag of ``seal`` that is about environments."""
    parser.add_argument(
        "--sbom",
        metavar="FILE",
        help="write a CycloneDX 1.6 bill of materials there (- is standard output), of the environment that "
        "--python names (default: of the python on PATH)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Write the bill: 0 when every distribution is in it, 2 when some could not be read."""
    format_of(arguments, "text")
    if arguments.key is not None:
        raise UsageError(
            "--key does not sign a bill of materials", remedy="`ssh-keygen -Y sign` signs any file"
        )
    from ..ledger.files import write_whole
    from ..observe.packages import read_environment
    from ..render import cyclonedx
    from ..render.visible import visible

    place = _environment(arguments)
    environment = read_environment(place.sites)
    if not environment.packages and not environment.unread:
        raise UsageError("no distribution is installed there", where=place.prefix)
    text = cyclonedx.bill(environment, place.version)
    if arguments.sbom == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_whole(Path(arguments.sbom), text.encode("ascii"))
        if not arguments.quiet or arguments.output is not None:
            count = len(environment.packages)
            deliver(arguments, visible(f"wrote  {arguments.sbom}: {quantity(count, 'distribution')}") + "\n")
    for one in environment.unread[:MAX_SHOWN]:
        say(visible(f"not read  {one}"))
    if len(environment.unread) > MAX_SHOWN:
        say(f"and {len(environment.unread) - MAX_SHOWN:,} more could not be read")
    return 2 if environment.unread else 0


def _environment(arguments: argparse.Namespace) -> PythonEnvironment:
    """The environment that was named, else that of the python on PATH."""
    from ..observe.interpreter import find_environment

    if arguments.paths or arguments.lock or arguments.wheels:
        raise UsageError(
            "a bill of materials is of one environment and of nothing else", remedy="name it with --python"
        )
    named: Path | None = arguments.python
    found = named or shutil.which("python") or shutil.which("python3")
    if found is None:
        raise UsageError("there is no python on PATH", remedy="name an environment with --python")
    return find_environment(Path(found).expanduser(), os.environ)
