#!/usr/bin/env python3
"""Check an evidence bundle of a training run, believing nobody but the key.

    python3 verify_evidence.py BUNDLE.zip [--key FILE]

Needs Python 3.8 or later, its standard library, and ``openssl`` 3.0 or later; nothing of the program that
made the bundle. ``--key`` names a file with the public key as its owner handed it over, one line
``name+id+base64``. Without it the key inside the bundle is taken, which shows only that the bundle agrees
with itself: compare the key that is printed with one you have from elsewhere. What was checked is printed as
numbered sentences. Exit code 0: all of it holds. 1: something does not. 2: it could not be checked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Iterator

WIDTH = 256
MAX_MEMBERS = 1_000_000
MAX_MEMBER = 256 << 20
MAX_TOTAL = 64 << 30
MAX_SHOWN = 100
PAYLOADS = ("frame", "data", "envelope")
MEMBER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")


class Failed(Exception): ...  # exit code 1


class Unreadable(Exception): ...  # exit code 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an evidence bundle of a training run.")
    parser.add_argument("bundle")
    parser.add_argument("--key", help="a file with the public key: name+id+base64")
    arguments = parser.parse_args()
    said: list[str] = []
    try:
        with zipfile.ZipFile(arguments.bundle) as archive:
            check(Bundle(archive), arguments.key, said)
    except Failed as error:
        return tell(said, f"DOES NOT HOLD: {error}", 1)
    except (Unreadable, OSError, zipfile.BadZipFile, RuntimeError) as error:
        return tell(said, f"could not be checked: {error}", 2)
    except (KeyError, TypeError, ValueError, EOFError) as error:
        return tell(said, f"could not be checked, for something is malformed: {error!r}", 2)
    return tell(said, "everything holds", 0)


def tell(said: list[str], last: str, code: int) -> int:
    for line in [*(f"{number:3d}. {sentence}" for number, sentence in enumerate(said, 1)), last]:
        print("".join(one if one.isprintable() else "?" for one in line))
    return code


class Bundle:
    """The members of the archive: few kinds of names, each once, none too large."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        total = 0
        for member in archive.infolist():
            if not MEMBER.match(member.filename) or member.filename in self.members:
                raise Failed(f"the archive has a member that is no member's name: {member.filename[:100]!r}")
            total += member.file_size
            if member.file_size > MAX_MEMBER or total > MAX_TOTAL or len(self.members) >= MAX_MEMBERS:
                raise Unreadable("the archive is too large")
            self.members[member.filename] = member

    def read(self, name: str) -> bytes:
        if name not in self.members:
            raise Unreadable(f"{name} is not in the bundle")
        return self.archive.read(self.members[name])


def check(bundle: Bundle, key_file: str | None, said: list[str]) -> None:
    name, key = public_key(bundle, key_file, said)
    size, root = tree_head(bundle, name, key, said)
    entries = list(read_entries(bundle, size))
    if merkle_root(entries) != root:
        raise Failed(f"the root over the {size} entries is not the one that was signed")
    said.append(f"all {size} entries were hashed again, and their root is the one that was signed")
    bodies = [body_of(number, data) for number, data in enumerate(entries)]
    payloads(bundle, bodies, said)
    seal(bundle, bodies, key, said)
    in_order(bodies, said)
    verdict(bodies, said)


def public_key(bundle: Bundle, key_file: str | None, said: list[str]) -> tuple[str, bytes]:
    """The name and the 32 bytes of the key, and where it comes from."""
    if key_file is not None:
        line, whence = Path(key_file).read_text("ascii").strip(), "the key that you named"
    else:
        line, whence = bundle.read("ledger.vkey").decode("ascii", "replace").strip(), "the key in the bundle"
    try:
        name, identity, encoded = line.split("+", 2)
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Unreadable(f"{whence} is no public key") from None
    if len(key) != 33 or key[0] != 1 or identity != key_id(name, key):
        raise Unreadable(f"{whence} is no Ed25519 public key")
    said.append(f"{whence} is taken: {line}")
    return name, key


def key_id(name: str, key: bytes) -> str:
    return hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]


def tree_head(bundle: Bundle, name: str, key: bytes, said: list[str]) -> tuple[int, bytes]:
    """Size and root that the key signed."""
    text, gap, lines = bundle.read("ledger/checkpoint").decode("utf-8", "replace").rpartition("\n\n")
    parts = text.split("\n")
    if not gap or len(parts) < 3 or not re.match(r"(0|[1-9][0-9]{0,18})\Z", parts[1]):
        raise Unreadable("the tree head is malformed")
    for line in lines.splitlines():
        words = line.split(" ")
        if len(words) == 3 and words[0] == "\u2014" and words[1] == name:
            raw = unbase64(words[2])
            if raw[:4].hex() == key_id(name, key) and verified(key, (text + "\n").encode("utf-8"), raw[4:]):
                said.append(f"{name} signed the tree head of {parts[0]}: {parts[1]} entries")
                return int(parts[1]), unbase64(parts[2])
    raise Failed(f"no signature of {name} holds for the tree head")


