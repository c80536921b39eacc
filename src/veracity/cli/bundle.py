"""``veracity bundle RUN``: evidence to hand on, with the program that checks it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from ..core.canonical import Json
from ..core.errors import UsageError
from .output import say
from .parsing import RUN_HELP, Parser, add_verb, format_of, home_of
from .witness import policy_in

_DESCRIPTION = """\
Pack the record of RUN, everything it names by digest, and a short program that checks it into one archive.
Who gets it needs Python, openssl and the public key, and need not believe this program or who packed it."""

_EXAMPLES = """\
  veracity bundle latest --output case.zip
  unzip -p case.zip verify_evidence.py > verify_evidence.py
  python3 verify_evidence.py case.zip --key ledger.vkey"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``bundle``."""
    codes = (
        ("0", "packed, with all that the record names"),
        ("1", "a signature, digest or order does not hold: nothing was packed"),
        ("2", "the record could not be read, some payloads are no longer kept, or too few witnesses signed"),
    )
    parser = add_verb(subparsers, "bundle", "pack evidence to hand on", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP + " (default: latest)"
    )
    parser.add_argument(
        "--witness-policy",
        type=Path,
        metavar="FILE",
        help="whose cosignatures are wanted, as a C2SP tlog-policy (default: those the run asked for)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Pack; VerificationError and EvidenceError say what does not hold."""
    form = format_of(arguments, "text", "json")
    from ..ledger.bundle import write_bundle
    from ..ledger.witness.cosigned import read_cosigned
    from ..monitor.folder import RunFolder
    from ..monitor.home import Home
    from ..monitor.verify import key_of
    from ..render.visible import visible

    run = RunFolder(Home(home_of(arguments)).resolve(arguments.run))
    target = Path(arguments.output or f"{run.run}.zip")
    if arguments.output == "-":
        raise UsageError("a bundle is a file: name one with --output FILE")
    about: dict[str, Json] = {
        "run": run.run,
        "packed_at": time.time_ns(),
        "packed_on": os.uname().nodename,
        "packed_by": str(os.getuid()),
    }
    file: Path | None = arguments.witness_policy or (run.policy if run.policy.exists() else None)
    policy = None if file is None else policy_in(file)
    heads = read_cosigned(run.cosigned)
    packed = write_bundle(target, run.ledger, run.blobs, key_of(run), about, heads, policy)
    if form == "json":
        document = {"bundle": str(target), "entries": packed.entries, "payloads": packed.payloads}
        sys.stdout.write(json.dumps({**document, "missing": packed.missing}, indent=2) + "\n")
    elif not arguments.quiet:
        sys.stdout.write(
            f"packed  {target}\n  {packed.entries:,} entries, {packed.payloads:,} payloads of"
            f" {packed.size:,} bytes, and verify_evidence.py, which checks them\n"
        )
    if packed.missing and not arguments.quiet:
        say(f"{packed.missing:,} payloads are no longer kept; the bundle says so")
    for sentence in packed.unwitnessed:
        say(f"too few witnesses: {visible(sentence)}")
    return 2 if packed.missing or packed.unwitnessed else 0
