"""``veracity bundle RUN``: evidence to hand on, with the program that checks it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.canonical import Json
from ..core.errors import UsageError
from ..core.quantity import quantity
from ..render.visible import visible
from .output import say
from .parsing import RUN_HELP, Parser, add_verb, format_of, home_of
from .witness import policy_in

if TYPE_CHECKING:
    from ..ledger.bundle import Packed
    from ..ledger.custody import Hand
    from ..ledger.keys import PublicKey, SigningKey
    from ..ledger.redaction import Redaction
    from ..ledger.witness.policy import Policy
    from ..monitor.folder import RunFolder

_DESCRIPTION = """\
Pack the record of RUN, everything it names by digest, and a short program that checks it into one archive.
Who gets it needs Python, openssl and the public key, and need not believe this program or who packed it.

Of a bundle, FILE.zip: copy it and add a line to its custody log, which says through whose hands it went;
or with --redact, write it with pseudonyms, which needs no more than the bundle.

With --entry, write one entry and the proof that it stands in the record, and nothing else of it.

With --redact, names of people, hosts, paths, commands and values of the environment stand behind pseudonyms;
what they stand for is written to --redaction-key alone. Entries with names are withheld: their hashes are in
the bundle, so that the tree and its signatures are checked as ever, and a copy with pseudonyms is shown."""

_EXAMPLES = """\
  veracity bundle latest --output case.zip
  unzip -p case.zip verify_evidence.py > verify_evidence.py
  python3 verify_evidence.py case.zip --key ledger.vkey
  veracity bundle case.zip --to "the auditor" --output case-2.zip
  veracity bundle latest --entry 7 --output seven.tlog-proof
  veracity bundle latest --redact all --redaction-key names.key --output case.zip
  veracity bundle case.zip --redact user,host --redaction-key names.key --output shown.zip"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``bundle``."""
    codes = (
        ("0", "packed, with all that the record names"),
        ("1", "a signature, digest or order does not hold: nothing was packed"),
        ("2", "could not be read, some payloads are no longer kept, or too few witnesses signed"),
    )
    parser = add_verb(subparsers, "bundle", "pack evidence to hand on", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        default="latest",
        help=RUN_HELP + " (default: latest); or a bundle, FILE.zip, that is handed on",
    )
    _add_custody(parser)
    parser.add_argument(
        "--entry",
        type=_number,
        metavar="N",
        help="write the proof of this one entry instead, as a C2SP tlog-proof (default: RUN-N.tlog-proof)",
    )
    parser.add_argument(
        "--witness-policy",
        type=Path,
        metavar="FILE",
        help="whose cosignatures are wanted, as a C2SP tlog-policy (default: those the run asked for)",
    )
    parser.add_argument(
        "--redact",
        metavar="CLASSES",
        help="put names behind pseudonyms: user, host, path, command, environment and text (words that are "
        "not ours), with commas between them, or `all`",
    )
    parser.add_argument(
        "--redaction-key",
        type=Path,
        metavar="FILE",
        help="where the key of the pseudonyms and the names are written (mode 0600); one that is there is "
        "used again, so that several bundles have the same pseudonyms",
    )


def _hand_on(arguments: argparse.Namespace, form: str) -> int:
    """Copy a bundle, with a line in its custody log."""
    from ..ledger.custody import HANDED_ON
    from ..ledger.handover import hand_on

    if arguments.entry is not None or arguments.witness_policy is not None:
        raise UsageError("--entry and --witness-policy are for records: a bundle is handed on as it is")
    if arguments.redact is not None or arguments.redaction_key is not None:
        return _redact(arguments, form)
    if not arguments.to:
        raise UsageError("a bundle is handed on to somebody", remedy="say to whom with --to")
    if arguments.output in (None, "-"):
        raise UsageError("a bundle is a file: name the copy with --output FILE")
    hand = _hand(arguments, HANDED_ON)
    before = hand_on(Path(arguments.run), Path(arguments.output), hand)
    if form == "json":
        sys.stdout.write(
            json.dumps({"bundle": arguments.output, "custody": len(before) + 1}, indent=2) + "\n"
        )
    elif not arguments.quiet:
        signed = "signed with this home's key" if hand.key is not None else "signed by nobody"
        lines = [f"handed on  {visible(arguments.output)}", *(f"  {visible(line)}" for line in before)]
        sys.stdout.write("\n".join(lines) + f"\n  and now to {visible(arguments.to)}, {signed}\n")
    return 0


