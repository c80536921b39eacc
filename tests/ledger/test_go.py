"""Notes, trees, proofs and tiles as Go's sumdb packages write and read them, both ways round."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.growing import ORIGIN, grow
from tests.once import once
from veracity.core.errors import Error, VerificationError
from veracity.ledger.keys import PublicKey, SigningKey
from veracity.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from veracity.ledger.note import parse_note, sign_note, verify_note
from veracity.ledger.reader import Reader
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.cosignature import WitnessKey, cosign, verify_cosignature
from veracity.ledger.witness.record import Witness
from veracity.ledger.witness.requests import AddCheckpoint

SOURCE = Path(__file__).parent / "go" / "sumdb.go"
GOPATH = "/usr/share/gocode"
"""Where Debian puts Go's libraries."""
COMPILER = shutil.which("go")
HAS_SUMDB = os.path.isdir(f"{GOPATH}/src/golang.org/x/mod/sumdb/tlog")
pytestmark = pytest.mark.skipif(
    COMPILER is None or not HAS_SUMDB,
    reason="Go and its sumdb packages (Debian: golang-go golang-golang-x-mod-dev) are not installed",
)
KEY = SigningKey.generate("log.example")
LARGE = 66_000
"""Entries of a log with a tile at level 2."""


def compile_program(folder: Path) -> None:
    """Offline: Debian's packages are sources below GOPATH, and no module is fetched."""
    variables = {
        "GO111MODULE": "off", "GOPATH": GOPATH, "GOPROXY": "off", "GOFLAGS": "",
        "GOCACHE": str(folder / "cache"), "CGO_ENABLED": "0",
    }  # fmt: skip
    command = ["go", "build", "-o", str(folder / "sumdb"), str(SOURCE)]
    subprocess.run(command, env={**os.environ, **variables}, check=True, timeout=300)


class Go:
    """The program, which is asked one thing after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, op: str, **given: object) -> dict[str, object]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **given}, default=encoded) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        assert isinstance(said, dict)
        return said

    def accepts(self, op: str, **given: object) -> bool:
        return "refused" not in self.ask(op, **given)


def encoded(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode("ascii")


def decoded(values: object) -> list[bytes]:
    assert isinstance(values, list)
    return [base64.b64decode(one) for one in values]


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Go]:
    folder = once(tmp_path_factory, "go-sumdb", compile_program)
    process = subprocess.Popen(
        [folder / "sumdb"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    with process:
        yield Go(process)
        assert process.stdin is not None
        process.stdin.close()


def edits(data: bytes, count: int) -> Iterator[bytes]:
    """Copies with a byte changed, taken out or put in, and with the ends cut off or joined."""
    draw = random.Random(3)
    for _ in range(count):
        at = draw.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :]
        yield data[:at] + data[at + 1 :]
        yield data[:at] + bytes([draw.randrange(256)]) + data[at:]
    yield from (b"", data[:-1], data + data, data + b"\n", b"\n" + data, data.replace(b"\n", b"\r\n"))


def we_accept(signed: bytes, key: PublicKey) -> bool:
    try:
        verify_note(parse_note(signed), key)
    except Error:
        return False
    return True


def refused_by_both(go: Go, signed: bytes, key: PublicKey) -> int:
    """How many edits of a note both sides refuse; the rest must be the same note in another spelling.

    Go reads base64 whose spare bits are set, and we do not.
    """
    refused = 0
    for other in edits(signed, 120):
        theirs, ours = go.accepts("open", note=other, keys=[key.vkey]), we_accept(other, key)
        if theirs:
            assert other[:-3] + signed[-3:] == signed, other
            assert ours == (other == signed), other
        else:
            assert not ours, other
            refused += 1
    return refused


# --- notes ----------------------------------------------------------------------------------------------


def test_go_opens_our_notes_and_refuses_the_edits_that_we_refuse(go: Go) -> None:
    signed = sign_note("log.example/run\n7\ntext with \u00e4\n\nand an empty line\n", KEY)
    said = go.ask("open", note=signed, keys=[KEY.verifier.vkey])
    assert said["signed"] == ["log.example"]
    assert base64.b64decode(str(said["text"])) == parse_note(signed).text.encode()
    assert refused_by_both(go, signed, KEY.verifier) > 300


def test_we_open_what_go_signs_and_refuse_the_edits_that_go_refuses(go: Go) -> None:
    made = go.ask("generate", name="sum.example/log")
    key = PublicKey.parse(str(made["public"]))
    assert key.vkey == made["public"]
    text = b"sum.example/log\n9\nsome text\n"
    signed = base64.b64decode(str(go.ask("sign", text=text, key=made["private"])["note"]))
    verify_note(parse_note(signed), key)
    assert parse_note(signed).text.encode() == text
    assert refused_by_both(go, signed, key) > 300


def test_a_note_is_opened_by_no_other_key(go: Go) -> None:
    signed = sign_note("text\n", KEY)
    for name in ("log.example", "other.example"):
        other = SigningKey.generate(name).verifier
        assert not go.accepts("open", note=signed, keys=[other.vkey])
        assert not we_accept(signed, other)
    assert not go.accepts("open", note=signed, keys=[WitnessKey(KEY.verifier).vkey])


def test_cosignatures_hold_on_both_sides(go: Go) -> None:
    """Go's packages know no cosignature/v1; its notes do, by a verifier that was written beside them."""
    head = TreeHead.sign(ORIGIN, 3, bytes(32), KEY)
    text = parse_note(head.signed).text
    witness = SigningKey.generate("witness.example/w1")
    ours = head.signed + cosign(text, 1_700_000_000, witness).encode()
    keys = [KEY.verifier.vkey, WitnessKey(witness.verifier).vkey]
    assert go.ask("open", note=ours, keys=keys)["signed"] == ["log.example", "witness.example/w1"]
    assert not go.accepts("open", note=ours, keys=[keys[1].replace("w1+", "w2+")])

    made = go.ask("cosign", name="go.example", leaf=bytes(range(32)), index=1_700_000_001, text=text.encode())
    theirs = WitnessKey.parse(str(made["public"]))
    note = parse_note(ours + str(made["line"]).encode())
    assert verify_cosignature(note, theirs) == 1_700_000_001
    later = TreeHead.sign(ORIGIN, 4, bytes(32), KEY)
    with pytest.raises(VerificationError):
        verify_cosignature(parse_note(later.signed + str(made["line"]).encode()), theirs)


