"""Where the policy stands: ``veracity.toml``, or ``[tool.veracity]`` of a ``pyproject.toml``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import EvidenceError, UsageError, VerificationError
from ..core.policy import Policy, policy_of
from ..ledger.keys import PublicKey
from ..ledger.witness.policy import Policy as WitnessPolicy
from ..observe.toml import read_toml

FILE_NAME = "veracity.toml"
PROJECT = "pyproject.toml"
MAX_FILE = 1 << 20
KNOWN = ("policy",)


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy, and the file that says so."""

    path: Path
    policy: Policy


def find_policy(home: Path, folder: Path, given: Path | None = None) -> PolicyFile | None:
    """The policy of the file that is ``given``; else of the home, else of ``folder``; None without any.

    The home's comes before that of a project: who may write the code is not to say who approves it. Raises
    UsageError when a file cannot be read, has an unknown key, or its policy cannot be.
    """
    if given is not None:
        found = _read(given)
        if found is None:
            raise UsageError("there is no [policy] in this file", where=str(given))
        return found
    for path in (home / FILE_NAME, folder / FILE_NAME, folder / PROJECT):
        if os.path.lexists(path) and (found := _read(path)) is not None:
            return found
    return None


def witnesses_of(policy: Policy) -> WitnessPolicy | None:
    """Whose cosignatures the policy wants on the log of approvals, None where it wants nobody's.

    Raises EvidenceError when its lines are no witness policy.
    """
    return WitnessPolicy.parse(policy.witnesses.encode("utf-8")) if policy.witnesses else None


def _read(path: Path) -> PolicyFile | None:
    try:
        if path.stat().st_mode & 0o002:
            raise UsageError("everybody can write this file", remedy=f"chmod o-w {path}, and read it again")
        value: object = read_toml(path, MAX_FILE)
        if path.name == PROJECT and isinstance(value, dict):
            tools = value.get("tool", {})
            value = tools.get("veracity", {}) if isinstance(tools, dict) else {}
        if not isinstance(value, dict):
            raise UsageError("[tool.veracity] is no table")
        unknown = next((name[:80] for name in sorted(value) if name not in KNOWN), None)
        if unknown is not None:
            raise UsageError(f"unknown key {unknown!r}", remedy=f"known: {', '.join(KNOWN)}")
        if "policy" not in value:
            return None
        policy = policy_of(value["policy"])
        for principal in policy.principals:
            PublicKey.parse(principal.key)
        witnesses_of(policy)
    except OSError as error:
        raise UsageError(f"the configuration cannot be read: {error.strerror}", where=str(path)) from error
    except (EvidenceError, UsageError, VerificationError) as error:
        said = error.diagnostics()
        raise UsageError(
            f"the configuration is wrong: {said.what}", where=str(path), remedy=said.remedy
        ) from error
    return PolicyFile(path, policy)
