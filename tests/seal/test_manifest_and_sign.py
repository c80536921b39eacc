"""The manifest as a document, and its signature as others would check it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.canonical import decode
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, VerificationError
from veracity.core.observation import ModuleChecked
from veracity.core.origin import monitor_origin
from veracity.ledger.keys import PublicKey, SigningKey
from veracity.observe.git import GitState
from veracity.observe.native import NativeLibrary
from veracity.observe.pyenv import Distribution
from veracity.seal import manifest as manifests
from veracity.seal.manifest import Ingredients, Manifest, SealedFile, build_manifest, sealed_items
from veracity.seal.masking import Masker
from veracity.seal.sign import (
    PREDICATE_TYPE,
    pre_authentication,
    sign_statement,
    statement,
    unverified_statement,
    verify_envelope,
)

KEY = SigningKey.generate("run.example/key")


def module(path: str, source: str = "true", bytecode: str = "same") -> ModuleChecked:
    origin = monitor_origin(1)
    return ModuleChecked(
        origin, "m", path, "a" * 64, "torch", "pip", source, bytecode, "", "a" * 64, 0, [], "", 0
    )


def built(git: GitState | str = "not in a git working tree") -> Manifest:
    made_of = Ingredients(
        run="run-1",
        host="node",
        user="me",
        started_at=5,
        command=["python", "train.py"],
        directory="/job\udce4",
        environment={"RANK": "0", "N\u00e4me": "v"},
        git=git,
        interpreter={"path": "/usr/bin/python", "python": "3.11.7"},
        numerics={"threads": "2"},
        distributions=[Distribution("torch", "2.1", "pip", False, "/site", "/site/torch.dist-info")],
        modules=[module("/z.py"), module("/a.py", "altered", "forged")],
        libraries=[NativeLibrary("/lib/libc10.so", "", 7, "it changed while it was read")],
        files=[SealedFile("/data/train.bin", "b" * 64, 9)],
    )
    return build_manifest(made_of, Masker(b"k" * 16))


def test_manifest_is_canonical_and_ordered() -> None:
    manifest = built()
    assert decode(manifest.encode()) == manifest.document
    assert manifest.digest() == Digest.of(manifest.encode())
    found = manifest.document["modules"]
    assert isinstance(found, list)
    assert [item["path"] for item in found if isinstance(item, dict)] == ["/a.py", "/z.py"]


def test_manifest_for_people() -> None:
    items = {(item.kind, item.name): item for item in sealed_items(built())}
    assert items["module", "/z.py"].remark == "as RECORD says"
    assert items["module", "/a.py"].remark == "altered, bytecode forged"
    assert items["library", "/lib/libc10.so"].remark == "it changed while it was read"
    assert items["git", ""].remark == "not in a git working tree"
    assert items["distribution", "torch"].value == "2.1"
    dirty = GitState("/job", "c" * 40, "main", ["train.py"], [], ["+x"], False, [])
    items = {(item.kind, item.name): item for item in sealed_items(built(dirty))}
    assert items["git", "main"].remark == "1 file uncommitted"


def test_lists_that_are_too_long_are_cut_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_ITEMS", 1)
    assert built().document["cut"] == ["environment", "modules"]


def sealed() -> bytes:
    manifest = built()
    return sign_statement(statement("run-1", manifest.digest(), manifest.document), KEY)


def test_envelope_holds_for_its_key_only() -> None:
    envelope = sealed()
    verify_envelope(envelope, KEY.verifier)
    value = unverified_statement(envelope)
    assert value["predicateType"] == PREDICATE_TYPE
    assert value["predicate"] == built().document
    with pytest.raises(VerificationError):
        verify_envelope(envelope, SigningKey.generate("other").verifier)


def test_pre_authentication_is_the_specifications() -> None:
    # The example of the DSSE protocol text.
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.data())
def test_no_edited_envelope_holds(data: st.DataObject) -> None:
    envelope = bytearray(sealed())
    position = data.draw(st.integers(0, len(envelope) - 1))
    envelope[position] ^= data.draw(st.integers(1, 255))
    original, edited = json.loads(sealed()), bytes(envelope)
    try:
        verify_envelope(edited, KEY.verifier)
    except (EvidenceError, VerificationError):
        return
    # Only what is not signed may differ: the key id, a hint.
    value = json.loads(edited)
    assert value["payload"] == original["payload"]
    assert value["signatures"][0]["sig"] == original["signatures"][0]["sig"]


@given(st.binary(max_size=200))
def test_no_garbage_is_an_envelope(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_envelope(data, KEY.verifier)


def test_two_documents_in_one_are_refused() -> None:
    twice = sealed().replace(b'{"payload":', b'{"payload":"AAAA","payload":', 1)
    with pytest.raises(EvidenceError, match="twice"):
        verify_envelope(twice, KEY.verifier)


@pytest.mark.parametrize("change", [{"_type": "x"}, {"predicateType": "x"}, {"predicate": 1}])
def test_other_statements_are_refused(change: dict[str, object]) -> None:
    manifest = built()
    value = json.loads(statement("run-1", manifest.digest(), manifest.document))
    payload = json.dumps({**value, **change}, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(EvidenceError):
        verify_envelope(sign_statement(payload, KEY), KEY.verifier)


def test_openssl_agrees(tmp_path: Path) -> None:
    """An independent program finds the signature valid over the pre-authentication encoding."""
    value = json.loads(sealed())
    message = pre_authentication(value["payloadType"], base64.b64decode(value["payload"]))
    der = bytes.fromhex("302a300506032b6570032100") + KEY.verifier.raw
    (tmp_path / "key.der").write_bytes(der)
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "sig").write_bytes(base64.b64decode(value["signatures"][0]["sig"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin"]
    try:
        done = subprocess.run(
            [*command, "-in", "message", "-sigfile", "sig"], cwd=tmp_path, capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.returncode == 0, done.stderr


def test_we_take_what_openssl_signs(tmp_path: Path) -> None:
    """An envelope put together by hand around the signature of an independent program."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    manifest = built()
    payload = statement("run-1", manifest.digest(), manifest.document)
    (tmp_path / "message").write_bytes(pre_authentication("application/vnd.in-toto+json", payload))
    openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem")
    openssl("pkey", "-in", "key.pem", "-pubout", "-outform", "DER", "-out", "public.der")
    openssl("pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "message", "-out", "signature")
    value = {
        "payloadType": "application/vnd.in-toto+json",
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode((tmp_path / "signature").read_bytes()).decode()}],
    }
    key = PublicKey("openssl.example", (tmp_path / "public.der").read_bytes()[-32:])
    verify_envelope(json.dumps(value, indent=1).encode(), key)
    with pytest.raises(VerificationError):
        verify_envelope(json.dumps(value).encode(), KEY.verifier)
