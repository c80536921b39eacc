"""``veracity.load``, as programs call it: importing the name costs nothing until it is called."""

from __future__ import annotations

import os


def load(path: str | os.PathLike[str], *, digest: str = "") -> object:
    """What a checkpoint holds, built without executing anything that it says; tensors are on the CPU.

    ``digest``: ``sha256:<hex>`` that the file must have. Raises ``VerificationError`` for a file with
    findings, ``EvidenceError`` for one that cannot be read or built (both of ``veracity.core.errors``).
    """
    from .load import load_whole

    return load_whole(path, digest=digest).value
