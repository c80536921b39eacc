"""Digests of random number generator states: torch's, Python's, and NumPy's where it was imported."""

from __future__ import annotations

import hashlib
import random
import struct
import sys

from .tensors import raw_bytes


def digests(*, every: bool = True) -> dict[str, str]:
    """128-bit digests of each generator's state, keyed ``torch``, ``python``, ``numpy``. Changes nothing.

    With ``every`` false only torch's, which training draws from at each step; the others cost more to read.
    """
    import torch

    found = {"torch": _short(raw_bytes(torch.random.default_generator.get_state()))}
    if not every:
        return found
    version, words, _ = random.getstate()
    if version == 3:
        found["python"] = _short(struct.pack("<625I", *words))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        state = numpy_random.get_state(legacy=False)["state"]
        found["numpy"] = _short(state["key"].tobytes() + int(state["pos"]).to_bytes(4, "little"))
    return found


def _short(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
