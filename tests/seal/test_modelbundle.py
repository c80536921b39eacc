"""Bundles that say one thing to every reader, and the many that are refused."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import Error, EvidenceError, ResourceLimitError, VerificationError
from veracity.ledger.eckeys import EcSigningKey
from veracity.seal import modelbundle
from veracity.seal.modelbundle import ModelStatement, looks_like_bundle, read_bundle, write_bundle
from veracity.seal.sign import PAYLOAD_TYPE, pre_authentication

KEY = EcSigningKey.generate()
A, B = "a" * 64, "b" * 64
STATEMENT = ModelStatement(
    "net", "sha256", 0, False, (".git", "model.sig"), {"d/a": (A,), "d b\u00e9:x": (B,)}
)
BUNDLE = write_bundle(STATEMENT, KEY)


def payload_of(bundle: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return value


def signed(payload: bytes, change: Callable[[dict[str, Any]], object] | None = None) -> bytes:
    """A bundle around any payload, with a signature that holds."""
    bundle = json.loads(write_bundle(STATEMENT, KEY))
    envelope = bundle["dsseEnvelope"]
    envelope["payload"] = base64.b64encode(payload).decode()
    signature = KEY.sign(pre_authentication(PAYLOAD_TYPE, payload))
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    if change is not None:
        change(bundle)
    return json.dumps(bundle).encode()


def statement(
    names: dict[str, str], algorithm: str = "sha256", *, alike: bool = True, **serialization: object
) -> dict[str, Any]:
    """A statement that adds up, as others may write it."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in names.values())).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "net", "digest": {"sha256": whole if alike else A}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "resources": [
                {"name": name, "algorithm": algorithm, "digest": digest} for name, digest in names.items()
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                **serialization,
            },
        },
    }


def read(document: object) -> ModelStatement:
    return read_bundle(signed(json.dumps(document, indent=1).encode()), KEY.verifier)


PATHS = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8
    ).filter(lambda part: part not in (".", "..")),
    min_size=1,
    max_size=3,
).map("/".join)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


@settings(max_examples=examples(50), deadline=None)
@given(
    st.dictionaries(PATHS, DIGESTS.map(lambda one: (one,)), min_size=1, max_size=5),
    st.lists(PATHS, max_size=3),
    st.booleans(),
)
def test_what_is_written_is_read(files: dict[str, tuple[str, ...]], ignored: list[str], links: bool) -> None:
    made = ModelStatement("net", "sha256", 0, links, tuple(ignored), files)
    bundle = write_bundle(made, KEY)
    assert read_bundle(bundle, KEY.verifier) == made
    assert looks_like_bundle(bundle)
    names = [one["name"] for one in payload_of(bundle)["predicate"]["resources"]]
    assert names == sorted(files, key=lambda path: path.split("/"))


@settings(max_examples=examples(100), deadline=None)
@given(st.data())
def test_no_edited_bundle_says_something_else(data: st.DataObject) -> None:
    bundle = bytearray(BUNDLE)
    position = data.draw(st.integers(0, 5000))  # a signature's length differs from one run to the next
    bundle[position % len(bundle)] ^= data.draw(st.integers(1, 255))
    try:
        found = read_bundle(bytes(bundle), KEY.verifier)
    except (EvidenceError, VerificationError):
        return
    assert found == STATEMENT


@given(st.binary(max_size=200))
def test_no_garbage_is_a_bundle(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_bundle(data, KEY.verifier)


@settings(max_examples=examples(50), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        [(), ("subject",), ("predicate",), ("predicate", "serialization"), ("predicate", "resources")]
    ),
)
def test_any_signed_document_is_read_or_refused(value: object, place: tuple[str, ...]) -> None:
    document: Any = statement({"a": A})
    if place:
        inside = document
        for name in place[:-1]:
            inside = inside[name]
        inside[place[-1]] = value
    else:
        document = value
    with pytest.raises(Error):
        read(document)


def test_another_key_is_told_from_a_bad_signature() -> None:
    other = EcSigningKey.generate()
    bundle = write_bundle(STATEMENT, KEY)
    with pytest.raises(VerificationError, match="another key") as caught:
        read_bundle(bundle, other.verifier)
    assert "--key" in caught.value.diagnostics().remedy
    forged = bundle.replace(KEY.verifier.fingerprint.encode(), other.verifier.fingerprint.encode())
    with pytest.raises(VerificationError, match="does not hold"):
        read_bundle(forged, other.verifier)
    without = bundle.replace(b'"hint":"' + KEY.verifier.fingerprint.encode() + b'"', b'"hint":null')
    assert read_bundle(without, KEY.verifier) == STATEMENT  # as early writers left it


def drop(*path: str | int) -> Callable[[Any], object]:
    def act(bundle: Any) -> None:
        for name in path[:-1]:
            bundle = bundle[name]
        del bundle[path[-1]]

    return act


