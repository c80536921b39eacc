"""One entry of the ledger: a kind and a body, as canonical JSON of at most 65,535 bytes.

``{"k": kind, ...}``: the members of the body stand beside the kind, so a body has no member ``k`` of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core import canonical
from ..core.canonical import Json
from ..core.errors import EvidenceError, ResourceLimitError
from .tile import MAX_ENTRY

_KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_MAX_KIND = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded fact: ``kind`` in kebab case, ``body`` as canonical JSON allows it (no floats)."""

    kind: str
    body: dict[str, Json]

    def __post_init__(self) -> None:
        if len(self.kind) > _MAX_KIND or not _KIND.match(self.kind):
            raise EvidenceError(f"not an entry kind: {self.kind[:80]!r}")
        if "k" in self.body:
            raise EvidenceError("the body of an entry must not have a member 'k'")

    def encode(self) -> bytes:
        """The bytes that are recorded.

        Raises ResourceLimitError when they are more than an entry holds, EvidenceError when the body has a
        value that canonical JSON lacks.
        """
        data = canonical.encode({"k": self.kind, **self.body})
        if len(data) > MAX_ENTRY:
            raise ResourceLimitError(
                f"entry {self.kind!r} of {len(data)} bytes is too long (at most {MAX_ENTRY})",
                remedy="store the large part as a blob and record its digest",
            )
        return data

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """The entry whose encoding is exactly ``data``; raises EvidenceError otherwise."""
        if len(data) > MAX_ENTRY:
            raise ResourceLimitError(f"{len(data)} bytes are more than an entry holds")
        value = canonical.decode(data)
        if not isinstance(value, dict):
            raise EvidenceError("an entry is a JSON object")
        kind = value.pop("k", None)
        if not isinstance(kind, str):
            raise EvidenceError("an entry names its kind in member 'k'")
        return cls(kind, value)
