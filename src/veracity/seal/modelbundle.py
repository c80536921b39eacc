"""``model.sig``: OpenSSF Model Signing v1.0, signed with a key.

A sigstore bundle v0.3 around a DSSE envelope around an in-toto Statement whose predicate
``https://model_signing/signature/v1.0`` lists every file, or every shard of every file, with its digest.
Specification: https://github.com/ossf/model-signing-spec (v1.0); what it leaves open is as the reference
implementation ``model-signing`` 1.1.1 does it. Of what its writers may leave to chance (order of names, white
space) readers take any, but no second spelling of a path and no name twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.canonical import Json, encode
from ..core.errors import EvidenceError, ResourceLimitError, VerificationError
from ..ledger.eckeys import EcPublicKey, EcSigningKey
from .sign import PAYLOAD_TYPE, STATEMENT_TYPE, decode_base64, pre_authentication, unique_names

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_BUNDLE = 64 << 20
"""Bytes: some 250,000 files."""
MAX_RESOURCES = 500_000
MAX_IGNORED = 10_000
MAX_NAME = 4096
SINGLE = "."
"""The one resource's name when the model is a file."""
_LENGTHS = {"sha256": 64, "blake2b": 128}
_HEX = re.compile(r"[0-9a-f]+\Z")
_OFFSET = re.compile(r"(0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class ModelStatement:
    """What was signed: the model's name, by path each file's digests, and how the files were read.

    ``shard``: bytes that each digest of a file is of, 0 when it is of the whole file; an empty file then has
    no digest and cannot stand in the list. ``links``: whether files behind links were read.
    """

    name: str
    algorithm: str
    shard: int
    links: bool
    ignored: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]


def write_bundle(statement: ModelStatement, key: EcSigningKey) -> bytes:
    """The bundle, JSON, of a statement about whole files.

    Raises ResourceLimitError when it would be larger than readers take.
    """
    payload = encode(_document(statement))
    signature = key.sign(pre_authentication(PAYLOAD_TYPE, payload))
    bundle = encode(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.verifier.fingerprint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode("ascii"),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode("ascii"), "keyid": ""}],
            },
        }
    )
    if len(bundle) > MAX_BUNDLE or len(statement.files) > MAX_RESOURCES:
        raise ResourceLimitError(
            "the model has too many files for a signature that lists them all",
            remedy="seal it instead: veracity seal PATH has no such limit",
        )
    return bundle


def read_bundle(data: bytes, key: EcPublicKey) -> ModelStatement:
    """What ``key`` signed.

    Raises VerificationError when the signature is another key's or does not hold, or when the list does not
    add up to the digest that stands for it; EvidenceError when it is not such a bundle.
    """
    bundle = _loaded(data, "the bundle")
    if bundle.get("mediaType") != MEDIA_TYPE:
        raise EvidenceError(
            f"not a sigstore bundle v0.3: its media type is {str(bundle.get('mediaType'))[:80]!r}"
        )
    envelope = bundle.get("dsseEnvelope")
    if not isinstance(envelope, dict) or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise EvidenceError("the bundle has no DSSE envelope of an in-toto statement")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise EvidenceError("the bundle has not exactly one signature")
    _check_hint(bundle.get("verificationMaterial"), key)
    payload = decode_base64(envelope.get("payload"), "payload")
    key.verify(
        pre_authentication(PAYLOAD_TYPE, payload), decode_base64(signatures[0].get("sig"), "signature")
    )
    return _statement_of(_loaded(payload, "the signed statement"))


def looks_like_bundle(data: bytes) -> bool:
    """Whether a file is a bundle at first sight, so that replacing it destroys nothing else."""
    return data.lstrip()[:1] == b"{" and b"application/vnd.dev.sigstore.bundle" in data


def _check_hint(material: Json, key: EcPublicKey) -> None:
    if not isinstance(material, dict):
        raise EvidenceError("the bundle does not say what it can be verified with")
    public = material.get("publicKey")
    if not isinstance(public, dict):
        raise EvidenceError(
            "the bundle was not signed with a key of the signer's own but with a certificate",
            remedy="verify it with `model_signing verify certificate` or `model_signing verify sigstore`",
        )
    # Nobody signed the hint: it can only make a signature fail, and say why. Early writers left it out.
    hint = public.get("hint")
    if hint and hint != key.fingerprint:
        raise VerificationError(
            f"signed with another key: the bundle's begins with {str(hint)[:16]!r}, "
            f"the one to verify with {key.fingerprint[:16]!r}",
            remedy="give the signer's public key with --key FILE",
        )


# --- the statement --------------------------------------------------------------------------------------


