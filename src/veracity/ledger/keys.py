"""Ed25519 keys: files on disk, and the ``name+id+base64`` line that names a public key.

Libraries disagree about crafted keys, so a public key is accepted only when all of them must read it the same
way: 32 bytes, y below the field's prime, a point on the curve, and none of the points of small order
(under those, one signature fits many messages). The private key is a PKCS #8 PEM file, mode 0600.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..core.errors import EvidenceError, UsageError, VerificationError
from .keyfiles import create_key_file, read_key_file
from .note import ED25519, check_name, decode_base64, key_id

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT = 1 << 255
# y of the points whose order divides 8 (RFC 8032 curve): order 1, 2, 4, and the two pairs of order 8.
# With either sign of x, this is every encoding of such a point that has y < p.
SMALL_ORDER_Y = frozenset(
    int.from_bytes(bytes.fromhex(text), "little")
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
KEY_FILE = "key.pem"
"""A home's own key."""
KEY_NAME = "veracity.local"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A name and the 32 bytes of an Ed25519 public key that can be relied on.

    Raises EvidenceError when the bytes are not a key, VerificationError when they are one under which a
    signature proves nothing.
    """

    name: str
    raw: bytes
    key_id: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_point(self.raw)
        object.__setattr__(self, "key_id", key_id(self.name, ED25519, self.raw))

    @property
    def vkey(self) -> str:
        """``name+id+base64``, as Go's note package prints and reads it."""
        return vkey_line(self.name, ED25519, self.raw)

    @classmethod
    def parse(cls, vkey: str) -> PublicKey:
        """Read ``name+id+base64``; raises EvidenceError, or VerificationError for an unusable key."""
        return cls(*read_vkey(vkey, ED25519))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise VerificationError unless ``signature`` is this key's over ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature as error:
            raise VerificationError(f"the signature of {self.name} does not hold") from error


def vkey_line(name: str, algorithm: int, raw: bytes) -> str:
    """``name+id+base64(algorithm || public key)``."""
    encoded = base64.b64encode(bytes([algorithm]) + raw).decode("ascii")
    return f"{name}+{key_id(name, algorithm, raw).hex()}+{encoded}"


def read_vkey(vkey: str, algorithm: int) -> tuple[str, bytes]:
    """Name and 32 bytes of a key of that algorithm; raises EvidenceError when the line is none of it."""
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3:
        raise EvidenceError(f"not a verifier key: {_shown(vkey)}")
    name, identity, encoded = parts
    try:
        check_name(name)
    except UsageError as error:
        raise EvidenceError(f"not a verifier key: {_shown(vkey)}") from error
    value = decode_base64(encoded)
    if len(value) != 33 or value[0] != algorithm:
        raise EvidenceError(f"not an Ed25519 verifier key of kind {algorithm}: {_shown(vkey)}")
    expected = key_id(name, algorithm, value[1:]).hex()
    if identity != expected:
        raise EvidenceError(f"the id of the verifier key is {expected}, not {identity[:16]!r}")
    return name, value[1:]


def _shown(vkey: str) -> str:
    """The beginning of what is no key line; nothing of it when it may be a private key's file."""
    return "a PEM file" if "-----" in vkey else repr(vkey[:120])


class SigningKey:
    """An Ed25519 key that signs under a name."""

    __slots__ = ("_private", "_verifier")

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._verifier = PublicKey(name, raw)

    @property
    def verifier(self) -> PublicKey:
        """The public key."""
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over ``message``."""
        return self._private.sign(message)

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key that is kept nowhere."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path, name: str) -> SigningKey:
        """The key in ``path``, made there (mode 0600) when the file does not exist yet."""
        check_name(name)
        if not os.path.lexists(path):
            create_key_file(path, Ed25519PrivateKey.generate())
        return cls.load(path, name)

    @classmethod
    def load(cls, path: Path, name: str) -> SigningKey:
        """The key in ``path``.

        Raises UsageError when the file is missing, not ours, readable by others, or holds no Ed25519 key.
        """
        try:
            private = serialization.load_pem_private_key(read_key_file(path), password=None)
        except (ValueError, TypeError) as error:
            raise UsageError(
                "the key file holds no unencrypted PEM key", where=str(path), remedy="restore it"
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise UsageError("the key file holds a key that is not Ed25519", where=str(path))
        return cls(name, private)


def _check_point(raw: bytes) -> None:
    if len(raw) != 32:
        raise EvidenceError(f"an Ed25519 public key has 32 bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") & ~_SIGN_BIT
    if y >= _P:
        raise VerificationError("the public key is not in canonical form")
    if y in SMALL_ORDER_Y:
        raise VerificationError("the public key is a point of small order: any message could be signed")
    # On the curve, x² = (y² - 1) / (d·y² + 1). The denominator is never 0, and a square u/v has u·v a square.
    square = (y * y - 1) * (_D * y * y + 1) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        raise VerificationError("the public key is not a point on the curve")
