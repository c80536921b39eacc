"""SSH signatures, as ssh-keygen makes and checks them; and what is refused."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import Error, EvidenceError, VerificationError
from veracity.ledger.keys import SMALL_ORDER_Y, SigningKey
from veracity.seal.sshsig import NAMESPACE, SshPublicKey, SshSigner, blob_of, packed

KEYGEN = shutil.which("ssh-keygen")
needs_keygen = pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not installed")
# Always the same, so that every process collects the same tests.
PRIVATE = SigningKey("test", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
KEY = SshSigner(SshPublicKey(PRIVATE.verifier.raw), PRIVATE.sign)
MESSAGE = b"what is sealed\n"
SIGNATURE = KEY.sign(MESSAGE)


def keygen(*words: str | Path, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    assert KEYGEN is not None
    return subprocess.run([KEYGEN, *map(str, words)], input=given, capture_output=True, timeout=60)


def armored(blob: bytes) -> bytes:
    text = base64.b64encode(blob).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{text}\n-----END SSH SIGNATURE-----\n".encode()


def blob(
    key: bytes = KEY.verifier.blob,
    namespace: bytes = NAMESPACE.encode(),
    reserved: bytes = b"",
    algorithm: bytes = b"sha512",
    value: bytes = packed(b"ssh-ed25519") + packed(bytes(64)),
    head: bytes = b"SSHSIG\0\0\0\1",
) -> bytes:
    return head + b"".join(map(packed, (key, namespace, reserved, algorithm, value)))


@needs_keygen
def test_ssh_keygen_takes_ours(tmp_path: Path) -> None:
    (tmp_path / "allowed").write_text(f"me@example.com {KEY.verifier.line}\n")
    (tmp_path / "sig").write_bytes(SIGNATURE)
    words: list[str | Path] = [
        "-Y",
        "verify",
        "-f",
        tmp_path / "allowed",
        "-I",
        "me@example.com",
        "-s",
        tmp_path / "sig",
        "-n",
    ]
    assert keygen(*words, NAMESPACE, given=MESSAGE).returncode == 0
    assert keygen(*words, NAMESPACE, given=MESSAGE + b"x").returncode != 0
    assert keygen(*words, "file", given=MESSAGE).returncode != 0


@needs_keygen
@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_we_take_what_ssh_keygen_signs(tmp_path: Path, algorithm: str) -> None:
    private, message = tmp_path / "id", tmp_path / "message"
    assert keygen("-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f", private).returncode == 0
    message.write_bytes(MESSAGE)
    words: list[str | Path] = ["-Y", "sign", "-f", private, "-O", f"hashalg={algorithm}", "-n"]
    assert keygen(*words, NAMESPACE, message).returncode == 0
    signature = (tmp_path / "message.sig").read_bytes()
    key = SshPublicKey.parse((tmp_path / "id.pub").read_text())
    key.verify(MESSAGE, signature)
    assert key.name.encode() in keygen("-l", "-f", private).stdout
    with pytest.raises(VerificationError, match="does not hold"):
        key.verify(MESSAGE + b"x", signature)
    with pytest.raises(VerificationError, match="another SSH key"):
        KEY.verifier.verify(MESSAGE, signature)
    (tmp_path / "message.sig").unlink()
    assert keygen(*words, "git", message).returncode == 0
    with pytest.raises(VerificationError, match="another purpose: 'git'"):
        key.verify(MESSAGE, (tmp_path / "message.sig").read_bytes())


@needs_keygen
def test_other_kinds_of_key_are_refused(tmp_path: Path) -> None:
    assert keygen("-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "id").returncode == 0
    with pytest.raises(EvidenceError, match="only ssh-ed25519"):
        SshPublicKey.parse((tmp_path / "id.pub").read_text())


def test_a_key_is_read_as_it_is_written() -> None:
    assert SshPublicKey.parse(KEY.verifier.line + " me@host\n") == KEY.verifier
    assert KEY.sign(MESSAGE) == SIGNATURE


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-ed25519 ?", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\nx",
     KEY.verifier.line + "\n" + KEY.verifier.line, KEY.verifier.line[:-4]],
)  # fmt: skip
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(EvidenceError):
        SshPublicKey.parse(line)


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [*sorted(SMALL_ORDER_Y), 2**255 - 19, 2**255 - 18, 2**255 - 1])
def test_keys_that_prove_nothing_are_refused(y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    line = "ssh-ed25519 " + base64.b64encode(blob_of(raw)).decode()
    with pytest.raises(VerificationError, match=r"small order|canonical"):
        SshPublicKey.parse(line)


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_no_changed_signature_holds(at: int, by: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[at] ^= by
    try:
        KEY.verifier.verify(MESSAGE, bytes(changed))
    except (EvidenceError, VerificationError):
        return
    assert changed.split() == SIGNATURE.split()  # white space at the ends of lines at most


@given(st.binary(max_size=200))
def test_no_garbage_is_a_signature(data: bytes) -> None:
    for signature in (data, armored(data), armored(b"SSHSIG\0\0\0\1" + data)):
        with pytest.raises(Error):
            KEY.verifier.verify(MESSAGE, signature)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (blob(head=b"SSHSIG\0\0\0\2"), "version 1"),
        (blob(reserved=b"x"), "more than"),
        (blob() + b"x", "more than"),
        (blob(algorithm=b"md5"), "digest"),
        (blob(value=packed(b"ssh-rsa") + packed(bytes(64))), "not an Ed25519"),
        (blob(value=packed(b"ssh-ed25519") + packed(bytes(63))), "not an Ed25519"),
        (blob(value=packed(b"ssh-ed25519") + packed(bytes(64)) + b"x"), "not an Ed25519"),
        (blob()[:-1], "ends within"),
        (b"SSHSIG\0\0\0\1\xff\xff\xff\xff", "ends within"),
        (bytes(20_000), "larger"),
    ],
)
def test_other_signatures_are_refused(made: bytes, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        KEY.verifier.verify(MESSAGE, armored(made))
    with pytest.raises(VerificationError, match="does not hold"):
        KEY.verifier.verify(MESSAGE, armored(blob()))


def test_whoever_signs_wrongly_is_noticed() -> None:
    with pytest.raises(VerificationError):
        SshSigner(KEY.verifier, lambda message: PRIVATE.sign(message + b"x")).sign(MESSAGE)
