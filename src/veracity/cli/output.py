"""Where results go: the terminal in colour, a pipe or a file in plain text."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..core.errors import Error

if TYPE_CHECKING:
    from rich.console import Console

STANDARD_OUTPUT = "-"


def console_for(stream: TextIO, output: str | None = None) -> Console | None:
    """A console when ``stream`` is a terminal that may be coloured and nothing goes to a file, else None."""
    if output not in (None, STANDARD_OUTPUT) or not stream.isatty():
        return None
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(file=stream)


def deliver(arguments: argparse.Namespace, text: str, default: Path | None = None) -> Path | None:
    """Write ``text`` where ``--output`` says, else to ``default``, else to standard output.

    Returns the file written, None for standard output. Raises OSError when the file cannot be written; a
    file that is there is replaced only by a whole one.
    """
    target: str | None = arguments.output
    if target == STANDARD_OUTPUT or (target is None and default is None):
        sys.stdout.write(text)
        sys.stdout.flush()
        return None
    path = Path(target) if target is not None else default
    if path is None:
        return None
    _write_whole(path, text.encode("utf-8"))
    return path


def _write_whole(path: Path, data: bytes) -> None:
    if path.exists() and not path.is_file():
        path.write_bytes(data)  # a device or a pipe, such as /dev/stdout, cannot be replaced
        return
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        with open(partial, "xb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        # The person asked for ``path`` and knows nothing of the partial file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def say(text: str) -> None:
    """Tell the person at the terminal something that is not the result: on standard error."""
    sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
    sys.stderr.flush()


def tell_error(error: Error) -> None:
    """What happened, where and what to do, with nothing in it that could steer a terminal."""
    from ..render.visible import visible

    lines = str(error.diagnostics()).splitlines() or ["failed"]
    say("\n".join(visible(line) for line in [f"veracity: {lines[0]}", *lines[1:]]))


def tell_failure(error: OSError) -> None:
    """A failing operating system call as a sentence."""
    from ..render.visible import visible

    where = f": {error.filename}" if error.filename else ""
    say(visible(f"veracity: {error.strerror or type(error).__name__}{where}"))