def unbase64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def verified(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether openssl says that the signature is the key's over the message."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "message").write_bytes(message)
        (folder / "signature").write_bytes(signature)
        (folder / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key[1:])
        command = "openssl pkeyutl -verify -pubin -inkey key -keyform DER -rawin -in message -sigfile"
        done = subprocess.run(
            [*command.split(), "signature"], cwd=place, stdin=subprocess.DEVNULL, capture_output=True
        )
    return done.returncode == 0


def read_entries(bundle: Bundle, size: int) -> Iterator[bytes]:
    for number in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - WIDTH * number)
        groups = format(number, "03,").split(",")
        path = "".join(f"x{group.zfill(3)}/" for group in groups[:-1]) + groups[-1].zfill(3)
        data = bundle.read("ledger/tile/entries/" + (path if width == WIDTH else f"{path}.p/{width}"))
        at = count = 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            if end > len(data):
                raise Failed(f"bundle {number} of entries is cut off")
            yield data[at + 2 : end]
            at, count = end, count + 1
        if count != width:
            raise Failed(f"bundle {number} holds {count} entries, not {width}")


def merkle_root(entries: list[bytes]) -> bytes:
    level = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else hashlib.sha256(b"").digest()


def body_of(number: int, data: bytes) -> dict[str, Any]:
    body = json.loads(data)
    if not isinstance(body, dict) or not isinstance(body.get("k"), str):
        raise Unreadable(f"entry {number} is no entry")
    return body


def payloads(bundle: Bundle, bodies: list[dict[str, Any]], said: list[str]) -> None:
    """What entries name by digest is in the bundle and has that digest."""
    found, missing = 0, []
    known: set[str] = set()
    for number, body in enumerate(bodies):
        for match in (DIGEST.match(body[name]) for name in PAYLOADS if isinstance(body.get(name), str)):
            if match is None or match[1] in known:
                continue
            known.add(match[1])
            if "blobs/" + match[1] not in bundle.members:
                missing.append(number)
            elif hashlib.sha256(bundle.read("blobs/" + match[1])).hexdigest() != match[1]:
                raise Failed(f"the payload of entry {number} is not the one that was recorded")
            else:
                found += 1
    said.append(f"{found} payloads were read, and each has the digest that its entry names")
    if missing:
        said.append(f"{len(missing)} payloads are missing, the first is that of entry {missing[0]}")
    foreign = [name for name in bundle.members if name.startswith("blobs/") and name[6:] not in known]
    if foreign:
        raise Failed(f"{len(foreign)} payloads are named by no entry, such as {foreign[0]}")


def seal(bundle: Bundle, bodies: list[dict[str, Any]], key: bytes, said: list[str]) -> None:
    """The seal that the ledger names is signed by the same key."""
    for number, body in enumerate(bodies):
        match = DIGEST.match(str(body.get("envelope"))) if body["k"] == "seal" else None
        if match is None or "blobs/" + match[1] not in bundle.members:
            continue
        envelope = json.loads(bundle.read("blobs/" + match[1]))
        payload, kind = unbase64(envelope["payload"]), envelope["payloadType"].encode()
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        if not any(verified(key, message, unbase64(one["sig"])) for one in envelope["signatures"]):
            raise Failed(f"the seal of entry {number} is not signed by the key")
        said.append(f"the seal of entry {number}, which says what ran, is signed by the same key")
        return
    said.append("the bundle holds no seal: nothing here says what ran")


def in_order(bodies: list[dict[str, Any]], said: list[str]) -> None:
    last: dict[str, int] = {}
    for number, body in enumerate(bodies):
        stream, at = body.get("stream"), body.get("seq")
        if isinstance(stream, str) and isinstance(at, int):
            if at <= last.get(stream, -1):
                raise Failed(f"entry {number} is out of order: record {at} of {stream}")
            last[stream] = at
    said.append(f"the records of {len(last)} processes stand in their order")


def verdict(bodies: list[dict[str, Any]], said: list[str]) -> None:
    judged = [body for body in bodies if body["k"] == "judged"]
    outcome = judged[-1].get("outcome") if judged else "not there"
    said.append(f"the record's verdict is {outcome}")
    for finding in [body["finding"] for body in bodies if body["k"] == "finding"][:MAX_SHOWN]:
        rule, step, message = finding["rule"], finding["first_step"], str(finding["message"])[:300]
        said.append(f"it has a finding: {rule}{'' if step is None else f' from step {step}'}: {message}")


if __name__ == "__main__":
    sys.exit(main())
