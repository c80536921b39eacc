"""Cosignatures: a witness says that it saw a tree head, and when (C2SP tlog-cosignature, ``cosignature/v1``).

    — <witness name> base64(key id (4 bytes) || time (8 bytes, big-endian) || Ed25519 signature)

What is signed is ``cosignature/v1``, the time in seconds since the epoch, and the whole text of the tree
head. The key id is made with another algorithm byte than that of a log's signature, so neither is taken for
the other.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ...core.errors import VerificationError
from ...core.quantity import quantity
from ..keys import PublicKey, SigningKey, read_vkey, vkey_line
from ..note import Note, key_id

COSIGNATURE = 0x04
"""The algorithm byte of timestamped Ed25519 cosignatures."""
_TIME = 8
_SIGNATURE = 64
_MAX_TIME = 253_402_300_800
"""The year 10000: the specification lets verifiers refuse the future, and no calendar prints later times."""


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness' name and public key. As a line: ``name+id+base64(0x04 || public key)``."""

    public: PublicKey

    @property
    def name(self) -> str:
        """The witness' name."""
        return self.public.name

    @property
    def key_id(self) -> bytes:
        """What its signature lines begin with."""
        return key_id(self.public.name, COSIGNATURE, self.public.raw)

    @property
    def vkey(self) -> str:
        """The line that is passed on."""
        return vkey_line(self.name, COSIGNATURE, self.public.raw)

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Read such a line; raises EvidenceError, or VerificationError for a key that proves nothing."""
        return cls(PublicKey(*read_vkey(vkey, COSIGNATURE)))


def cosign(text: str, at: int, key: SigningKey) -> str:
    """The signature line over the text of a tree head, seen ``at`` so many seconds since the epoch."""
    witness = WitnessKey(key.verifier)
    value = witness.key_id + at.to_bytes(_TIME, "big") + key.sign(_message(text, at))
    return f"\u2014 {witness.name} {base64.b64encode(value).decode('ascii')}\n"


def verify_cosignature(note: Note, key: WitnessKey) -> int:
    """When the witness saw the tree head, in s since the epoch: the newest of its lines that are there.

    Raises VerificationError when there is none or one of them does not hold.
    """
    known = [one for one in note.signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    if not known:
        raise VerificationError(f"not cosigned by {key.name}+{key.key_id.hex()}")
    seen = []
    for one in known:
        if len(one.value) != _TIME + _SIGNATURE:
            raise VerificationError(f"the cosignature of {key.name} has {quantity(len(one.value), 'byte')}")
        at = int.from_bytes(one.value[:_TIME], "big")
        if not 0 < at < _MAX_TIME:
            raise VerificationError(f"the cosignature of {key.name} has an impossible time")
        key.public.verify(_message(note.text, at), one.value[_TIME:])
        seen.append(at)
    return max(seen)


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
