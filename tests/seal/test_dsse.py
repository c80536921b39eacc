"""Our envelopes and statements before the implementations of their own projects, and theirs before ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from veracity.core.digest import Digest
from veracity.core.errors import VerificationError
from veracity.ledger.keys import PublicKey, SigningKey
from veracity.seal.sign import PAYLOAD_TYPE, sign_statement, statement, unverified_statement, verify_envelope

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = SigningKey("home.example", PRIVATE)
STATEMENT = statement("run-1", Digest.of(b"{}"), {"schema": 1, "name": "\u00e9"})


@pytest.fixture(scope="module")
def dsse() -> Any:
    return pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is not installed")


@pytest.fixture(scope="module")
def signer() -> Any:
    return pytest.importorskip("securesystemslib.signer", reason="securesystemslib is not installed")


def their_key(signer: Any, keyid: str, private: Ed25519PrivateKey = PRIVATE) -> Any:
    return signer.SSlibKey.from_crypto(private.public_key(), keyid=keyid)


def accepted(dsse: Any, envelope: bytes, key: Any) -> bool:
    errors = pytest.importorskip("securesystemslib.exceptions")
    try:
        return bool(dsse.Envelope.from_dict(json.loads(envelope)).verify([key], 1))
    except errors.VerificationError:
        return False


def test_securesystemslib_takes_our_envelope_and_no_edit_of_it(dsse: Any, signer: Any) -> None:
    envelope = sign_statement(STATEMENT, KEY)
    key = their_key(signer, KEY.verifier.key_id.hex())
    assert accepted(dsse, envelope, key)
    value = json.loads(envelope)
    other = base64.b64encode(STATEMENT.replace(b"run-1", b"run-2")).decode()
    for change in ({"payload": other}, {"payloadType": "text/plain"}):
        assert not accepted(dsse, json.dumps({**value, **change}).encode(), key)
    stranger = their_key(signer, key.keyid, Ed25519PrivateKey.generate())
    assert not accepted(dsse, envelope, stranger)


def test_we_take_an_envelope_of_securesystemslib_and_no_edit_of_it(dsse: Any, signer: Any) -> None:
    made = dsse.Envelope(STATEMENT, PAYLOAD_TYPE, {})
    made.sign(signer.CryptoSigner(PRIVATE))
    envelope = json.dumps(made.to_dict()).encode()
    verify_envelope(envelope, KEY.verifier)
    assert unverified_statement(envelope)["subject"] == json.loads(STATEMENT)["subject"]
    value = json.loads(envelope)
    value["payload"] = base64.b64encode(STATEMENT.replace(b"run-1", b"run-2")).decode()
    with pytest.raises(VerificationError):
        verify_envelope(json.dumps(value).encode(), KEY.verifier)
    with pytest.raises(VerificationError):
        verify_envelope(envelope, PublicKey("home.example", SigningKey.generate("x").verifier.raw))


def test_in_toto_takes_our_statement() -> None:
    """The attestation framework's own protocol buffers and rules; it comes with model-signing."""
    module = pytest.importorskip("in_toto_attestation.v1.statement", reason="in-toto-attestation is missing")
    parser = pytest.importorskip("google.protobuf.json_format")
    buffers = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    read = parser.Parse(STATEMENT.decode(), buffers.Statement())
    module.Statement.copy_from_pb(read).validate()
    assert read.subject[0].name == "run-1"
