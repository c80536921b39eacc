"""``veracity verify approvals``: check the log of approvals, and that no revocation was taken out of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import EvidenceError, TransportError, UsageError
from ..core.quantity import quantity
from .parsing import home_of
from .witness import keys_in

if TYPE_CHECKING:
    from ..ledger.keys import PublicKey
    from ..ledger.witness.policy import Policy

NAME = "approvals"


def check_approvals(arguments: argparse.Namespace, policies: Sequence[Policy]) -> tuple[list[str], str]:
    """Sentences about what holds, and what is lacking.

    The key is that of ``--key``, else the home's own. Raises VerificationError for what does not hold,
    EvidenceError for what cannot be read.
    """
    from ..monitor.sealedruns import check_heads
    from ..seal.approvals import read_log
    from ..seal.policyfile import find_policy, witnesses_of
    from ..seal.witnessed import confirmed_log

    if arguments.at or arguments.timestamp_ca:
        raise UsageError("--at and --timestamp-ca are not for approvals")
    home = home_of(arguments)
    key = _key(arguments, home)
    found = find_policy(home, Path.cwd(), None)
    named = None if found is None else witnesses_of(found.policy)
    wanted = [*policies, *([] if named is None else [named])]
    log = read_log(home, key)
    if log.head is None:
        raise EvidenceError("there is no log of approvals", where=str(home))
    approvals = quantity(len(log.approvals), "approval")
    said = [
        f"the tree head over {quantity(log.size, 'entry')} is signed by {key.name} and matches every entry",
        f"{approvals} and {quantity(len(log.revocations), 'revocation')} stand in the order of time",
    ]
    forged = sum(not one.holds for one in log.approvals)
    if forged:
        said.append(
            f"{quantity(forged, 'approval counts', 'approvals count')} for nothing: the signature does not "
            "hold"
        )
    log.check_clock(time.time_ns())
    check_heads(home, log)
    said.append("it continues what the runs of this home have seen of it")
    if not wanted:
        said.append("no witness is named: nothing here shows that others have seen it")
        return said, ""
    try:
        return [*said, *confirmed_log(home, key, wanted)[1]], ""
    except TransportError as error:
        return said, str(error)


def _key(arguments: argparse.Namespace, home: Path) -> PublicKey:
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey

    if arguments.key is None:
        return SigningKey.load(home / KEY_FILE, KEY_NAME).verifier
    keys = keys_in(arguments.key)
    if len(keys) != 1:
        raise UsageError("the log of approvals has one key", where=str(arguments.key))
    return keys[0]
