"""Arguments shared by all verbs, and a parser whose mistakes are explained."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..core.errors import UsageError

if TYPE_CHECKING:
    from ..core.level import Level

HOME_VARIABLE = "VERACITY_HOME"
FORMATS = ("text", "json", "html", "sarif", "junit", "markdown")
RUN_HELP = "a run: its id, a prefix that only one id has, or `latest`"
CONFIG_HELP = (
    "the veracity.toml with the policy (default: that of the home, else of this folder, else [tool.veracity] "
    "of this folder's pyproject.toml)"
)
# Global flags, needed to find the verb before anything is parsed: those with a value, those without.
VALUED = ("--home", "--format", "--output")
HELP = ("--help", "-h")
PLAIN = ("--quiet", "--version", *HELP)


class Parser(argparse.ArgumentParser):
    """Says what is wrong as a UsageError, with the nearest flag or verb when something was mistyped."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in place of printing usage and leaving."""
        verb = self.prog.removeprefix("veracity").strip()
        raise UsageError(message, remedy=f"see `veracity {verb} --help`" if verb else "see `veracity --help`")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the terminal's width without shutil, whose compressions take longer to import than most of us.

    argparse makes one even when no help is shown.
    """

    def __init__(
        self, prog: str, indent_increment: int = 2, max_help_position: int = 24, width: int | None = None
    ) -> None:
        super().__init__(prog, indent_increment, max_help_position, _width() if width is None else width)


def _width() -> int:
    """Columns of the terminal as :func:`shutil.get_terminal_size` tells them, without the last two."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and len(columns) < 6 and int(columns):
        return int(columns) - 2
    try:
        told = os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns
    except (OSError, ValueError):
        told = 0
    return (told or 80) - 2


def new_parser(prog: str, description: str, epilog: str) -> Parser:
    """The parser of the whole command line, with the global flags."""
    parser = Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add_shared(parser, home=default_home(), quiet=False, form=None, output=None)
    return parser


def add_verb(
    subparsers: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    description: str,
    examples: str,
    exit_codes: Iterable[tuple[str, str]],
) -> Parser:
    """A verb's parser: what it does, examples, and what its exit codes mean."""
    codes = "\n".join(f"  {code:<6}{meaning}" for code, meaning in exit_codes)
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\n\nexit codes:\n{codes}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    # A flag that stands before the verb must survive the verb's own defaults.
    nothing = argparse.SUPPRESS
    add_shared(parser, home=nothing, quiet=nothing, form=nothing, output=nothing)
    return parser


def add_shared(
    parser: argparse.ArgumentParser,
    *,
    home: Path | str,
    quiet: bool | str,
    form: str | None,
    output: str | None,
) -> None:
    """The flags every verb takes, before or after its name."""
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--home",
        type=Path,
        default=home,
        metavar="DIR",
        help="where runs are kept (default: $VERACITY_HOME, else ~/.veracity)",
    )
    group.add_argument("--quiet", action="store_true", default=quiet, help="say only what was asked for")
    group.add_argument(
        "--format", choices=FORMATS, default=form, help="form of the output (which ones, each verb says)"
    )
    group.add_argument(
        "--output",
        default=output,
        metavar="FILE",
        help="write there instead of to the terminal; - is standard output",
    )


def default_home() -> Path:
    """``VERACITY_HOME`` when it is set and not empty, else ``.veracity`` in the user's own directory."""
    given = os.environ.get(HOME_VARIABLE, "")
    return Path(given) if given else Path("~/.veracity")


def home_of(arguments: argparse.Namespace) -> Path:
    """The home to use, as an absolute path; raises UsageError when ``~`` leads nowhere."""
    try:
        home: Path = arguments.home.expanduser()
    except RuntimeError as error:
        raise UsageError(
            "the user's own directory is not known", remedy="name a home with --home DIR or VERACITY_HOME"
        ) from error
    return home.absolute()


def format_of(arguments: argparse.Namespace, *allowed: str) -> str:
    """The form asked for, or the verb's usual one, which is the first of ``allowed``."""
    form: str | None = arguments.format
    if form is None:
        return allowed[0]
    if form not in allowed:
        raise UsageError(
            f"`veracity {arguments.verb}` has no format {form!r}", remedy=f"it has {' and '.join(allowed)}"
        )
    return form


def share(text: str) -> float:
    """A share given in percent, ``1%`` or ``0.5``, as a number from 0 to 1.

    Raises argparse.ArgumentTypeError for what is no percentage from 0 to 50.
    """
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 50:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no percentage from 0 to 50, like 1%")
    return percent / 100


LEVEL_HELP = (
    "how closely: full reads all; kernel takes fs-verity's word; stat reads what does not look as it did "
    "when this home last read it (device, inode, size, times, mode); sample=1%% reads that share of the "
    "rest, drawn by a key"
)


def level(text: str) -> Level:
    """A level of verification; raises argparse.ArgumentTypeError for what is none."""
    from ..core.level import level_of

    try:
        return level_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, empty when none is."""
    import difflib

    return next(iter(difflib.get_close_matches(word[:64], sorted(known), n=1, cutoff=0.5)), "")