def _redact(arguments: argparse.Namespace, form: str) -> int:
    """Write a bundle with pseudonyms, signed by this home's key, be it the record's or not."""
    from ..ledger.custody import HANDED_ON
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
    from ..ledger.redacting import redact_bundle
    from ..seal.folder import make_home

    _require_redaction_flags(arguments)
    if arguments.output in (None, "-"):
        raise UsageError("a bundle is a file: name the one with pseudonyms with --output FILE")
    source, target = Path(arguments.run), Path(arguments.output)
    if os.path.realpath(source) == os.path.realpath(target):
        raise UsageError("the bundle with pseudonyms is another file", where=str(target))
    home = home_of(arguments)
    make_home(home)
    signer = SigningKey.load_or_create(home / KEY_FILE, KEY_NAME)
    redaction = _redaction_by(arguments, signer)
    packed = redact_bundle(source, target, redaction, arguments.redaction_key, _hand(arguments, HANDED_ON))
    _tell(arguments, form, target, packed)
    if not arguments.quiet:
        say(
            f"what is shown in the place of entries is signed by {visible(signer.verifier.vkey)}:"
            " where that is not the record's key, verifiers call it another's word"
        )
    return 2 if packed.missing or packed.unwitnessed else 0


def _redaction_by(arguments: argparse.Namespace, signer: SigningKey) -> Redaction:
    from ..ledger.redaction import KeyFile, Redaction, classes_of

    return Redaction.of(KeyFile.load_or_new(arguments.redaction_key), signer, classes_of(arguments.redact))


def _require_redaction_flags(arguments: argparse.Namespace) -> None:
    if arguments.redact is None or arguments.redaction_key is None:
        raise UsageError(
            "--redact and --redaction-key go together",
            remedy="veracity bundle RUN --redact all --redaction-key names.key",
        )
    if os.path.realpath(arguments.redaction_key) == os.path.realpath(arguments.output or ""):
        raise UsageError("the bundle and its redaction key are two files, and kept apart")


def _hand(arguments: argparse.Namespace, did: str) -> Hand:
    """Who does this, signed with the home's key when there is one."""
    from ..ledger.custody import Hand, Handling
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey

    path = home_of(arguments) / KEY_FILE
    key = SigningKey.load(path, KEY_NAME) if path.exists() and not arguments.unsigned else None
    account = f"uid {os.getuid()}"
    with contextlib.suppress(KeyError):
        account += f" ({pwd.getpwuid(os.getuid()).pw_name})"
    host = os.uname().nodename
    return Hand(Handling(did, account, host, time.time_ns(), arguments.to, arguments.note), key)


def _redaction(arguments: argparse.Namespace, key: PublicKey) -> Redaction | None:
    """What to withhold; raises UsageError when the record's own key is not here to sign what is shown."""
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey

    if arguments.redact is None and arguments.redaction_key is None:
        return None
    _require_redaction_flags(arguments)
    signer = SigningKey.load(home_of(arguments) / KEY_FILE, KEY_NAME)
    if signer.verifier.raw != key.raw:
        raise UsageError(
            "what is shown in the place of entries is signed by the record's key, and it is not here"
        )
    return _redaction_by(arguments, signer)


def _prove(arguments: argparse.Namespace, form: str, run: RunFolder, policy: Policy | None) -> int:
    """Write the proof of one entry."""
    from ..ledger.files import write_private
    from ..ledger.merkle import leaf_hash
    from ..ledger.proof import SUFFIX, prove
    from ..ledger.reader import Reader
    from ..ledger.witness.cosigned import Record, read_cosigned, seen_head
    from ..monitor.verify import key_of

    with Reader(run.ledger) as reader:
        key = key_of(run)
        reader.verify_tree(key)
        entries = list(reader.entries())
        head = reader.tree_head
    record = Record(key, head.origin, [leaf_hash(entry) for entry in entries])
    index: int = arguments.entry
    entry = entries[index] if index < len(entries) else b""
    proof = prove(entry, index, record, head, read_cosigned(run.cosigned), policy)
    target = arguments.output or f"{run.run}-{index}{SUFFIX}"
    if target == "-":
        sys.stdout.write(proof.encode().decode("utf-8"))
        return 0
    if not target.endswith(SUFFIX):
        raise UsageError(f"a proof's name ends in {SUFFIX}, so that it is known for one", where=target)
    write_private(Path(target), proof.encode())
    if form == "json":
        document = {"proof": target, "entry": index, "entries": proof.head.size}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not arguments.quiet:
        sys.stdout.write(f"proved  {target}\n  entry {index} of {proof.head.size:,}, signed by {key.name}\n")
    seen = None if policy is None else seen_head(policy, proof.head)
    if seen is None or seen.enough:
        return 0
    for sentence in seen.lacking:
        say(f"too few witnesses: {visible(sentence)}")
    return 2


