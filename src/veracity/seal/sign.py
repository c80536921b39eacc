"""Signing: an in-toto Statement in a DSSE envelope, Ed25519.

Formats: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md and
https://github.com/in-toto/attestation/tree/v1.0/spec/v1. What is signed is DSSE's pre-authentication encoding
of type and payload, so any DSSE verifier can check an envelope with the public key.
"""

from __future__ import annotations

import base64
import json

from ..core.canonical import Json, decode, encode
from ..core.digest import Digest
from ..core.errors import EvidenceError, VerificationError
from ..ledger.keys import SigningKey
from ..ledger.signer import Verifier
from .fields import from_base64

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://veracity.example/run-manifest/v1"
SEAL_TYPE = "https://veracity.example/seal/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE = 256 << 20


def statement(subject: str, digest: Digest, predicate: dict[str, Json], kind: str = PREDICATE_TYPE) -> bytes:
    """The canonical bytes of a Statement that says ``predicate``, of type ``kind``, of ``subject``."""
    return encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject, "digest": {digest.algorithm: digest.value}}],
            "predicateType": kind,
            "predicate": predicate,
        }
    )


def sign_statement(payload: bytes, key: SigningKey) -> bytes:
    """A DSSE envelope (JSON) around the bytes of a statement, with one signature."""
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, payload))
    return encode(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode("ascii"),
            "signatures": [
                {"keyid": key.verifier.key_id.hex(), "sig": base64.b64encode(signature).decode("ascii")}
            ],
        }
    )


def verify_envelope(envelope: bytes, key: Verifier, kind: str = PREDICATE_TYPE) -> None:
    """Check that ``key`` signed the envelope and that it holds a statement of ours of type ``kind``.

    Raises VerificationError when no signature of ``key`` holds, EvidenceError when it is not such an
    envelope. The key id in an envelope is a hint that nobody signed: it is not used.
    """
    payload, signatures = _opened(envelope)
    message = pre_authentication(PAYLOAD_TYPE, payload)
    for signature in signatures:
        try:
            key.verify(message, signature)
        except VerificationError:
            continue  # another signer's
        unverified_statement(envelope, kind)
        return
    raise VerificationError(
        f"no signature of {key.name} holds for this envelope",
        remedy="do not rely on the seal; check that the key is the run's",
    )


def unverified_statement(envelope: bytes, kind: str = PREDICATE_TYPE) -> dict[str, Json]:
    """The statement inside, for reading after :func:`verify_envelope`; its signatures are not looked at."""
    payload, _ = _opened(envelope)
    value = decode(payload)
    if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
        raise EvidenceError("the envelope holds no in-toto Statement v1")
    if value.get("predicateType") != kind or not isinstance(value.get("predicate"), dict):
        raise EvidenceError(f"the statement is not of type {kind}")
    return value


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: what a signature covers."""
    name = kind.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def _opened(envelope: bytes) -> tuple[bytes, list[bytes]]:
    """Payload and signatures; raises EvidenceError when it is not an envelope of our payload type."""
    if len(envelope) > MAX_ENVELOPE:
        raise EvidenceError("the envelope is larger than 256 MiB")
    try:
        value = json.loads(envelope, object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not a DSSE envelope: {str(error)[:200]}") from error
    if not isinstance(value, dict) or value.get("payloadType") != PAYLOAD_TYPE:
        raise EvidenceError("not a DSSE envelope of an in-toto statement")
    signatures = value.get("signatures")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= 64:
        raise EvidenceError("the envelope has no signatures, or too many")
    found = []
    for signature in signatures:
        if not isinstance(signature, dict):
            raise EvidenceError("the envelope has a malformed signature")
        found.append(decode_base64(signature.get("sig"), "signature"))
    return decode_base64(value.get("payload"), "payload"), found


def unique_names(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """A JSON object whose names occur once: two readers must not see two documents. Raises ValueError."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def decode_base64(text: object, what: str) -> bytes:
    """The bytes of a base64 text in its one spelling; raises EvidenceError that names ``what``."""
    if not isinstance(text, str):
        raise EvidenceError(f"the envelope has no {what}")
    return from_base64(text, f"the envelope's {what}")