def _document(statement: ModelStatement) -> dict[str, Json]:
    resources: list[Json] = []
    whole = hashlib.sha256()
    for path in sorted(statement.files, key=lambda path: path.split("/")):
        for digest in statement.files[path]:
            resources.append({"name": path, "algorithm": statement.algorithm, "digest": digest})
            whole.update(bytes.fromhex(digest))
    serialization: dict[str, Json] = {
        "method": "files",
        "hash_type": statement.algorithm,
        "allow_symlinks": statement.links,
        "ignore_paths": list(statement.ignored),
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": statement.name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _statement_of(document: Mapping[str, Json]) -> ModelStatement:
    if document.get("_type") != STATEMENT_TYPE:
        raise EvidenceError("what was signed is no in-toto Statement v1")
    if document.get("predicateType") != PREDICATE_TYPE:
        kind = str(document.get("predicateType"))[:80]
        raise EvidenceError(f"what was signed is of type {kind!r}, not {PREDICATE_TYPE}")
    predicate = _object(document.get("predicate"), "predicate")
    how = _object(predicate.get("serialization"), "serialization")
    algorithm, shard = how.get("hash_type"), _shard(how)
    if not isinstance(algorithm, str) or algorithm not in _LENGTHS:
        raise EvidenceError(
            f"the model was hashed with {str(algorithm)[:40]!r}, which is not known here",
            remedy="sign it with sha256, or verify it with the tool that signed it",
        )
    links, ignored = how.get("allow_symlinks"), how.get("ignore_paths", [])
    if not isinstance(links, bool) or not isinstance(ignored, list) or len(ignored) > MAX_IGNORED:
        raise EvidenceError("the statement does not say how the files were read")
    resources = predicate.get("resources")
    if not isinstance(resources, list) or not resources:
        raise EvidenceError("the statement names no file: it holds for any content")
    if len(resources) > MAX_RESOURCES:
        raise ResourceLimitError(f"the statement names more than {MAX_RESOURCES:,} files")
    digests = [_digest(_object(one, "resource"), algorithm, shard) for one in resources]
    name = _check_subject(document.get("subject"), [digest for _, digest in digests])
    files = _sharded(digests, shard) if shard else _whole(digests)
    return ModelStatement(name, algorithm, shard, links, tuple(map(_ignored, ignored)), files)


def _check_subject(subject: Json, digests: list[str]) -> str:
    """The model's name; raises VerificationError unless the subject's digest is that of the whole list."""
    if not isinstance(subject, list) or len(subject) != 1:
        raise EvidenceError("the statement is not of exactly one subject")
    one = _object(subject[0], "subject")
    name = one.get("name")
    if not isinstance(name, str):
        raise EvidenceError("the statement's subject has no name")
    whole = hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
    if _object(one.get("digest"), "digest").get("sha256") != whole:
        raise VerificationError("the listed files do not add up to the statement's own digest")
    return name


def _digest(resource: Mapping[str, Json], algorithm: str, shard: int) -> tuple[str, str]:
    name, digest = resource.get("name"), resource.get("digest")
    if resource.get("algorithm") != _algorithm(algorithm, shard):
        raise EvidenceError(f"a file's digest is of another kind: {str(resource.get('algorithm'))[:80]!r}")
    if not isinstance(name, str):
        raise EvidenceError("a file has no name")
    if not isinstance(digest, str) or len(digest) != _LENGTHS[algorithm] or not _HEX.match(digest):
        raise EvidenceError(f"not a digest: {str(digest)[:80]!r}")
    return name, digest


def _whole(digests: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    files: dict[str, tuple[str, ...]] = {
        path_of(name, single=len(digests) == 1): (digest,) for name, digest in digests
    }
    if len(files) != len(digests):
        raise EvidenceError("the statement names a file twice")
    return files


def _sharded(digests: list[tuple[str, str]], shard: int) -> dict[str, tuple[str, ...]]:
    """The shards put together; each file's must be all there are, from its beginning on, in their order."""
    found: dict[str, list[str]] = {}
    ends: dict[str, int] = {}
    for name, digest in digests:
        path, *bounds = name.rsplit(":", 2)
        if len(bounds) != 2 or not all(map(_OFFSET.match, bounds)):
            raise EvidenceError(f"not the name of a shard: {name[:80]!r}")
        start, end = map(int, bounds)
        before = ends.get(path, 0)
        if start != before or not 0 < end - start <= shard or before % shard:
            raise EvidenceError(f"the shards of a file do not follow each other: {name[:80]!r}")
        found.setdefault(path, []).append(digest)
        ends[path] = end
    # A last shard's length is not kept: its digest is of its content.
    return {path_of(path, single=len(found) == 1): tuple(one) for path, one in found.items()}


def path_of(name: str, *, single: bool = False) -> str:
    """A path below the model in its one spelling; raises EvidenceError for any other text."""
    if single and name == SINGLE:
        return name
    parts = name.split("/")
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        size = MAX_NAME + 1
    if size > MAX_NAME or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise EvidenceError(f"not a path below the model: {name[:80]!a}")
    return name


def _ignored(value: Json) -> str:
    if not isinstance(value, str):
        raise EvidenceError("a path that is ignored is no text")
    return path_of(value.removesuffix("/"))


def _shard(how: Mapping[str, Json]) -> int:
    if how.get("method") == "files":
        return 0
    # The reference implementation writes numbers through a type that has only doubles: 1000000000.0
    size: object = how.get("shard_size")
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if how.get("method") != "shards" or not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise EvidenceError("the statement does not say how files were cut")
    return size


def _algorithm(name: str, shard: int) -> str:
    return f"{name}-sharded-{shard}" if shard else name


def _object(value: Json, what: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise EvidenceError(f"the statement has no {what}")
    return value


def _loaded(data: bytes, what: str) -> Mapping[str, Json]:
    """A JSON object; raises EvidenceError when it is none, ResourceLimitError when it is too large."""
    if len(data) > MAX_BUNDLE:
        raise ResourceLimitError(f"{what} is larger than {MAX_BUNDLE >> 20} MiB")
    try:
        value = json.loads(data, object_pairs_hook=unique_names)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{what} is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise EvidenceError(f"{what} is no JSON object")
    return value
