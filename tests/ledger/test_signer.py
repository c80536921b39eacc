"""Every kind of key signs and verifies through the one protocol."""

from __future__ import annotations

import pytest

from veracity.core.errors import VerificationError
from veracity.ledger.eckeys import EcSigningKey
from veracity.ledger.keys import SigningKey
from veracity.ledger.signer import Signer
from veracity.seal.sshsig import SshPublicKey, SshSigner


def ssh() -> SshSigner:
    key = SigningKey.generate("ssh")
    return SshSigner(SshPublicKey(key.verifier.raw), key.sign)


@pytest.mark.parametrize("make", [lambda: SigningKey.generate("k"), EcSigningKey.generate, ssh])
def test_a_signer_is_a_signer(make: type[Signer]) -> None:
    one: Signer = make()
    other: Signer = make()
    one.verifier.verify(b"text", one.sign(b"text"))
    assert one.verifier.name
    for message, signer in ((b"texT", one), (b"text", other)):
        with pytest.raises(VerificationError):
            signer.verifier.verify(message, one.sign(b"text"))
