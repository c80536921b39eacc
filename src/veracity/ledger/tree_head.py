"""The tree head: how many entries the ledger holds and the root over them, as a signed note.

The text has three lines, origin, size and base64 root, exactly as C2SP tlog-checkpoint has them; that
specification also names the file on disk, ``checkpoint``.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from ..core.errors import EvidenceError, UsageError, VerificationError
from .merkle import HASH_SIZE
from .note import NoteSigner, NoteVerifier, decode_base64, parse_note, sign_note, verify_note
from .tile import MAX_SIZE

FILE_NAME = "checkpoint"
_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class TreeHead:
    """``size`` entries under ``root``; ``signed`` is the whole note, which only ``verify`` makes credible."""

    origin: str
    size: int
    root: bytes
    signed: bytes

    @classmethod
    def sign(cls, origin: str, size: int, root: bytes, signer: NoteSigner) -> TreeHead:
        """A head signed by ``signer``."""
        check_origin(origin)
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode('ascii')}\n"
        return cls(origin, size, root, sign_note(text, signer))

    @classmethod
    def parse(cls, data: bytes) -> TreeHead:
        """Read a note whose text is a tree head; raises EvidenceError otherwise. Verifies nothing."""
        lines = parse_note(data).text.split("\n")[:-1]
        if len(lines) < 3 or not all(lines):
            raise EvidenceError("a tree head has an origin, a size and a root, each on its line")
        origin, size, root = lines[:3]
        if not _SIZE.match(size) or int(size) >= MAX_SIZE:
            raise EvidenceError(f"not a tree size: {size[:40]!r}")
        try:
            value = decode_base64(root)
        except EvidenceError as error:
            raise EvidenceError(f"the root of a tree head cannot be read: {error}") from error
        if len(value) != HASH_SIZE:
            raise EvidenceError(f"a root has {HASH_SIZE} bytes, not {len(value)}")
        return cls(origin, int(size), value, data)

    def verify(self, verifier: NoteVerifier) -> None:
        """Raise VerificationError unless ``verifier`` signed exactly this head."""
        verify_note(parse_note(self.signed), verifier)

    def is_signed(self, verifier: NoteVerifier) -> bool:
        """Whether ``verify`` holds: for finding the heads that are of one's own log among others."""
        try:
            self.verify(verifier)
        except VerificationError:
            return False
        return True


def speaks_for(name: str, origin: str) -> bool:
    """Whether a log's key of that name may sign heads of that origin: its own, and those below it."""
    return origin == name or origin.startswith(f"{name}/")


def check_origin(origin: str) -> None:
    """Raise UsageError unless ``origin`` can be the first line of a tree head."""
    if not origin or len(origin) > 1024 or not origin.isprintable():
        raise UsageError(f"not an origin for a ledger: {origin[:80]!r}")
