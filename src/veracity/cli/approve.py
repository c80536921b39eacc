"""``veracity approve SEAL``: say that what was sealed may run; ``--list``: how a seal stands."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError, VerificationError
from ..core.policy import duration_of
from .output import console_for, deliver, say
from .parsing import CONFIG_HELP, Parser, add_verb, format_of, home_of
from .seal import key_for

if TYPE_CHECKING:
    from ..core.approval import Approvable
    from ..core.policy import Principal
    from ..ledger.keys import PublicKey, SigningKey
    from ..seal.approvals import Log
    from ..seal.paths import Seal
    from ..seal.policyfile import PolicyFile

MAX_TOLD = 20

_DESCRIPTION = """\
Approve what was sealed: a signed statement about the seal's digest, kept in the home's log of approvals. Who
may approve what, how many it takes and for how long, [policy] in veracity.toml says.

Who has no access to the home signs with --detached and hands the file to somebody who has (--add)."""

_EXAMPLES = """\
  veracity approve --new-key ~/approve.pem --as lead     make a key; prints the line for the policy
  veracity approve latest --key ~/approve.pem --reason "reviewed the diff of the loader"
  veracity approve --list latest                         how it stands, and why
  veracity approve /shared/home/seals/seal-… --key k.pem --detached --output mine.json
  veracity approve latest --add mine.json"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``approve``."""
    codes = (
        ("0", "approved as asked; with --list: the seal is approved"),
        ("1", "with --list: the seal is not approved; or a signature or the log does not hold"),
        (
            "2",
            "the policy does not let this principal do it, something could not be read, or too few witnesses",
        ),
    )
    parser = add_verb(subparsers, "approve", "approve a seal", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "seal",
        metavar="SEAL",
        nargs="?",
        help="a seal: its id, a prefix that only one has, or `latest` (which --list takes by itself)",
    )
    add_signer(parser)
    parser.add_argument(
        "--for",
        dest="parts",
        action="append",
        default=[],
        metavar="PART",
        help="approve this part alone (may be given several times; default: all that the policy lets you)",
    )
    parser.add_argument(
        "--expires", metavar="TIME", help="how long the approval counts, such as 30d (default: the policy's)"
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for those who read it later")
    parser.add_argument(
        "--despite-findings",
        action="store_true",
        help="approve knowing what was found in the sealed environment; policy.despite says who may",
    )
    parser.add_argument("--list", action="store_true", help="only say how the seal stands, and why")
    parser.add_argument(
        "--detached", action="store_true", help="write the signed approval to --output, not to the log"
    )
    parser.add_argument("--add", type=Path, metavar="FILE", help="take a detached approval into the log")
    parser.add_argument(
        "--new-key", type=Path, metavar="FILE", help="make a key there and print its line for the policy"
    )
    parser.add_argument(
        "--seal-key",
        type=Path,
        metavar="FILE",
        help="the public key that must have signed the seal, as a file with its line (default: this home's)",
    )


def add_signer(parser: Parser) -> None:
    """Who signs, and under which policy."""
    parser.add_argument(
        "--as", dest="name", metavar="NAME", help="the principal to sign as (default: whose key it is)"
    )
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="the private key to sign with, mode 0600 (default: this home's)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=CONFIG_HELP)
    add_log_witnesses(parser)


def add_log_witnesses(parser: Parser) -> None:
    """Whose word on the log of approvals is wanted."""
    parser.add_argument(
        "--witness-policy",
        type=Path,
        metavar="FILE",
        help="witnesses that are to confirm the log of approvals, as a C2SP tlog-policy with addresses, "
        "besides those that the policy names",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Approve, add, list, or make a key."""
    form = format_of(arguments, "text", "json")
    if arguments.new_key is not None:
        return _new_key(arguments)
    from ..core.approval import blocking
    from ..ledger.keys import PublicKey
    from ..seal.approvals import approvable
    from ..seal.folder import LATEST, find_seal
    from ..seal.paths import read_seal

    if arguments.seal is None and not arguments.list:
        # The newest one may be somebody else's, made since the one that was reviewed.
        raise UsageError("name the seal to approve", remedy="`veracity approve --list` shows the newest one")
    folder = find_seal(home_of(arguments), arguments.seal or LATEST)
    policy = policy_for(arguments)
    key = key_for(arguments, folder.verifier, "seal_key")
    if not isinstance(key, PublicKey):
        raise UsageError(
            "whose seal it is, is told by a vkey line, not by an SSH key",
            where=str(arguments.seal_key),
            remedy="name the seal.vkey of who made the seal",
        )
    sealed = read_seal(folder, key)
    if sealed.seal != folder.seal:
        raise VerificationError(f"in the folder of {folder.seal} lies {sealed.seal}", where=str(folder.path))
    seal = approvable(sealed, key)
    _warn(sealed, len(blocking(policy.policy, seal)))
    if arguments.list:
        return _tell(arguments, policy, seal, form)
    if arguments.detached:
        deliver(arguments, _signed(arguments, policy, seal).decode("ascii") + "\n")
        return 0
    _take_in(arguments, policy, seal)
    return 2 if _tell(arguments, policy, seal, form) == 2 else 0


def _warn(seal: Seal, blocked: int) -> None:
    """Tell what was found when it was sealed: nobody is to approve that unawares.

    ``blocked``: how many of these keep it from being started.
    """
    from ..render.examined import sealed_findings
    from ..render.visible import clip, visible

    hidden = [(state.name, one) for state in seal.repositories for one in state.hidden]
    if hidden:
        say(f"{seal.seal} was sealed with edits that git status does not show:")
    for name, one in hidden[:MAX_TOLD]:
        say(f"  {visible(clip(f'{name}: {one.path}: {one.change}, {one.hidden}', 300))}")
    said = [] if seal.examined is None else sealed_findings(seal.examined)
    if said:
        say(f"{seal.seal} was sealed with an environment that is not what vouches for it:")
    for sentence in said[:MAX_TOLD]:
        say(f"  {visible(clip(sentence, 300))}")
    if len(said) > MAX_TOLD:
        say(f"  and {len(said) - MAX_TOLD:,} more")
    if blocked:
        say(f"{blocked:,} of these stand against it until it is approved with --despite-findings as well")


def policy_for(arguments: argparse.Namespace) -> PolicyFile:
    """The policy; raises UsageError when there is none."""
    from ..seal.policyfile import find_policy

    found = find_policy(home_of(arguments), Path.cwd(), arguments.config)
    if found is None:
        raise UsageError(
            "there is no policy that says who may approve",
            where=str(home_of(arguments) / "veracity.toml"),
            remedy="write one: see the guide to approval",
        )
    return found


def signer_for(arguments: argparse.Namespace, policy: PolicyFile) -> tuple[SigningKey, Principal]:
    """The key to sign with and whose it is; raises UsageError when the policy does not know it."""
    from ..core.policy import identity_of
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey

    path = arguments.key or home_of(arguments) / KEY_FILE
    key = SigningKey.load(path, arguments.name or KEY_NAME)
    principal = policy.policy.holder_of(identity_of(key.verifier.vkey))
    if principal is None:
        raise UsageError(
            "this key is nobody's in the policy",
            where=str(policy.path),
            remedy=f"its line: {key.verifier.vkey}",
        )
    if arguments.name and arguments.name != principal.name:
        raise UsageError(
            f"this key is that of {principal.name}, not of {arguments.name[:80]!r}", where=str(path)
        )
    return key, principal


def _signed(arguments: argparse.Namespace, policy: PolicyFile, seal: Approvable) -> bytes:
    from ..seal.approvals import sign_approval

    key, principal = signer_for(arguments, policy)
    parts = arguments.parts or [
        part
        for part in seal.parts
        if (needs := policy.policy.requirement_for(part)) is not None
        and not set(needs.roles).isdisjoint(principal.roles)
    ]
    now = time.time_ns()
    expires = None if arguments.expires is None else now + duration_of(arguments.expires, "--expires")
    return sign_approval(
        key,
        principal,
        policy.policy,
        seal,
        parts,
        at=now,
        expires_at=expires,
        reason=arguments.reason,
        despite=arguments.despite_findings,
    )


def _take_in(arguments: argparse.Namespace, policy: PolicyFile, seal: Approvable) -> None:
    """Sign, or read what was signed elsewhere, and put it into the log."""
    from ..ledger.files import read_bounded
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
    from ..seal.approvals import MAX_ENVELOPE, add_to_log, read_approval

    home = home_of(arguments)
    now = time.time_ns()
    if arguments.add is None:
        envelope = _signed(arguments, policy, seal)
    else:
        envelope = read_bounded(arguments.add, MAX_ENVELOPE).strip()
        found = read_approval(envelope, now)
        if found.digest != seal.digest:
            raise VerificationError(f"this approval is of another seal, {found.seal[:80]!r}")
        if policy.policy.holder_of(found.identity) is None:
            raise VerificationError("this approval is signed by nobody that the policy knows")
    own = SigningKey.load(home / KEY_FILE, KEY_NAME)
    # A log that was cut back must not be added to: it would grow past what its witnesses know.
    heard_log(arguments, home, own.verifier, policy)
    add_to_log(home, own, "approval", envelope, now)


def _tell(arguments: argparse.Namespace, policy: PolicyFile, seal: Approvable, form: str) -> int:
    from ..core.approval import Word, standing
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
    from ..monitor.sealedruns import check_heads
    from ..render import approvals

    home = home_of(arguments)
    key = SigningKey.load(home / KEY_FILE, KEY_NAME).verifier
    log, lacking = heard_log(arguments, home, key, policy)
    now = time.time_ns()
    log.check_clock(now)
    check_heads(home, log)
    stands = standing(policy.policy, seal, log.approvals, log.revocations, now)
    if form == "json":
        deliver(arguments, approvals.document(policy.policy, seal, stands))
    elif not arguments.quiet or arguments.output is not None:
        console = console_for(sys.stdout, arguments.output)
        deliver(arguments, approvals.listed(policy.policy, seal, stands, console))
    if lacking:
        return 2
    return 0 if stands.word is Word.APPROVED else 1


def heard_log(
    arguments: argparse.Namespace, home: Path, key: PublicKey, policy: PolicyFile
) -> tuple[Log, str]:
    """The log of approvals, told to and confirmed by its witnesses; what is lacking when too few are heard.

    Raises VerificationError when one of them has seen another log, or more of it.
    """
    from ..core.errors import TransportError
    from ..render.visible import visible
    from ..seal.approvals import read_log
    from ..seal.policyfile import witnesses_of
    from ..seal.witnessed import confirmed_log
    from .witness import policy_in

    named = witnesses_of(policy.policy)
    policies = [] if named is None else [named]
    if arguments.witness_policy is not None:
        policies.append(policy_in(arguments.witness_policy))
    try:
        log, said = confirmed_log(home, key, policies)
    except TransportError as error:
        say(f"veracity: {visible(str(error))}")
        return read_log(home, key), str(error)
    for sentence in [] if arguments.quiet else said:
        say(visible(sentence))
    return log, ""


def _new_key(arguments: argparse.Namespace) -> int:
    from ..ledger.keys import SigningKey

    if not arguments.name:
        raise UsageError("name whose key it is to be: --as NAME")
    if arguments.new_key.exists():
        raise UsageError("there is a file already", where=str(arguments.new_key))
    key = SigningKey.load_or_create(arguments.new_key, arguments.name)
    if not arguments.quiet:
        say(f"{arguments.new_key} is the private key: who reads it can approve. The line for the policy:")
    deliver(arguments, f"{key.verifier.vkey}\n")
    return 0
