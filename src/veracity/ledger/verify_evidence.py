#!/usr/bin/env python3
"""Check an evidence bundle of a training run, believing nobody but the key and the witnesses.

Needs Python 3.8 and ``openssl`` 3.0 or later. ``--key``: the log's public key as its owner handed it over,
``name+id+base64``; ``--witness-policy``: whose cosignatures must be there (c2sp.org/tlog-policy); without
them those in the bundle are taken. Exit code 0: all holds. 1: not all does. 2: not all could be checked.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import zipfile
import zlib
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any, Iterator

WIDTH, MAX_NOTE, MAX_SHOWN = 256, 128 << 10, 100
MAX_MEMBERS, MAX_MEMBER, MAX_TOTAL, MAX_ENTRIES = 1_000_000, 256 << 20, 64 << 30, 2 << 30
MEMBER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
PAYLOADS, DIGEST = ("frame", "data", "envelope"), re.compile(r"sha256:([0-9a-f]{64})\Z")
HEAD = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*\Z")
MALFORMED = (LookupError, TypeError, ValueError, EOFError, AttributeError, ArithmeticError, RuntimeError)


class Failed(Exception): ...  # exit code 1; all else that is raised means 2


class Bundle:
    """The members of the archive: few kinds of names, each once, none too large."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        found = archive.infolist()
        self.archive, self.members = archive, {one.filename: one for one in found}
        if len(self.members) < len(found) or not all(map(MEMBER.match, self.members)):
            raise Failed("the archive has a member twice, or one whose name is no member's name")
        sizes, kinds = [one.file_size for one in found], {one.compress_type for one in found}
        large = len(found) > MAX_MEMBERS or sum(sizes) > MAX_TOTAL or max(sizes, default=0) > MAX_MEMBER
        if large or kinds - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("the archive is too large, or compressed in a way that bundles are not")

    def read(self, name: str, limit: int = MAX_MEMBER, instead: str | None = None) -> bytes:
        if not instead and (name not in self.members or self.members[name].file_size > limit):
            raise ValueError(f"{name} is not in the bundle, or too large")
        return Path(instead).read_bytes() if instead else self.archive.read(self.members[name])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--key", help="a file with the public key: name+id+base64")
    parser.add_argument("--witness-policy", help="a file that says whose cosignatures must be there")
    given = parser.parse_args()
    said: list[str] = []
    try:
        with zipfile.ZipFile(given.bundle) as archive:
            lacking = "; ".join(check(Bundle(archive), given.key, given.witness_policy, said))
        last, code = (f"what is there holds, but {lacking}", 2) if lacking else ("everything holds", 0)
    except Failed as error:
        last, code = f"DOES NOT HOLD: {error}", 1
    except (*MALFORMED, OSError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        last, code = f"could not be checked: {type(error).__name__}: {error}", 2
    for line in [*(f"{number:3d}. {sentence}" for number, sentence in enumerate(said, 1)), last]:
        print("".join(one if " " <= one <= "~" else "?" for one in line))
    return code


def check(bundle: Bundle, key_file: str | None, policy_file: str | None, said: list[str]) -> list[str]:
    """Say what holds, and return what is lacking; raises Failed for what does not hold."""
    line = bundle.read("ledger.vkey", MAX_NOTE, key_file).decode().strip()
    said.append(f"the key {'that you named' if key_file else 'in the bundle'} is taken: {line}")
    name, key = read_key(line, 1)
    text, _, lines = bundle.read("ledger/checkpoint", MAX_NOTE).decode().rpartition("\n\n")
    if (head := HEAD.match(text + "\n")) is None or signed_at(name, key, head[0], lines) is None:
        raise Failed(f"no signature of {name} holds for the tree head")
    said.append(f"{name} signed the tree head of {head[1]}: {head[2]} entries")
    entries = list(read_entries(bundle, int(head[2])))
    if merkle_root(entries) != b64decode(head[3]):
        raise Failed(f"the root over the {head[2]} entries is not the one that was signed")
    hidden = sum(one[:1] == b"\0" for one in entries)  # where one is withheld: a zero byte and its hash
    said.append(f"{len(entries) - hidden} of {head[2]} entries were hashed again, and the root is as signed")
    told: dict[str, Any] = {"entries": {}, "payloads": 0}
    if "redaction.json" in bundle.members:  # what is shown in the place of entries that are withheld, and why
        found = json.loads(bundle.read("redaction.json"))
        told, by = found["redaction"], read_key(found["key"], 1)[1]
        claim = "veracity-redaction/v1\n" + json.dumps(told, sort_keys=True, separators=(",", ":"))
        if told["head"] != head[0] or not verified(by, claim.encode(), b64decode(found["signature"])):
            raise Failed("the redaction is not signed by its key, or belongs to another tree head")
        whose = "the log's key" if by == key else f"{found['key']}, which is not the log's key"
        said += [f"redaction, in the words of {whose}: {line}" for line in told["says"][:MAX_SHOWN]]
        told["entries"] = {at: e if by == key else {"k": "withheld"} for at, e in told["entries"].items()}
    bodies = [told["entries"][str(at)] if e[:1] == b"\0" else json.loads(e) for at, e in enumerate(entries)]
    lacking = [f"{hidden} entries and {told['payloads']} payloads are withheld"] if hidden else []
    lacking += payloads(bundle, bodies, said)
    if policy_file or "witness.policy" in bundle.members:
        policy = bundle.read("witness.policy", MAX_NOTE, policy_file)
        said.append(f"the witness policy {'that you named' if policy_file else 'in the bundle'} is taken")
        if witnessed(policy, key, head[0], lines, said):
            said.append(f"for it, {sum(' had seen this head ' in one for one in said)} witnesses are enough")
        elif policy_file:
            raise Failed("for the witness policy, too few have cosigned this tree head")
        else:
            lacking.append("for its witness policy, too few have cosigned the tree head")
    else:
        said.append("there is no witness policy: nothing here shows that others have seen this record")
    record(bundle, bodies, key, said)
    custody = bundle.read("custody", MAX_NOTE) if "custody" in bundle.members else b""
    said += [f"custody, not checked here: {line}" for line in custody.decode().splitlines()[:MAX_SHOWN]]
    return lacking


def read_key(line: str, kind: int) -> tuple[str, bytes]:
    """A key's name, and its 32 bytes behind a byte for how it signs: 1 as a log, 4 as a witness."""
    name, identity, encoded = line.split("+", 2)
    key = b64decode(encoded, validate=True)
    if len(key) != 33 or key[0] != kind or identity != sha256(name.encode() + b"\n" + key).hexdigest()[:8]:
        raise ValueError(f"not an Ed25519 public key of kind {kind}: {line[:120]}")
    y, prime = int.from_bytes(key[1:], "little") % 2**255, 2**255 - 19
    if y >= prime or y * (y * y - 1) * (121666 * (2 * y * y - 1) - 121665 * y**4) % prime == 0:
        raise Failed(f"of small order or another spelling, so its signatures prove nothing: {line[:120]}")
    return name, key


def signed_at(name: str, key: bytes, text: str, lines: str) -> int | None:
    """When the key signed: seconds since the epoch; 0 for a log's, which say no time; None: it did not."""
    mark, identity = f"\u2014 {name} ", sha256(name.encode() + b"\n" + key).digest()[:4]
    for line in [line for line in lines.split("\n") if line.startswith(mark)][:8]:
        raw = b64decode(line[len(mark) :], validate=True)
        at = int.from_bytes(raw[4:12], "big") if key[0] == 4 else 0
        said, begin = (f"cosignature/v1\ntime {at}\n{text}", 12) if key[0] == 4 else (text, 4)
        if raw[:4] == identity and verified(key, said.encode(), raw[begin:]):
            return at
    return None


def verified(key: bytes, message: bytes, signature: bytes) -> bool:
    with tempfile.TemporaryDirectory() as place:
        der = bytes.fromhex("302a300506032b6570032100") + key[1:]
        for name, data in (("message", message), ("signature", signature), ("key", der)):
            (Path(place) / name).write_bytes(data)
        words = "openssl pkeyutl -verify -pubin -inkey key -keyform DER -rawin -in message -sigfile signature"
        return run(words.split(), cwd=place, stdin=DEVNULL, capture_output=True).returncode == 0


def witnessed(policy: bytes, log: bytes, text: str, lines: str, said: list[str]) -> bool:
    """Whether the cosignatures are enough by a policy, each of whose lines speaks of those before it."""
    has_seen, once, logs, quorum = {"none": False}, ["none"], [], []
    for line in policy.decode("utf-8", "surrogateescape").split("\n"):
        kind, *words = re.split("[ \t]+", line.strip(" \t"))
        is_new = bool(words) and words[0] not in has_seen
        if kind == "log" and len(words) in (1, 2):
            logs.append(read_key(words[0], 1)[1])
        elif kind == "witness" and len(words) in (2, 3) and is_new:
            name, key = read_key(words[1], 4)
            at = signed_at(name, key, text, lines)
            once.append(key.hex())
            if has_seen.setdefault(words[0], at is not None):
                said.append(f"{name} had seen this head by {time.strftime('%F %T', time.gmtime(at))} UTC")
        elif kind == "group" and len(words) > 2 and is_new:
            needed = {"any": 1, "all": len(words) - 2}.get(words[1]) or int(words[1])
            has_seen[words[0]] = sum(has_seen[member] for member in words[2:]) >= max(1, needed)
            once += words[2:]
        elif kind == "quorum" and len(words) == 1:
            quorum.append(words[0] == "none" or has_seen[words[0]])
        elif kind and not kind.startswith("#"):
            raise ValueError(f"not a line of a witness policy: {line[:120]!r}")
    if len({*once}) < len(once) or len({*logs}) < len(logs) or len(quorum) != 1:
        raise ValueError("the witness policy counts somebody twice, or has more or less than one quorum")
    if logs and log not in logs:
        raise Failed("the witness policy is about other logs")
    return quorum[0]


def read_entries(bundle: Bundle, size: int) -> Iterator[bytes]:
    if sum(one.file_size for name, one in bundle.members.items() if name[:7] == "ledger/") > MAX_ENTRIES:
        raise ValueError("there are more entries than can be read")
    for number in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - WIDTH * number)
        groups = format(number, "03,").split(",")
        path = "".join(f"x{group.zfill(3)}/" for group in groups[:-1]) + groups[-1].zfill(3)
        data = bundle.read("ledger/tile/entries/" + (path if width == WIDTH else f"{path}.p/{width}"))
        at = 0
        for _ in range(width):
            start, at = at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big")
            yield data[start:at]
        if at != len(data):
            raise Failed(f"bundle {number} of entries is cut off, or does not hold {width}")