def put(value: object, *path: str | int) -> Callable[[Any], object]:
    def act(bundle: Any) -> None:
        for name in path[:-1]:
            bundle = bundle[name]
        bundle[path[-1]] = value

    return act


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("mediaType"), "media type"),
        (put("application/vnd.dev.sigstore.bundle+json;version=0.2", "mediaType"), "media type"),
        (put(None, "dsseEnvelope"), "no DSSE envelope"),
        (put("text/plain", "dsseEnvelope", "payloadType"), "no DSSE envelope"),
        (put([], "dsseEnvelope", "signatures"), "exactly one"),
        (put([{}, {}], "dsseEnvelope", "signatures"), "exactly one"),
        (put("?", "dsseEnvelope", "signatures", 0, "sig"), "not base64"),
        (put(None, "verificationMaterial"), "verified with"),
        (put({"certificate": {}}, "verificationMaterial"), "certificate"),
    ],
)
def test_other_bundles_are_refused(change: Callable[[Any], object], message: str) -> None:
    payload = json.dumps(statement({"a": A})).encode()
    assert read_bundle(signed(payload), KEY.verifier).files == {"a": (A,)}
    with pytest.raises(EvidenceError, match=message):
        read_bundle(signed(payload, change), KEY.verifier)


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b", "\ud800", "x" * 5000, "."],
)
def test_paths_in_another_spelling_are_refused(name: str) -> None:
    with pytest.raises(EvidenceError, match="not a path"):
        read(statement({"b": A, name: A}))


def test_a_file_named_twice_is_refused() -> None:
    document = statement({"a": A, "b": A})
    document["predicate"]["resources"][1]["name"] = "a"
    with pytest.raises(EvidenceError, match="twice"):
        read(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (statement({}), "names no file"),
        (statement({"a": "A" * 64}), "not a digest"),
        (statement({"a": A[:-2]}), "not a digest"),
        (statement({"a": A}, "blake2b"), "another kind"),
        (statement({"a": A}, hash_type="blake3"), "blake3"),
        (statement({"a": A}, hash_type="md5"), "md5"),
        (statement({"a": A}, method="tensors"), "files were cut"),
        (statement({"a": A}, allow_symlinks="false"), "files were read"),
        (statement({"a": A}, ignore_paths=[""]), "not a path"),
        (statement({"a": A}, ignore_paths=["."]), "not a path"),
        (statement({"a": A}, ignore_paths=["../.."]), "not a path"),
        ({**statement({"a": A}), "_type": "x"}, "no in-toto"),
        ({**statement({"a": A}), "predicateType": "https://model_signing/Digests/v0.1"}, "Digests"),
        ({**statement({"a": A}), "subject": []}, "exactly one subject"),
    ],
)
def test_other_statements_are_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        read(document)


def test_a_list_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(VerificationError, match="add up"):
        read(statement({"a": A}, alike=False))


def test_two_documents_in_one_are_refused() -> None:
    twice = json.dumps(statement({"a": A})).encode().replace(b'"_type"', b'"_type": "x", "_type"', 1)
    with pytest.raises(EvidenceError, match="twice"):
        read_bundle(signed(twice), KEY.verifier)


def shards(names: dict[str, str], size: object = 4.0) -> ModelStatement:
    return read(statement(names, "sha256-sharded-4", method="shards", shard_size=size))


def test_shards_are_put_together() -> None:
    found = shards({"a:0:4": A, "a:4:6": B, "b:c:0:3": A})
    assert (found.shard, found.files) == (4, {"a": (A, B), "b:c": (A,)})


@pytest.mark.parametrize(
    "names",
    [
        {"a": A},
        {"a:0:5": A},
        {"a:0:4": A, "a:5:6": B},
        {"a:4:8": A},
        {"a:0:3": A, "a:3:6": B},
        {"a:0:0": A},
        {"a:-4:0": A},
        {"a:0:4": A, "a:00:4": A},
        {"a:0x0:4": A},
        {"../a:0:4": A},
    ],
)
def test_other_shards_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(EvidenceError):
        shards(names)


@pytest.mark.parametrize("size", [0, -4, 4.5, True, "4", None, float("nan")])
def test_other_shard_sizes_are_refused(size: object) -> None:
    with pytest.raises(EvidenceError):
        shards({"a:0:4": A}, size)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(STATEMENT, KEY)
    monkeypatch.setattr(modelbundle, "MAX_RESOURCES", 1)
    with pytest.raises(ResourceLimitError):
        read_bundle(bundle, KEY.verifier)
    with pytest.raises(ResourceLimitError):
        write_bundle(STATEMENT, KEY)
    monkeypatch.setattr(modelbundle, "MAX_BUNDLE", 100)
    with pytest.raises(ResourceLimitError, match="larger than"):
        read_bundle(bundle, KEY.verifier)
    with pytest.raises(EvidenceError, match="not JSON"):
        read_bundle(b"[" * 90, KEY.verifier)
