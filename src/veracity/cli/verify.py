"""``veracity verify RUN`` or ``SEAL``: check the record of a run, or read again what was sealed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.canonical import Json
from ..core.errors import UsageError
from ..render.visible import visible
from . import sealmodel
from .collecting import seldom_collected
from .output import console_for, deliver, say
from .parsing import LEVEL_HELP, RUN_HELP, Parser, add_verb, format_of, home_of, level
from .progress import Told
from .seal import key_for, parts_of
from .verifyapprovals import NAME, check_approvals
from .witness import keys_in, policy_in

if TYPE_CHECKING:
    from ..core.level import Level
    from ..ledger.witness.cosignature import WitnessKey
    from ..ledger.witness.policy import Policy

PROOF = ".tlog-proof"
BUNDLE = ".zip"
_DESCRIPTION = """\
Of a run: re-read every entry and every recorded piece of evidence of RUN, rebuild the tree over them, and
compare its root and signature with the recorded ones. Says in numbered sentences what was checked.

Of a seal: check its signature, read everything that was sealed again, and say what changed.

Of `approvals`: check the home's log of approvals, and ask its witnesses whether they know more of it.

Of a bundle, FILE.zip: do what the verify_evidence.py in it does, and tell through whose hands it went.

Of a proof, FILE.tlog-proof: check that the entry in it stands in a record that --key signed, and show it.

Of a model: check the signature in its model.sig (OpenSSF Model Signing), read the model again, and say
what changed."""

_EXAMPLES = """\
  veracity verify latest
  veracity verify run-20250302-140211-a1b2c3 --format json
  veracity verify case.zip --redaction-key names.key
  veracity verify approvals
  veracity verify latest --witness-policy witnesses.policy
  veracity verify seal-20250302-140211-a1b2c3
  veracity verify seal-20250302-140211-a1b2c3 --at code=/copy/of/src
  veracity verify seal-20250302-140211-a1b2c3 --level sample=1%
  veracity verify run-20250302-140211-a1b2c3-7.tlog-proof --key ledger.vkey
  veracity verify checkpoints/base/model.sig --key signer.pub.pem"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``verify``."""
    codes = (
        ("0", "everything that was recorded is as it was"),
        ("1", "a signature, digest, proof or order does not hold; or something sealed has changed"),
        ("2", "the record could not be read, or not all that was sealed"),
    )
    parser = add_verb(subparsers, "verify", "check the record of a run", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        default="latest",
        help=RUN_HELP + " (default: latest); or a seal, a bundle, a proof, a model.sig, or `approvals`",
    )
    parser.add_argument(
        "--witness",
        dest="witnesses",
        action="append",
        default=[],
        metavar="KEY",
        help="a witness that must have cosigned all of a run's record: its key, or a file with it",
    )
    parser.add_argument(
        "--witness-policy",
        dest="policies",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="which witnesses must have cosigned all of a run's record, as a C2SP tlog-policy; of approvals, "
        "which must confirm them now",
    )
    parser.add_argument(
        "--timestamp-ca",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) of RFC 3161 authorities; one must have stamped a run's or bundle's record",
    )
    parser.add_argument(
        "--at",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="read that part of a seal there, not where it was sealed; of a model.sig, the model: --at PATH",
    )
    parser.add_argument(
        "--level", type=level, metavar="LEVEL", help=f"of a seal, {LEVEL_HELP} (default: full)"
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        help="the public key that must have signed a seal (default: this home's), a bundle (default: the one "
        "in it) or a proof, as a file with a vkey line, of a seal also with an SSH public key; or a model, "
        "as one with PEM",
    )
    _add_redaction_key(parser)