# --- trees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 257])
def test_go_takes_our_proofs_and_only_those(go: Go, size: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    root = tree_root(leaves)
    for index in {0, size // 2, size - 1}:
        path = inclusion_proof(leaves, index)
        whole = {"size": size, "root": root, "index": index, "leaf": leaves[index], "proof": path}
        assert go.accepts("inclusion", **whole)
        assert not go.accepts("inclusion", **{**whole, "leaf": leaf_hash(b"another")})
        assert not go.accepts("inclusion", **{**whole, "root": bytes(32)})
        assert not go.accepts("inclusion", **{**whole, "proof": [*path, root]})
        for at in range(len(path)):
            assert not go.accepts("inclusion", **{**whole, "proof": [*path[:at], *path[at + 1 :]]})
    for old in {1, size // 2 or 1, size}:
        path = consistency_proof(leaves, old)
        before = tree_root(leaves[:old])
        whole = {"size": size, "root": root, "old": old, "old_root": before, "proof": path}
        assert go.accepts("consistency", **whole)
        assert not go.accepts("consistency", **{**whole, "old_root": bytes(32)})
        assert not go.accepts("consistency", **{**whole, "proof": [*path, root]})


@pytest.mark.parametrize("size", [1, 5, 256, 300])
def test_we_take_what_go_writes_and_nothing_else(go: Go, tmp_path: Path, size: int) -> None:
    made = go.ask("generate", name="sum.example")
    key = PublicKey.parse(str(made["public"]))
    entries = [b"entry %d " % number + b"." * (number % 7) for number in range(size)]
    olds = sorted({1, size // 3 or 1, size})
    folder = tmp_path / "log"
    written = go.ask(
        "write", folder=str(folder), origin="sum.example", key=made["private"], entries=entries, olds=olds
    )
    with Reader(folder) as reader:
        reader.verify_tree(key)
        assert list(reader.entries()) == entries
        head = reader.tree_head
    leaves = [leaf_hash(one) for one in entries]
    included, consistent = written["included"], written["consistent"]
    assert isinstance(included, list)
    assert isinstance(consistent, list)
    for index, path in enumerate(map(decoded, included)):
        verify_inclusion(leaves[index], index, size, path, head.root)
        with pytest.raises(VerificationError):
            verify_inclusion(leaves[index], index, size, [*path, head.root], head.root)
        with pytest.raises(VerificationError):
            verify_inclusion(leaf_hash(b"another"), index, size, path, head.root)
    for old, old_root, path in zip(
        olds, decoded(written["old_roots"]), map(decoded, consistent), strict=True
    ):
        verify_consistency(old, size, old_root, head.root, path)
        assert old_root == tree_root(leaves[:old])
        with pytest.raises(VerificationError):
            verify_consistency(old, size, bytes(32), head.root, path)


def test_our_witness_cosigns_a_log_of_go(go: Go, tmp_path: Path) -> None:
    """It follows the log from one size to the next by Go's proofs, and a fork of it not."""
    made = go.ask("generate", name="sum.example")
    entries = [b"%d" % number for number in range(40)]
    witness = Witness(
        tmp_path / "state", SigningKey.generate("w.example"), [PublicKey.parse(str(made["public"]))]
    )

    def request(name: str, some: list[bytes], old: int) -> tuple[TreeHead, int]:
        folder = tmp_path / name
        written = go.ask(
            "write",
            folder=str(folder),
            origin="sum.example",
            key=made["private"],
            entries=some,
            olds=[old] if old else [],
        )
        consistent = written["consistent"]
        assert isinstance(consistent, list)
        proof = decoded(consistent[0]) if old else []
        head = TreeHead.parse((folder / "checkpoint").read_bytes())
        body = AddCheckpoint(old, tuple(proof), head).encode()
        return head, witness.add_checkpoint(body).status

    assert request("first", entries[:13], 0)[1] == 200
    assert request("grown", entries, 13)[1] == 200
    assert request("forked", [*entries[:20], b"other", *entries[21:], b"more"], 40)[1] == 422
    witness.close()


# --- logs in a folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 255, 257, 513])
def test_go_reads_our_ledger(go: Go, tmp_path: Path, size: int) -> None:
    entries = grow(tmp_path / "ledger", KEY, size)
    said = go.ask("read", folder=str(tmp_path / "ledger"), keys=[KEY.verifier.vkey], step=1)
    assert said.get("size") == size, said
    assert decoded(said["entries"]) == entries
    assert said["origin"] == ORIGIN


def test_go_reads_a_ledger_of_three_levels(go: Go, tmp_path: Path) -> None:
    grow(tmp_path / "ledger", KEY, LARGE, each=1000)
    assert (tmp_path / "ledger" / "tile" / "2").is_dir()
    said = go.ask("read", folder=str(tmp_path / "ledger"), keys=[KEY.verifier.vkey], step=6_007)
    assert said.get("size") == LARGE, said


def test_what_was_edited_is_refused_by_both(go: Go, tmp_path: Path) -> None:
    """Any byte of the tree head, the tiles and the bundles of entries."""
    grow(tmp_path / "ledger", KEY, 300)
    (tmp_path / "ledger" / "journal").unlink()  # with it, the files would be written anew from it
    files = [path for path in (tmp_path / "ledger").rglob("*") if path.is_file() and path.name != "lock"]
    draw = random.Random(5)
    # Of a tree this size the partial tiles are the ones that count; others are left from earlier sizes.
    current = [one for one in files if not one.parent.name.endswith(".p") or one.name in ("44", "1")]
    assert len(current) > 3
    for path in current:
        data = path.read_bytes()
        for _ in range(3):
            at = draw.randrange(len(data) - 3)  # the last ones of a note may be spelt in two ways
            path.write_bytes(data[:at] + bytes([data[at] ^ draw.randrange(1, 256)]) + data[at + 1 :])
            said = go.ask("read", folder=str(tmp_path / "ledger"), keys=[KEY.verifier.vkey], step=1)
            assert "refused" in said, (path, at)
            with pytest.raises(Error), Reader(tmp_path / "ledger") as reader:
                reader.verify_tree(KEY.verifier)
        path.write_bytes(data)
    assert go.accepts("read", folder=str(tmp_path / "ledger"), keys=[KEY.verifier.vkey], step=1)
