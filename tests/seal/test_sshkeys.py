"""SSH keys from files and from an agent: a real ssh-agent, and ones that answer nonsense."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError, TransportError, UsageError
from veracity.seal.sshkeys import load_signer
from veracity.seal.sshsig import packed

TOOLS = [shutil.which(name) for name in ("ssh-keygen", "ssh-agent", "ssh-add")]
pytestmark = pytest.mark.skipif(None in TOOLS, reason="OpenSSH is not installed")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    made = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made)], check=True)
    return made


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(path):
            assert process.poll() is None
        yield path
    finally:
        process.terminate()
        process.wait(30)


def add(agent: str, *words: str | Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", *map(str, words)], env=environment, check=True)


def public(private: Path) -> Path:
    return private.with_name("id.pub")


def test_a_file_and_an_agent_sign_alike(private: Path, agent: str) -> None:
    add(agent, private)
    by_file, by_agent = load_signer(private, ""), load_signer(public(private), agent)
    assert by_file.verifier == by_agent.verifier
    assert by_file.sign(b"text") == by_agent.sign(b"text")  # Ed25519 draws nothing
    by_agent.verifier.verify(b"text", by_file.sign(b"text"))


def test_an_agent_without_the_key_is_told_at_once(private: Path, agent: str, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="does not hold SHA256") as caught:
        load_signer(public(private), agent)
    assert "ssh-add" in caught.value.diagnostics().remedy
    add(agent, private)
    signer = load_signer(public(private), agent)
    add(agent, "-D")
    with pytest.raises(TransportError, match="refused to sign"):
        signer.sign(b"text")
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK"):
        load_signer(public(private), "")
    with pytest.raises(TransportError, match="cannot be asked"):
        load_signer(public(private), str(tmp_path / "absent"))


def test_a_key_that_others_can_use_is_refused(private: Path) -> None:
    private.chmod(0o640)
    with pytest.raises(UsageError, match="0640"):
        load_signer(private, "")


def test_other_files_are_refused(tmp_path: Path, private: Path) -> None:
    path = tmp_path / "other"
    with pytest.raises(UsageError, match="cannot be read"):
        load_signer(path, "")
    path.write_bytes(b"nothing")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="no unencrypted SSH private key"):
        load_signer(path, "")
    path.write_bytes(b"ssh-ed25519 AAAA")
    with pytest.raises(EvidenceError):
        load_signer(path, "x")
    for words, message in (
        (["-t", "ecdsa", "-N", ""], "not Ed25519"),
        (["-t", "ed25519", "-N", "secret"], "ssh-agent"),
    ):
        path.unlink()
        subprocess.run(["ssh-keygen", "-q", *words, "-f", str(path)], check=True)
        with pytest.raises(UsageError) as caught:
            load_signer(path, "")
        assert message in str(caught.value.diagnostics())
        path.with_name("other.pub").unlink()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        bytes(4),
        b"\xff\xff\xff\xff",
        packed(b"\5"),
        packed(b"\x0c\0\0\0\1"),
        packed(b"\x0c\xff\xff\xff\xff"),
        packed(b"\x0c\0\0\0\1\xff\xff\xff\xff"),
        b"\0\0\0\x09" + b"\x0c",
    ],
)
def test_an_agent_that_answers_nonsense_is_refused(tmp_path: Path, private: Path, answer: bytes) -> None:
    path = str(tmp_path / "nonsense")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(1 << 16)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TransportError):
            load_signer(public(private), path)
        thread.join()
