"""What makes signatures, and what checks them, whichever kind of key it is."""

from __future__ import annotations

from typing import Protocol


class Verifier(Protocol):
    """A public key."""

    @property
    def name(self) -> str:
        """What it is called in sentences."""

    def verify(self, message: bytes, signature: bytes) -> None:
        """Raise VerificationError unless ``signature`` is this key's over ``message``."""


class Signer(Protocol):
    """A private key, or somebody who holds one."""

    @property
    def verifier(self) -> Verifier:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``, encoded as this kind of key does."""
