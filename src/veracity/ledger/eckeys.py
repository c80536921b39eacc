"""ECDSA keys on the NIST curves, for formats that know no Ed25519: PEM files, public and private.

The curve decides the digest, as sigstore has it: P-256 with SHA-256, P-384 with SHA-384, P-521 with SHA-512.
New keys are P-256. Of these curves every point but the neutral one has the full order, so there is no small
subgroup to look out for; a PEM whose point is not on its curve is refused by the library that reads it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..core.errors import EvidenceError, UsageError, VerificationError
from .keyfiles import create_key_file, read_key_file

_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
_KINDS = "EC P-256, P-384 or P-521"
_MAX_PEM = 16 * 1024


@dataclass(frozen=True, slots=True)
class EcPublicKey:
    """A public key that can be relied on, as SubjectPublicKeyInfo PEM in the one spelling that is hashed.

    Raises EvidenceError when the PEM is not one of a public key of the three curves.
    """

    pem: bytes
    _key: ec.EllipticCurvePublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            key = serialization.load_pem_public_key(self.pem[:_MAX_PEM])
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise EvidenceError("not a PEM public key") from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _DIGESTS:
            raise EvidenceError(f"the public key is not {_KINDS}")
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "pem", _public_pem(key))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the PEM in hexadecimal, which sigstore bundles carry as a hint."""
        return hashlib.sha256(self.pem).hexdigest()

    @property
    def name(self) -> str:
        """For people: the curve and the beginning of the fingerprint."""
        return f"{self._key.curve.name} key {self.fingerprint[:16]}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise VerificationError unless ``signature`` (DER) is this key's over ``message``."""
        try:
            self._key.verify(signature, message, ec.ECDSA(_DIGESTS[self._key.curve.name]))
        except InvalidSignature as error:
            raise VerificationError(f"the signature of the {self.name} does not hold") from error


class EcSigningKey:
    """An ECDSA key that signs."""

    __slots__ = ("_private", "_verifier")

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self._verifier = EcPublicKey(_public_pem(private.public_key()))

    @property
    def verifier(self) -> EcPublicKey:
        """The public key."""
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``, DER."""
        return self._private.sign(message, ec.ECDSA(_DIGESTS[self._private.curve.name]))

    @classmethod
    def generate(cls) -> EcSigningKey:
        """A new P-256 key that is kept nowhere."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load_or_create(cls, path: Path) -> EcSigningKey:
        """The key in ``path``, a P-256 key made there (mode 0600) when the file does not exist yet."""
        if not os.path.lexists(path):
            create_key_file(path, ec.generate_private_key(ec.SECP256R1()))
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> EcSigningKey:
        """The key in ``path``.

        Raises UsageError when the file is missing, not ours, usable by others, or holds no such key.
        """
        try:
            private = serialization.load_pem_private_key(read_key_file(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UsageError(
                "the key file holds no unencrypted PEM key",
                where=str(path),
                remedy="make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
            ) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in _DIGESTS:
            raise UsageError(f"the key file holds a key that is not {_KINDS}", where=str(path))
        return cls(private)


def _public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