def _add_redaction_key(parser: Parser) -> None:
    parser.add_argument(
        "--redaction-key",
        type=Path,
        metavar="FILE",
        help="of a redacted bundle, the file with its names: what is withheld is made whole and checked",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Verify; VerificationError and EvidenceError say what does not hold."""
    form = format_of(arguments, "text", "json")
    signature = sealmodel.signature_named(arguments.run)
    if signature is None and is_seal(arguments.run):
        return _verify_seal(arguments, form)
    if arguments.level is not None:
        raise UsageError("--level is for seals")
    if signature is not None:
        return sealmodel.verify(arguments, signature)
    policies = [policy_in(path) for path in arguments.policies]
    if arguments.witnesses:
        from ..ledger.witness.policy import Policy

        policies.append(Policy.requiring([witness_key(text) for text in arguments.witnesses]))
    if arguments.run == NAME:
        said, lacking = check_approvals(arguments, policies)
        _tell(arguments, form, {"log": NAME, "lacking": [lacking] if lacking else []}, said)
        if lacking:
            say(f"what is there holds, but {visible(lacking)}")
        return 2 if lacking else 0
    if arguments.timestamp_ca and arguments.run.endswith(PROOF):
        raise UsageError("--timestamp-ca is for runs and bundles")
    if arguments.run.endswith(BUNDLE):
        return _verify_bundle(arguments, form)
    if arguments.run.endswith(PROOF):
        return _verify_proof(arguments, form, policies)
    if arguments.redaction_key:
        raise UsageError("--redaction-key is for bundles")
    if arguments.at or arguments.key:
        raise UsageError("--at and --key are for seals and models: a run's record and key lie where they lie")
    from ..monitor.home import Home
    from ..monitor.verify import verify_run

    folder = Home(home_of(arguments)).resolve(arguments.run)
    checked = verify_run(folder, policies, arguments.timestamp_ca)
    _tell(arguments, form, {"run": folder.name}, checked)
    return 0


def _tell(
    arguments: argparse.Namespace, form: str, what: dict[str, Json], checked: list[str], shown: str = ""
) -> None:
    """What was verified, and the sentences that say how far; ``shown`` stands below them."""
    if form == "json":
        document = {**what, "verified": not what.get("lacking"), "checked": checked}
        deliver(arguments, json.dumps(document, ensure_ascii=True, indent=2) + "\n")
    elif not arguments.quiet or arguments.output is not None:
        numbered = (f"  {at}. {visible(sentence)}" for at, sentence in enumerate(checked, 1))
        name = next(iter(what.values()))
        word = "incomplete" if what.get("lacking") else "verified"
        lines = [f"{word}  {visible(str(name))}", *numbered, *([shown] if shown else [])]
        deliver(arguments, "\n".join(lines) + "\n")


def _verify_bundle(arguments: argparse.Namespace, form: str) -> int:
    from ..ledger.handover import verify_bundle
    from ..monitor.evidence import verify_beside

    if arguments.at or arguments.witnesses or len(arguments.policies) > 1:
        raise UsageError("a bundle is verified by --key and one --witness-policy")
    policy = arguments.policies[0] if arguments.policies else None
    keys = keys_in(arguments.key) if arguments.key else []
    said, lacking = verify_bundle(
        Path(arguments.run), arguments.key, policy, keys, arguments.timestamp_ca, arguments.redaction_key
    )
    said += verify_beside(Path(arguments.run), arguments.key)
    _tell(arguments, form, {"bundle": Path(arguments.run).name, "lacking": [*lacking]}, said)
    for sentence in lacking:
        say(f"what is there holds, but {visible(sentence)}")
    return 2 if lacking else 0


def _verify_proof(arguments: argparse.Namespace, form: str, policies: list[Policy]) -> int:
    from ..ledger.entry import Entry
    from ..ledger.files import read_bounded
    from ..ledger.proof import MAX_FILE, LogProof, verify_proof

    if arguments.at:
        raise UsageError("--at is for seals")
    if len(policies) > 1:
        raise UsageError("a proof is verified by one --witness-policy, or by witnesses")
    policy = policies[0] if policies else None
    keys = keys_in(arguments.key) if arguments.key else [one.key for one in policy.logs] if policy else []
    if not keys:
        raise UsageError(
            "a proof is only as good as the key that it is held against",
            remedy="name the log's public key with --key FILE, or a --witness-policy with log lines",
        )
    proof = LogProof.decode(read_bounded(Path(arguments.run), MAX_FILE))
    checked = verify_proof(proof, keys, policy)
    entry = Entry.decode(proof.extra or b"")
    document: dict[str, Json] = {
        "proof": Path(arguments.run).name,
        "log": proof.head.origin,
        "index": proof.index,
        "kind": entry.kind,
        "entry": entry.body,
    }
    _tell(arguments, form, document, checked, f"entry {proof.index}: {(proof.extra or b'').decode('ascii')}")
    return 0


def witness_key(text: str) -> WitnessKey:
    """A witness' key by its line, or by a file that holds it."""
    from ..ledger.witness.cosignature import WitnessKey

    path = Path(text)
    return WitnessKey.parse(path.read_text("ascii") if "+" not in text and path.is_file() else text)


def is_seal(name: str) -> bool:
    """Whether a name is that of a seal: ``seal-…``, or a folder with one."""
    return name.startswith("seal-") or (os.sep in name and (Path(name) / "seal.vkey").exists())


def _verify_seal(arguments: argparse.Namespace, form: str) -> int:
    from ..render import seals
    from ..seal.folder import find_seal
    from ..seal.paths import check_seal, read_seal
    from ..seal.reading import Look

    home = home_of(arguments)
    folder = find_seal(home, arguments.run)
    seal = read_seal(folder, key_for(arguments, folder.verifier))
    read = Told(quiet=arguments.quiet)
    asked: Level | None = arguments.level
    look = Look(asked, home) if asked is not None and asked.remembers else None
    with seldom_collected():
        differences = list(check_seal(folder, seal, parts_of(arguments.at), look=look, progress=read))
    read.done()
    if form == "json":
        deliver(arguments, seals.document(seal, differences))
    elif not arguments.quiet or arguments.output is not None:
        console = console_for(sys.stdout, arguments.output)
        deliver(arguments, seals.compared("compared with", seal, differences, console))
    if any(one.differs for one in differences):
        return 1
    return 0 if not seal.unread and all(one.is_complete for one in differences) else 2
