"""Digest: the name of some bytes."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from .errors import EvidenceError

_HEX = re.compile(r"[0-9a-f]+\Z")
_LENGTHS = {"sha256": 64, "blake2b-256": 64}


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest with the algorithm that made it; ``str()`` gives ``sha256:<hex>``."""

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        length = _LENGTHS.get(self.algorithm)
        if length is None:
            raise EvidenceError(f"unknown digest algorithm {self.algorithm!r}")
        if len(self.value) != length or not _HEX.match(self.value):
            raise EvidenceError(f"not a {self.algorithm} digest: {self.value[:80]!r}")

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """SHA-256 of ``data``."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``; raises EvidenceError on anything else."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, value)
