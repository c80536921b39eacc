"""``[policy]`` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import EvidenceError, UsageError, VerificationError
from ..core.policy import Policy, policy_of
from ..ledger.keys import PublicKey
from ..ledger.witness.policy import Policy as WitnessPolicy
from .configuration import tables_in, wrong


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy, and the file that says so."""

    path: Path
    policy: Policy


def find_policy(home: Path, folder: Path, given: Path | None = None) -> PolicyFile | None:
    """The policy of the file that is ``given``; else of the home, else of ``folder``; None without any.

    Raises UsageError when a file cannot be read, has an unknown key, or its policy cannot be.
    """
    for path, tables in tables_in(home, folder, given):
        if "policy" in tables:
            return _policy(path, tables)
    if given is not None:
        raise UsageError("there is no [policy] in this file", where=str(given))
    return None


def witnesses_of(policy: Policy) -> WitnessPolicy | None:
    """Whose cosignatures the policy wants on the log of approvals, None where it wants nobody's.

    Raises EvidenceError when its lines are no witness policy.
    """
    return WitnessPolicy.parse(policy.witnesses.encode("utf-8")) if policy.witnesses else None


def _policy(path: Path, tables: Mapping[str, object]) -> PolicyFile:
    try:
        policy = policy_of(tables["policy"])
        for principal in policy.principals:
            PublicKey.parse(principal.key)
        witnesses_of(policy)
    except (EvidenceError, UsageError, VerificationError) as error:
        raise wrong(path, error) from error
    return PolicyFile(path, policy)
