"""The policy of globals that comes with the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ...core.errors import EvidenceError
from ...core.observation import GlobalsPermitted
from ...core.origin import Origin
from ...core.picklepolicy import Key, policy_of

PACKAGED = Path(__file__).with_name("policy.json")


def permitted(origin: Origin, more: Sequence[Key] = ()) -> GlobalsPermitted:
    """What is permitted: the packaged policy, and ``more`` globals of a site, as classes that hold data.

    Raises EvidenceError when the file cannot be read or is no policy.
    """
    try:
        data = PACKAGED.read_bytes()
        document = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise EvidenceError(f"the policy for pickles cannot be read: {error}", where=str(PACKAGED)) from error
    return GlobalsPermitted(
        origin, policy_of(document, more), ((PACKAGED.name, hashlib.sha256(data).hexdigest()),)
    )
