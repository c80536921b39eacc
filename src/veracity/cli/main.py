"""The command line: parse, one library call, a renderer, an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from ..core.errors import Error, UsageError
from .output import tell_error, tell_failure
from .parsing import HELP, PLAIN, VALUED, Parser, nearest, new_parser

_DESCRIPTION = """\
Veracity keeps model training true: it runs a training job, checks each step against the laws of
training from outside the process, and keeps a record that shows any later change."""

_EPILOG = """\
start here:
  veracity run -- python train.py      train as usual, but checked
  veracity show latest                 what was found
  veracity report latest               the same as one HTML file to hand on

exit codes:
  0   clean and complete
  1   findings at or above the threshold, or a verification failed
  2   could not complete (wrong usage included)
  130 interrupted
`veracity run` passes the exit code of its command on; see `veracity run --help`."""

INTERRUPTED = 130
FAILED = 2
_DASHES = "--"

VERBS = (
    "run",
    "attach",
    "runs",
    "show",
    "report",
    "scan",
    "convert",
    "verify",
    "seal",
    "approve",
    "revoke",
    "bundle",
    "monitor",
    "witness",
    "doctor",
    "demo",
    "completion",
)
"""All there are, in the order in which they are told; each is a module beside this one."""


class Verb(Protocol):
    """What the module of a verb has."""

    def add_parser(self, subparsers: argparse._SubParsersAction[Parser]) -> None:
        """Add the verb to the command line."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do what was asked for; the exit code."""
        ...


def _module_of(verb: str) -> Verb:
    return cast("Verb", import_module(f".{verb}", __package__))


class _Version(argparse.Action):
    """``--version``: the version is looked up only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        sys.stdout.write(f"veracity {__version__}\n")
        parser.exit(0)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, or that of one verb alone, which saves importing all others.

    Importing and building it loads nothing but the standard library's argparse.
    """
    parser = new_parser("veracity", _DESCRIPTION, _EPILOG)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=Parser)
    for verb in VERBS if only is None else (only,):
        _module_of(verb).add_parser(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the return value is the process's exit code. Never raises on bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is shown as an escape, not as a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        code = _execute(words)
        sys.stdout.flush()
    except Error as error:
        tell_error(error)
        return error.exit_code
    except BrokenPipeError:
        _forget_standard_output()
        return FAILED
    except OSError as error:
        tell_failure(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as leaving:  # argparse leaves this way after --help and --version
        return leaving.code if isinstance(leaving.code, int) else FAILED
    return code


def _execute(words: list[str]) -> int:
    verb = _verb_of(words)
    if verb is not None and verb not in VERBS:
        near = nearest(verb, VERBS)
        raise UsageError(
            f"there is no verb {verb[:80]!r}",
            remedy=f"did you mean `veracity {near}`?" if near else "see `veracity --help`",
        )
    command: list[str] = []
    if verb == "run" and _DASHES in words:
        # Cut here and not by argparse, whose treatment of `--` differs between versions of Python.
        cut = words.index(_DASHES)
        words, command = words[:cut], words[cut:]
    parser = build_parser(verb)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        raise _unknown_flag(parser, arguments.verb, unknown)
    if arguments.verb is None:
        parser.print_help(sys.stderr)
        return FAILED
    if verb == "run":
        # Of `run CMD -- REST` the dashes belong to the command; of `run -- CMD` they do not.
        arguments.command = arguments.command + command if arguments.command else command[1:]
    return _module_of(arguments.verb).execute(arguments)


def _verb_of(words: Sequence[str]) -> str | None:
    """The first word that is no flag and no flag's value, None when help about all verbs is asked for first.

    Raises UsageError when a flag before it is unknown.
    """
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in VALUED:
            skip = True
        elif word in HELP:
            return None
        elif not word.startswith("-"):
            return word
        elif word not in PLAIN and word.partition("=")[0] not in VALUED:
            # A flag of a verb that stands before it is not understood either; its place is behind the verb.
            near = nearest(word.partition("=")[0], (*VALUED, *PLAIN))
            see = "see `veracity --help`; a verb's own flags stand behind the verb"
            raise UsageError(f"not understood: {word[:80]}", remedy=f"did you mean {near}?" if near else see)
    return None


def _unknown_flag(parser: argparse.ArgumentParser, verb: str | None, unknown: Sequence[str]) -> UsageError:
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and verb in action.choices:
            known |= set(action.choices[verb]._option_string_actions)
    what = f"not understood: {' '.join(unknown)[:200]}"
    near = nearest(unknown[0].partition("=")[0], known) if unknown[0].startswith("-") else ""
    see = f"see `veracity {verb} --help`" if verb else "see `veracity --help`"
    return UsageError(what, remedy=f"did you mean {near}?" if near else see)


def _forget_standard_output() -> None:
    """Whoever read our output left; nothing more may be written there, not even at interpreter exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