def merkle_root(entries: list[bytes]) -> bytes:
    level = [one[1:] if one[:1] == b"\0" else sha256(b"\0" + one).digest() for one in entries]
    while len(level) > 1:
        pairs = [sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else sha256(b"").digest()


def payloads(bundle: Bundle, bodies: list[dict[str, Any]], said: list[str]) -> list[str]:
    """What entries, and the seal that the first one names, name by digest is there and has that digest."""
    found = [(DIGEST.match(str(body.get(name))), at) for at, body in enumerate(bodies) for name in PAYLOADS]
    named = {f"blobs/{match[1]}": at for match, at in reversed(found) if match}
    if "seal/seal.dsse.json" in bundle.members and bodies[0]["seal"]["digest"]:
        seal = json.loads(b64decode(json.loads(bundle.read("seal/seal.dsse.json"))["payload"]))["predicate"]
        digest = sha256(json.dumps(seal, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        if bodies[0]["seal"]["digest"] != f"sha256:{digest}":
            raise Failed("the seal beside the record is not the one that its first entry names")
        named.update((f"seal/{one['diff']}.diff", 0) for one in seal.get("repositories", ()) if one["diff"])
    missing = [at for name, at in named.items() if name not in bundle.members]
    for name in (name for name in bundle.members if name.startswith("blobs/") or name.endswith(".diff")):
        if name not in named:
            raise Failed(f"{name} is named by no entry")
        if sha256(bundle.read(name)).hexdigest() not in name:
            raise Failed(f"the payload of entry {named[name]} is not the one that was recorded: {name}")
    said.append(f"{len(named) - len(missing)} payloads were read, each with the digest that its entry names")
    return [f"{len(missing)} payloads are missing, the first of entry {missing[0]}"] if missing else []


def record(bundle: Bundle, bodies: list[dict[str, Any]], key: bytes, said: list[str]) -> None:
    """The seal is signed by the same key, records stand in their order, and what was found in them."""
    last: dict[str, int] = {}
    told = "the bundle holds no seal: nothing here says what ran"
    for number, body in enumerate(bodies):
        match = DIGEST.match(str(body.get("envelope"))) if body["k"] == "seal" else None
        if match and "blobs/" + match[1] in bundle.members:
            envelope = json.loads(bundle.read("blobs/" + match[1]))
            payload, kind = b64decode(envelope["payload"]), envelope["payloadType"].encode()
            message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
            if not any(verified(key, message, b64decode(one["sig"])) for one in envelope["signatures"][:8]):
                raise Failed(f"the seal of entry {number} is not signed by the key")
            told = f"the seal of entry {number}, which says what ran, is signed by the same key"
        if isinstance(stream := body.get("stream"), str) and isinstance(at := body.get("seq"), int):
            if at <= last.get(stream, -1):
                raise Failed(f"entry {number} is out of order: record {at} of {stream}")
            last[stream] = at
    judged = ["not there", *(body["outcome"] for body in bodies if body["k"] == "judged")][-1]
    said += [told, f"the records of {len(last)} processes stand in their order", f"its verdict is {judged}"]
    for finding in [body["finding"] for body in bodies if body["k"] == "finding"][:MAX_SHOWN]:
        since = "" if finding["first_step"] is None else f" from step {finding['first_step']}"
        said.append(f"it has a finding: {finding['rule']}{since}: {str(finding['message'])[:300]}")


if __name__ == "__main__":
    sys.exit(main())
