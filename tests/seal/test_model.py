"""Models signed and verified by us and by the reference implementation, both ways round."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger.eckeys import EcPublicKey, EcSigningKey
from veracity.seal import model as models
from veracity.seal.model import model_of, sign_model, signature_of, verify_model

# The one of this environment, which need not be on PATH, or another's.
BESIDE = os.path.dirname(sys.executable)
TOOL = shutil.which("model_signing", path=os.pathsep.join([BESIDE, os.environ.get("PATH", "")]))
needs_tool = pytest.mark.skipif(TOOL is None, reason="model_signing (pip: model-signing) is not installed")
KEY = EcSigningKey.generate()


@pytest.fixture
def net(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    (folder / "layers").mkdir(parents=True)
    (folder / "layers" / "weights \u00e9:0.bin").write_bytes(b"w" * 3_000_000)
    (folder / "config.json").write_text("{}")
    (folder / "layers" / "empty").write_bytes(b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    return folder


def ours(net: Path, key: EcPublicKey = KEY.verifier) -> dict[str, str]:
    found = verify_model(net, signature_of(net), key)
    assert found.unread == ()
    return {one.path: one.change.value for one in found.changed}


def theirs(*words: str | Path) -> bool:
    """Whether the reference implementation says yes; anything but its own yes or no fails the test."""
    assert TOOL is not None
    done = subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True, timeout=120)
    assert ("succeeded" in done.stdout) == (done.returncode == 0), done
    assert done.returncode == 0 or "failed with error" in done.stderr, done
    return done.returncode == 0


def accepted(net: Path, public: Path, *words: str | Path) -> bool:
    return theirs("verify", "key", net, "--signature", signature_of(net), "--public_key", public, *words)


def public_of(folder: Path, key: EcSigningKey) -> Path:
    path = folder / "public.pem"
    path.write_bytes(key.verifier.pem)
    return path


# What somebody may do to a model; the word for it, by path.
def edit(net: Path) -> dict[str, str]:
    path = net / "layers" / "weights \u00e9:0.bin"
    status = path.stat()
    path.write_bytes(b"w" * 2_999_999 + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return {"layers/weights%20%C3%A9:0.bin": "content changed"}


def add(net: Path) -> dict[str, str]:
    (net / "layers" / "more.bin").write_bytes(b"")
    return {"layers/more.bin": "added"}


def remove(net: Path) -> dict[str, str]:
    (net / "config.json").unlink()
    return {"config.json": "removed"}


def rename(net: Path) -> dict[str, str]:
    (net / "config.json").rename(net / "layers" / "config.json")
    return {"config.json": "removed", "layers/config.json": "added"}


def link(net: Path) -> dict[str, str]:
    (net / "config.json").rename(net.parent / "elsewhere")
    os.symlink(net.parent / "elsewhere", net / "config.json")
    return {"config.json": "another kind of file"}


def link_more(net: Path) -> dict[str, str]:
    os.symlink("config.json", net / "more.json")
    return {"more.json": "added"}


def pipe(net: Path) -> dict[str, str]:
    os.mkfifo(net / "pipe")
    return {"pipe": "added"}


def odd_name(net: Path) -> dict[str, str]:
    (net / os.fsdecode(b"\xff")).write_bytes(b"")
    return {"%FF": "added"}


CHANGES = [edit, add, remove, rename, link, link_more, pipe, odd_name]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_named(net: Path, change: Callable[[Path], dict[str, str]]) -> None:
    made = sign_model(net, signature_of(net), KEY)
    assert (len(made.statement.files), made.size) == (3, 3_000_002)
    assert ours(net) == {}
    expected = change(net)
    assert ours(net) == expected


@needs_tool
@pytest.mark.parametrize("change", CHANGES)
def test_the_reference_accepts_ours_and_refuses_changes(
    net: Path, change: Callable[[Path], dict[str, str]]
) -> None:
    public = public_of(net.parent, KEY)
    sign_model(net, signature_of(net), KEY)
    assert accepted(net, public)
    change(net)
    assert not accepted(net, public)


@needs_tool
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda one: one.name)
def test_we_accept_what_the_reference_signs_and_it_accepts_ours(net: Path, curve: ec.EllipticCurve) -> None:
    private = ec.generate_private_key(curve)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (net.parent / "key.pem").write_bytes(pem)
    key = EcSigningKey(private)
    public = public_of(net.parent, key)
    assert theirs(
        "sign", "key", net, "--private_key", net.parent / "key.pem", "--signature", net / "model.sig"
    )
    assert ours(net, key.verifier) == {}
    theirs_says = verify_model(net, net / "model.sig", key.verifier).signed.statement
    made = sign_model(net, net / "model.sig", key)
    assert (made.statement.files, made.statement.name) == (theirs_says.files, theirs_says.name)
    assert set(made.statement.ignored) == set(theirs_says.ignored)
    assert accepted(net, public)
    assert ours(net, key.verifier) == {}
    expected = rename(net)
    assert ours(net, key.verifier) == expected


@needs_tool
def test_one_file_is_a_model_both_ways(net: Path) -> None:
    file = net / "config.json"
    private = net.parent / "key.pem"
    key = EcSigningKey.load_or_create(private)
    public = public_of(net.parent, key)
    signature = signature_of(file)
    assert signature.name == "config.json.sig"
    sign_model(file, signature, key)
    assert theirs("verify", "key", file, "--signature", signature, "--public_key", public)
    assert theirs("sign", "key", file, "--private_key", private, "--signature", signature)
    assert verify_model(file, signature, key.verifier).changed == ()
    file.write_text("{} ")
    assert [one.path for one in verify_model(file, signature, key.verifier).changed] == ["."]
    assert not theirs("verify", "key", file, "--signature", signature, "--public_key", public)


@needs_tool
def test_links_and_left_out_paths_both_ways(net: Path) -> None:
    os.symlink("config.json", net / "link.json")
    (net / "notes").mkdir()
    (net / "notes" / "a").write_text("a")
    private = net.parent / "key.pem"
    key = EcSigningKey.load_or_create(private)
    public = public_of(net.parent, key)
    sign_model(net, net / "model.sig", key, ignored=[net / "notes"], links=True)
    assert accepted(net, public, "--allow_symlinks")
    words: list[str | Path] = ["--allow_symlinks", "--ignore-paths", net / "notes"]
    assert theirs("sign", "key", net, "--private_key", private, "--signature", net / "model.sig", *words)
    (net / "notes" / "b").write_text("b")
    assert ours(net, key.verifier) == {}
    (net / "link.json").unlink()
    (net / "link.json").write_text("{}")  # the same content: to the format it is the same file
    assert ours(net, key.verifier) == {}
    (net / "link.json").write_text("[]")
    assert ours(net, key.verifier) == {"link.json": "content changed"}
    assert not accepted(net, public, "--allow_symlinks")


def test_what_is_left_out_is_told(net: Path) -> None:
    (net / "notes").write_text("")
    sign_model(net, net / "model.sig", KEY, ignored=[Path("notes")])
    (net / ".git" / "HEAD").write_text("other")
    found = verify_model(net, net / "model.sig", KEY.verifier)
    assert (found.changed, found.passed) == ((), (".git", "model.sig", "notes"))


def test_the_signature_may_lie_elsewhere(net: Path) -> None:
    elsewhere = net.parent / "net.sig"
    made = sign_model(net, elsewhere, KEY)
    assert "net.sig" not in made.statement.ignored
    assert verify_model(net, elsewhere, KEY.verifier).changed == ()
    shutil.copytree(net, net.parent / "copy")  # a model may be moved and renamed
    assert verify_model(net.parent / "copy", elsewhere, KEY.verifier).changed == ()
    with pytest.raises(VerificationError, match="another key"):
        verify_model(net, elsewhere, EcSigningKey.generate().verifier)


def test_half_a_model_is_not_signed(net: Path) -> None:
    for change, remedy in ((link_more, "--follow-links"), (pipe, "--ignore"), (odd_name, "rename")):
        change(net)
        with pytest.raises(EvidenceError, match="cannot be signed") as caught:
            sign_model(net, net / "model.sig", KEY)
        assert remedy in caught.value.diagnostics().remedy
        for name in ("more.json", "pipe", os.fsdecode(b"\xff")):
            (net / name).unlink(missing_ok=True)
    os.symlink("layers", net / "way")
    with pytest.raises(EvidenceError, match="link to a folder"):
        sign_model(net, net / "model.sig", KEY, links=True)
    assert not (net / "model.sig").exists()
    (net.parent / "none").mkdir()
    with pytest.raises(EvidenceError, match="no file to sign"):
        sign_model(net.parent / "none", net.parent / "none" / "model.sig", KEY)


def test_what_cannot_be_read_is_not_called_removed(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_model(net, net / "model.sig", KEY)
    monkeypatch.setattr("veracity.observe.wholefiles.MAX_DEPTH", 0)
    found = verify_model(net, net / "model.sig", KEY.verifier)
    assert (found.changed, [one.path for one in found.unread]) == ((), ["layers"])


def test_nothing_but_a_signature_is_replaced(net: Path) -> None:
    with pytest.raises(UsageError, match="no signature"):
        sign_model(net, net / "config.json", KEY)
    assert (net / "config.json").read_text() == "{}"
    os.symlink("absent", net / "model.sig")
    with pytest.raises(UsageError, match="no signature"):
        sign_model(net, net / "model.sig", KEY)
    (net / "model.sig").unlink()
    sign_model(net, net / "model.sig", KEY)
    sign_model(net, net / "model.sig", KEY)
    assert sorted(os.listdir(net)) == [".git", "config.json", "layers", "model.sig"]
    with pytest.raises(UsageError, match="does not lie in the model"):
        sign_model(net, net / "model.sig", KEY, ignored=[net.parent])


def test_a_hostile_signature_is_bounded(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_BUNDLE", 1000)
    (net / "model.sig").write_bytes(b"{" * 1001)
    with pytest.raises(EvidenceError, match="longer than"):
        verify_model(net, net / "model.sig", KEY.verifier)
    (net / "model.sig").unlink()
    os.mkfifo(net / "model.sig")
    with pytest.raises(EvidenceError, match="not a regular file"):
        verify_model(net, net / "model.sig", KEY.verifier)


def test_a_signature_leads_to_its_model(net: Path) -> None:
    assert model_of(net / "model.sig") == net
    assert model_of(signature_of(net / "config.json")) == net / "config.json"
    assert model_of(net / "other.sig") is None
