"""``veracity verify RUN``: check the record of a run."""

from __future__ import annotations

import argparse
import json

from .output import deliver
from .parsing import RUN_HELP, Parser, add_verb, format_of, home_of

_DESCRIPTION = """\
Re-read every entry and every recorded piece of evidence of RUN, rebuild the tree over them, and compare its
root and signature with the recorded ones. Says in numbered sentences what was checked."""

_EXAMPLES = """\
  veracity verify latest
  veracity verify run-20250302-140211-a1b2c3 --format json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``verify``."""
    codes = (
        ("0", "everything that was recorded is as it was"),
        ("1", "a signature, digest, proof or order does not hold"),
        ("2", "the record could not be read"),
    )
    parser = add_verb(subparsers, "verify", "check the record of a run", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP + " (default: latest)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Verify; VerificationError and EvidenceError say what does not hold."""
    form = format_of(arguments, "text", "json")
    from ..monitor.home import Home
    from ..monitor.verify import verify_run
    from ..render.visible import visible

    folder = Home(home_of(arguments)).resolve(arguments.run)
    checked = verify_run(folder)
    if form == "json":
        document = {"run": folder.name, "verified": True, "checked": checked}
        deliver(arguments, json.dumps(document, ensure_ascii=True, indent=2) + "\n")
    elif not arguments.quiet or arguments.output is not None:
        numbered = (f"  {at}. {visible(sentence)}" for at, sentence in enumerate(checked, 1))
        lines = [f"verified  {folder.name}", *numbered]
        deliver(arguments, "\n".join(lines) + "\n")
    return 0
