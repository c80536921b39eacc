"""Signatures in repositories, read without any program of the repository's choice."""

from __future__ import annotations

import base64
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.observe.git.repos import git, look, make
from veracity.core.errors import EvidenceError
from veracity.core.repository import Signature
from veracity.seal.gitsignature import allowed_signers, signature_of

needs_tools = pytest.mark.skipif(
    not shutil.which("git") or not shutil.which("ssh-keygen"), reason="git or ssh-keygen is not installed"
)


def keygen(path: Path, kind: str = "ed25519") -> str:
    """A key, and its fingerprint as ssh-keygen has it."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True, timeout=60)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, timeout=60)
    return shown.stdout.decode().split()[1]


def signed(folder: Path, key: Path, *words: str) -> None:
    git(folder, "-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", *words)


def signatures(folder: Path) -> tuple[Signature, ...]:
    (state,) = look(code=folder).states(signature_of)
    return state.signatures


@needs_tools
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_commit_and_a_tag_that_git_signed_with_ssh(tmp_path: Path, algorithm: str) -> None:
    folder = make(tmp_path / "repo", algorithm=algorithm)
    name = keygen(tmp_path / "key")
    signed(folder, tmp_path / "key", "commit", "-q", "--allow-empty", "-S", "-m", "signed\n\ngpgsig not one")
    signed(folder, tmp_path / "key", "tag", "-s", "-m", "t", "v1")
    assert signatures(folder) == (
        Signature("commit", "ssh", name, "holds"),
        Signature("tag v1", "ssh", name, "holds"),
    )


@needs_tools
def test_whose_key_it_is(tmp_path: Path) -> None:
    folder = make(tmp_path / "repo")
    name = keygen(tmp_path / "key")
    public = (tmp_path / "key.pub").read_text()
    signed(folder, tmp_path / "key", "commit", "-q", "--allow-empty", "-S", "-m", "signed")
    for line, signer in (
        (f"me@example.com,{{you}} {public}", "me@example.com,{you}"),
        (f'"me and you" namespaces="file,g*" {public}', "me and you"),
        (f'me namespaces="file" {public}', ""),
        (f'me cert-authority,namespaces="git" {public}', ""),
        (f'me valid-before="20200101" {public}', ""),
        ("# nobody\n\n", ""),
    ):
        signers = allowed_signers(line)
        (state,) = look(code=folder).states(partial(signature_of, signers=signers))
        assert state.signatures == (Signature("commit", "ssh", name, "holds", signer),)
    for line in ("me", "me ssh-ed25519", "me ssh-ed25519 !", "ssh-ed25519 AAAA"):
        with pytest.raises(EvidenceError):
            allowed_signers(line)


@needs_tools
def test_a_signature_taken_from_another_commit_does_not_hold(tmp_path: Path) -> None:
    folder = make(tmp_path / "repo")
    name = keygen(tmp_path / "key")
    signed(folder, tmp_path / "key", "commit", "-q", "--allow-empty", "-S", "-m", "reviewed")
    raw = subprocess.run(
        ["git", "cat-file", "commit", "HEAD"], cwd=folder, check=True, capture_output=True
    ).stdout
    (folder / "object").write_bytes(raw.replace(b"reviewed", b"anything"))
    forged = git(folder, "hash-object", "-t", "commit", "-w", "object")
    git(folder, "reset", "-q", "--soft", forged)
    (one,) = signatures(folder)
    assert one == Signature("commit", "ssh", name, f"does not hold: the signature of {name} does not hold")


@needs_tools
def test_keys_of_other_kinds_are_named_and_not_checked(tmp_path: Path) -> None:
    folder = make(tmp_path / "repo")
    name = keygen(tmp_path / "key", "ecdsa")
    signed(folder, tmp_path / "key", "commit", "-q", "--allow-empty", "-S", "-m", "signed")
    assert signatures(folder) == (
        Signature("commit", "ssh", name, "not checked: a key of kind ecdsa-sha2-nistp256"),
    )


@needs_tools
def test_a_signature_for_another_purpose_does_not_hold(tmp_path: Path) -> None:
    keygen(tmp_path / "key")
    (tmp_path / "text").write_bytes(b"text")
    key, text = str(tmp_path / "key"), str(tmp_path / "text")
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", text]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    found = signature_of("commit", b"text", (tmp_path / "text.sig").read_bytes())
    assert found.standing.startswith("does not hold: signed for another purpose")


def armored(packet: bytes) -> bytes:
    text = base64.b64encode(packet)
    return b"-----BEGIN PGP SIGNATURE-----\nComment: x\n\n" + text + b"\n=abcd\n-----END PGP SIGNATURE-----\n"


def packet(hashed: bytes, unhashed: bytes, *, new: bool = True) -> bytes:
    content = b"\x04\x00\x16\x08" + len(hashed).to_bytes(2, "big") + hashed
    content += len(unhashed).to_bytes(2, "big") + unhashed + b"rest"
    return (b"\xc2" if new else b"\x88") + bytes([len(content)]) + content


ISSUER = b"\x09\x10" + bytes(range(8))
FINGERPRINT = b"\x16\x21\x04" + bytes(range(20))


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (packet(FINGERPRINT, ISSUER), bytes(range(20)).hex().upper()),
        (packet(b"", ISSUER, new=False), bytes(range(8)).hex().upper()),
    ],
)
def test_openpgp_signatures_name_their_key(data: bytes, key: str) -> None:
    found = signature_of("tag v1", b"", armored(data))
    assert found == Signature("tag v1", "openpgp", key, "not checked: OpenPGP is for other tools")


@pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")
@pytest.mark.soak
def test_a_signature_that_gpg_made(tmp_path: Path) -> None:
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "a@example.com", "ed25519"], check=True, capture_output=True)
    listed = subprocess.run([*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True).stdout
    key = next(line.split(b":")[9] for line in listed.splitlines() if line.startswith(b"fpr")).decode()
    made = subprocess.run([*gpg, "-bsa"], input=b"text", check=True, capture_output=True).stdout
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
    assert signature_of("commit", b"text", made).key == key


@pytest.mark.parametrize(
    ("signature", "standing"),
    [
        (b"-----BEGIN SIGNED MESSAGE-----\n", "not checked: certificates are for other tools"),
        (b"nonsense", "not checked: it is of no known form"),
        (b"-----BEGIN PGP SIGNATURE-----\n\n!\n", "not checked: a signature that is not base64"),
        (armored(packet(b"", b"")), "not checked: an OpenPGP signature that names no key"),
        (armored(b"\xc1\x02ab"), "not checked: not an OpenPGP signature"),
        (
            armored(packet(b"\xff\xff\xff\xff\xff", b"")),
            "not checked: an OpenPGP signature that is malformed",
        ),
        (
            b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----",
            "not checked: not an SSH signature",
        ),
    ],
)
def test_what_is_no_signature(signature: bytes, standing: str) -> None:
    assert signature_of("commit", b"", signature).standing.startswith(standing)


@given(st.binary(max_size=120), st.sampled_from([b"SSH", b"PGP"]))
def test_no_bytes_crash_the_reader(data: bytes, kind: bytes) -> None:
    begin, text = b"-----BEGIN " + kind + b" SIGNATURE-----\n\n", base64.b64encode(data)
    assert signature_of("commit", b"", begin + text + b"\n").standing != "holds"
    assert signature_of("commit", b"", begin + data).standing != "holds"
    content = b"SSHSIG\0\0\0\1" + data if kind == b"SSH" else b"\xc2\x60\x04\0\0\0" + data
    text = base64.b64encode(content)
    assert signature_of("commit", b"", begin.rstrip(b"\n") + b"\n" + text + b"\nend").standing != "holds"
