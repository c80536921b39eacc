"""Signed notes (C2SP signed-note): a text, an empty line, and one line per signature.

    — <key name> base64(key id (4 bytes) || signature)

The key id is the start of ``SHA-256(name || 0x0A || algorithm || public key)``, so a signature made for
another name or algorithm is never taken for ours. Signatures by unknown keys are ignored (witnesses add
theirs); one by the known key must hold, and at least one must be there.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from ..core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from .signer import Signer, Verifier

ED25519 = 0x01
"""The algorithm byte of plain Ed25519 signatures over the text."""
MAX_NOTE = 128 * 1024
MAX_SIGNATURES = 64
_MARK = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteVerifier(Verifier, Protocol):
    """A public key under a name that stands in signature lines."""

    @property
    def key_id(self) -> bytes:
        """The four bytes that tell keys of one name apart."""


class NoteSigner(Signer, Protocol):
    """A key that signs under such a name."""

    @property
    def verifier(self) -> NoteVerifier:
        """The public half."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line, taken apart but not verified."""

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text (it ends in a newline) with its signatures. Do not believe the text before it is verified."""

    text: str
    signatures: tuple[Signature, ...]


def key_id(name: str, algorithm: int, public: bytes) -> bytes:
    """The id of a key; raises UsageError when ``name`` cannot be a key name."""
    check_name(name)
    return sha256(name.encode() + bytes([0x0A, algorithm]) + public).digest()[:4]


def check_name(name: str) -> None:
    """Raise UsageError unless ``name`` may stand in a signature line."""
    if not _is_name(name):
        raise UsageError(
            f"not a key name: {name[:80]!r}", remedy="use letters without spaces, '+' or control characters"
        )


def sign_note(text: str, signer: NoteSigner) -> bytes:
    """The note over ``text`` with one signature; raises UsageError when ``text`` cannot be a note's."""
    if not text.endswith("\n") or _has_control(text) or not _is_utf8(text):
        raise UsageError("the text of a note is lines of UTF-8 without control characters")
    verifier = signer.verifier
    value = base64.b64encode(verifier.key_id + signer.sign(text.encode())).decode("ascii")
    return f"{text}\n{_MARK}{verifier.name} {value}\n".encode()


def parse_note(data: bytes) -> Note:
    """Take a note apart; raises EvidenceError when it is malformed, ResourceLimitError when too large."""
    if len(data) > MAX_NOTE:
        raise ResourceLimitError(f"a note of {len(data)} bytes is too long")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EvidenceError("note is not UTF-8") from error
    if _has_control(whole):
        raise EvidenceError("note holds control characters")
    body, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise EvidenceError("note has no signatures")
    signatures = [_parse_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > MAX_SIGNATURES:
        raise ResourceLimitError(f"note has more than {MAX_SIGNATURES} signatures")
    return Note(body + "\n", tuple(signatures))


def verify_note(note: Note, verifier: NoteVerifier) -> None:
    """Check the signature of one known key; raises VerificationError when it is missing or wrong."""
    known = [one for one in note.signatures if (one.name, one.key_id) == (verifier.name, verifier.key_id)]
    if not known:
        raise VerificationError(
            f"not signed by {verifier.name}+{verifier.key_id.hex()}",
            where=", ".join(f"{one.name}+{one.key_id.hex()}" for one in note.signatures[:8]),
            remedy="check that the key belongs to this record",
        )
    for one in known:
        verifier.verify(note.text.encode(), one.value)


def decode_base64(text: str) -> bytes:
    """Strict standard base64: no other alphabet, no white space, no spare bits; raises EvidenceError."""
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise EvidenceError(f"not base64: {text[:80]!r}") from error
    if base64.b64encode(value).decode("ascii") != text:
        raise EvidenceError(f"not base64 in its one spelling: {text[:80]!r}")
    return value


def _parse_signature(line: str) -> Signature:
    parts = line.removeprefix(_MARK).split(" ")
    if not line.startswith(_MARK) or len(parts) != 2 or not _is_name(parts[0]):
        raise EvidenceError(f"malformed signature line: {line[:80]!r}")
    try:
        value = decode_base64(parts[1])
    except EvidenceError as error:
        raise EvidenceError(f"the signature of {parts[0]} cannot be read: {error}") from error
    if len(value) < 5:
        raise EvidenceError(f"signature line without a signature: {line[:80]!r}")
    return Signature(parts[0], value[:4], value[4:])


def _is_name(name: str) -> bool:
    return (
        bool(name)
        and "+" not in name
        and _is_utf8(name)
        and not _has_control(name)
        and not any(char.isspace() for char in name)
    )


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