def _add_custody(parser: Parser) -> None:
    """Flags about through whose hands a bundle goes."""
    parser.add_argument(
        "--to", default="", metavar="WHOM", help="to whom the bundle is handed, for its custody log"
    )
    parser.add_argument("--note", default="", metavar="TEXT", help="a word on it, for its custody log")
    parser.add_argument(
        "--unsigned",
        action="store_true",
        help="do not sign the line in the custody log with the home's key: it is marked as your word",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Pack; VerificationError and EvidenceError say what does not hold."""
    form = format_of(arguments, "text", "json")
    if arguments.run.endswith(".zip"):
        return _hand_on(arguments, form)
    from ..ledger.bundle import Beside, write_bundle
    from ..ledger.custody import PACKED
    from ..ledger.witness.cosigned import read_cosigned
    from ..monitor.evidence import Gathered, gather
    from ..monitor.folder import RunFolder
    from ..monitor.home import Home
    from ..monitor.stamping import read_timestamps
    from ..monitor.verify import key_of

    run = RunFolder(Home(home_of(arguments)).resolve(arguments.run))
    file: Path | None = arguments.witness_policy or (run.policy if run.policy.exists() else None)
    policy = None if file is None else policy_in(file)
    if arguments.entry is not None:
        if arguments.redact is not None or arguments.redaction_key is not None:
            raise UsageError("one entry is handed on as it is, so --redact is not for --entry")
        return _prove(arguments, form, run, policy)
    target = Path(arguments.output or f"{run.run}.zip")
    if arguments.output == "-":
        raise UsageError("a bundle is a file: name one with --output FILE")
    about: dict[str, Json] = {"run": run.run}
    key = key_of(run)
    redaction = _redaction(arguments, key)
    heads = read_cosigned(run.cosigned)
    gathered = Gathered({}, []) if redaction is not None else gather(run)
    beside = Beside(
        heads, policy, _hand(arguments, PACKED), read_timestamps(run.timestamps), gathered.members
    )
    packed = write_bundle(
        target, run.ledger, run.blobs, key, about, beside, redaction, arguments.redaction_key
    )
    _tell(arguments, form, target, packed)
    for sentence in gathered.lacking:
        say(visible(sentence))
    return 2 if packed.missing or packed.unwitnessed or gathered.lacking else 0


def _tell(arguments: argparse.Namespace, form: str, target: Path, packed: Packed) -> None:
    """What is in the bundle, and what is not."""
    entries, payloads = packed.withheld
    if form == "json":
        document = {"bundle": str(target), "entries": packed.entries, "payloads": packed.payloads}
        withheld = {"withheld": {"entries": entries, "payloads": payloads}} if entries else {}
        sys.stdout.write(json.dumps({**document, "missing": packed.missing, **withheld}, indent=2) + "\n")
    elif not arguments.quiet:
        sys.stdout.write(
            f"packed  {target}\n  {quantity(packed.entries, 'entry')}, "
            f"{quantity(packed.payloads, 'payload')} of {quantity(packed.size, 'byte')}, and "
            "verify_evidence.py, which checks them\n"
        )
    if entries and not arguments.quiet:
        say(
            f"{quantity(entries, 'entry')} and {quantity(payloads, 'payload')} are withheld; what the "
            f"pseudonyms stand for is in {visible(str(arguments.redaction_key))}, which belongs into "
            "nobody's hands but a judge's"
        )
    if packed.missing and not arguments.quiet:
        say(f"{quantity(packed.missing, 'payload is', 'payloads are')} no longer kept; the bundle says so")
    for sentence in packed.unwitnessed:
        say(f"too few witnesses: {visible(sentence)}")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"not the number of an entry: {text[:40]!r}")
    return int(text)
