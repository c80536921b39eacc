"""``veracity revoke PRINCIPAL``: nothing that this key approved from then on counts."""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from typing import TYPE_CHECKING

from ..core.errors import Error, UsageError
from ..core.policy import SECOND
from .approve import add_signer, heard_log, policy_for, signer_for
from .output import console_for, deliver
from .parsing import Parser, add_verb, format_of, home_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..core.approval import Approvable
    from ..core.policy import Policy, Principal
    from ..ledger.keys import PublicKey

_DESCRIPTION = """\
Take back what PRINCIPAL approved: a key was copied, or somebody has left. All approvals that the log took in
from --since on no longer count, and none will; what was approved before stays. Which seals fall by it, and
which runs were started on them, is listed. It cannot be undone: who is to approve again gets a new key."""

_EXAMPLES = """\
  veracity revoke lead --since 2025-03-02 --key ~/security.pem --reason "the laptop was stolen"
  veracity revoke lead --since 2025-03-02T14:00:00Z --key ~/lead.pem"""

LAST_SECOND = 2**63 // SECOND
"""What a record can hold: in the year 2262."""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``revoke``."""
    codes = (
        ("0", "revoked"),
        ("1", "the log of approvals does not hold, or is not what its witnesses know: nothing was written"),
        (
            "2",
            "the policy does not let this principal do it, something could not be read, or too few witnesses",
        ),
    )
    parser = add_verb(subparsers, "revoke", "take back approvals", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "principal",
        metavar="PRINCIPAL",
        help="whose approvals: a name in the policy, or the line of a public key that is no longer in it",
    )
    parser.add_argument(
        "--since",
        required=True,
        metavar="TIME",
        help="from when on, as 2025-03-02 or 2025-03-02T14:00:00Z; UTC where no zone is said",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for those who read it later")
    add_signer(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Revoke, and say what falls."""
    form = format_of(arguments, "text", "json")
    from ..core.approval import rested_on, standing
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
    from ..monitor.sealedruns import runs_on
    from ..render import approvals
    from ..seal.approvals import add_to_log, sign_revocation

    home = home_of(arguments)
    since = time_of(arguments.since)
    policy = policy_for(arguments)
    whom = _named(policy.policy, arguments.principal)
    key, by = signer_for(arguments, policy)
    own = SigningKey.load(home / KEY_FILE, KEY_NAME)
    before, _ = heard_log(arguments, home, own.verifier, policy)
    now = time.time_ns()
    envelope = sign_revocation(key, by, policy.policy, whom, since=since, at=now, reason=arguments.reason)
    add_to_log(home, own, "revocation", envelope, now)
    after, lacking = heard_log(arguments, home, own.verifier, policy)
    seals, unread = _seals(home, own.verifier)
    concerned = [
        (seal, standing(policy.policy, seal, after.approvals, after.revocations, now))
        for seal in seals
        if rested_on(policy.policy, seal, before.approvals, before.revocations, whom.identity, since)
    ]
    runs = runs_on(home, {seal.digest for seal, _ in concerned})
    if form == "json":
        deliver(arguments, approvals.fallen_document(whom.name, since, concerned, runs, unread))
    elif not arguments.quiet or arguments.output is not None:
        console = console_for(sys.stdout, arguments.output)
        deliver(arguments, approvals.fallen(whom.name, since, concerned, runs, unread, console))
    return 2 if lacking else 0


def _named(policy: Policy, name: str) -> Principal:
    """Whom a name or the line of a key means; raises UsageError when it is nobody."""
    from ..core.policy import Principal, identity_of
    from ..ledger.keys import PublicKey

    if "+" in name:
        line = PublicKey.parse(name).vkey
        return policy.holder_of(identity_of(line)) or Principal(name.partition("+")[0], line, (), ())
    found = next((one for one in policy.principals if one.name == name), None)
    if found is None:
        names = ", ".join(sorted(one.name for one in policy.principals))
        raise UsageError(f"the policy knows no principal {name[:80]!r}", remedy=f"it knows {names}")
    return found


def time_of(text: str) -> int:
    """A day or moment in ns since the epoch; raises UsageError for anything else."""
    try:
        # Python 3.10 does not read the letter that stands for UTC.
        when = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.timezone.utc)
        second = int(when.timestamp())
    except (ValueError, OverflowError):
        second = -1
    if not 0 <= second < LAST_SECOND:
        raise UsageError(f"not a time: {text[:80]!r}", remedy="write 2025-03-02 or 2025-03-02T14:00:00Z")
    return second * SECOND


def _seals(home: Path, key: PublicKey) -> tuple[list[Approvable], list[str]]:
    """The home's seals, and the names of those that do not hold or cannot be read."""
    from ..seal.approvals import approvable
    from ..seal.folder import list_seals
    from ..seal.paths import read_seal

    found, unread = [], []
    for folder in list_seals(home):
        try:
            found.append(approvable(read_seal(folder, key), key))
        except Error as error:
            unread.append(f"{folder.seal}: {error}")
    return found, unread
