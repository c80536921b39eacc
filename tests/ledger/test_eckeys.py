"""P-256 keys and their larger sisters, as openssl makes and checks them."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger.eckeys import EcPublicKey, EcSigningKey

KEY = EcSigningKey.generate()


def written(path: Path, private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return path


def openssl(folder: Path, *words: str) -> None:
    try:
        done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("curve", "digest"), [("prime256v1", "-sha256"), ("secp384r1", "-sha384"), ("secp521r1", "-sha512")]
)
def test_openssl_agrees_both_ways(tmp_path: Path, curve: str, digest: str) -> None:
    openssl(tmp_path, "ecparam", "-name", curve, "-genkey", "-noout", "-out", "key.pem")
    openssl(tmp_path, "ec", "-in", "key.pem", "-pubout", "-out", "public.pem")
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "message").write_bytes(b"text")
    key = EcSigningKey.load(tmp_path / "key.pem")
    assert key.verifier == EcPublicKey((tmp_path / "public.pem").read_bytes())
    (tmp_path / "sig").write_bytes(key.sign(b"text"))
    openssl(tmp_path, "dgst", digest, "-verify", "public.pem", "-signature", "sig", "message")
    openssl(tmp_path, "dgst", digest, "-sign", "key.pem", "-out", "sig", "message")
    key.verifier.verify(b"text", (tmp_path / "sig").read_bytes())


@given(st.binary(max_size=80), st.data())
def test_a_changed_signature_or_message_does_not_hold(message: bytes, data: st.DataObject) -> None:
    signature = KEY.sign(message)
    KEY.verifier.verify(message, signature)
    changed = bytearray(signature)
    at = data.draw(st.integers(0, 255))  # its length differs from one signature to the next
    changed[at % len(changed)] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VerificationError):
        KEY.verifier.verify(message, bytes(changed))
    with pytest.raises(VerificationError):
        KEY.verifier.verify(message + b"x", signature)
    with pytest.raises(VerificationError):
        EcSigningKey.generate().verifier.verify(message, signature)


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "home" / "model-key.pem"
    first = EcSigningKey.load_or_create(path)
    assert EcSigningKey.load_or_create(path).verifier == first.verifier
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.verifier.name.startswith("secp256r1 key ")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.pem"
    EcSigningKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match=f"{mode:04o}"):
        EcSigningKey.load(path)


def test_other_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for private in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(UsageError, match="not EC P-256"):
            EcSigningKey.load(written(path, private))
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(EvidenceError, match="not EC P-256"):
            EcPublicKey(public)
    for content in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="no unencrypted PEM") as caught:
            EcSigningKey.load(path)
        assert "openssl" in caught.value.diagnostics().remedy
    path.unlink()
    os.symlink("nowhere", path)
    with pytest.raises(UsageError, match="cannot be opened"):
        EcSigningKey.load_or_create(path)


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    der = bytearray(
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    der[-1] ^= 1
    pem = b"-----BEGIN PUBLIC KEY-----\n%b-----END PUBLIC KEY-----\n" % base64.encodebytes(bytes(der))
    with pytest.raises(EvidenceError):
        EcPublicKey(pem)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_public_key_or_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        EcPublicKey(data)
