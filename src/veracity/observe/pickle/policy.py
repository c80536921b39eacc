"""The policy of globals that comes with the package."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from ...core.errors import EvidenceError
from ...core.observation import GlobalsPermitted
from ...core.origin import Origin
from ...core.picklepolicy import NO_PERMITS, PicklePolicy, SitePermits, policy_of

PACKAGED = Path(__file__).with_name("policy.json")


def permitted(origin: Origin, site: SitePermits = NO_PERMITS) -> GlobalsPermitted:
    """What is permitted: the packaged policy, and what a site says beside it.

    Raises EvidenceError when the file cannot be read or is no policy.
    """
    policy, digest = _read(site)
    return GlobalsPermitted(origin, policy, ((PACKAGED.name, digest),))


@lru_cache(maxsize=2)
def _read(site: SitePermits) -> tuple[PicklePolicy, str]:
    try:
        data = PACKAGED.read_bytes()
        document = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise EvidenceError(f"the policy for pickles cannot be read: {error}", where=str(PACKAGED)) from error
    from hashlib import sha256  # which takes longer to import than the reading of most pickles

    # Its shapes are part of this package, and a test looks at each of them.
    return policy_of(document, site, checked=True), sha256(data).hexdigest()
