"""Bundles hold before a third party's Python, and no edit of one does."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from veracity.core.canonical import Json
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.ledger import bundle, packing
from veracity.ledger.blobs import Blobs
from veracity.ledger.bundle import write_bundle
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SMALL_ORDER_Y, SigningKey, vkey_line
from veracity.ledger.store import Ledger
from veracity.seal.sign import sign_statement, statement

CHECKER = Path(bundle.__file__).with_name("verify_evidence.py")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@dataclass(frozen=True)
class Record:
    """A finished ledger with payloads, a seal and a verdict, and the key that signed."""

    folder: Path
    key: SigningKey

    def pack(self) -> Path:
        target = self.folder / "case.zip"
        write_bundle(target, self.folder / "ledger", self.folder / "blobs", self.key.verifier, {"run": "r"})
        return target


def make(folder: Path, *, entries: int = 300, key: SigningKey | None = None) -> Record:
    folder.mkdir(exist_ok=True)
    key = key or SigningKey.generate("log.example")
    blobs = Blobs(folder / "blobs")
    with Ledger.create(folder / "ledger", "log.example/run", key) as ledger:
        for number in range(entries):
            payload = blobs.put(b"payload %d" % number)
            ledger.append(Entry("record", {"seq": number, "stream": "rank0", "frame": str(payload)}).encode())
        envelope = sign_statement(statement("r", Digest.of(b"{}"), {"schema": 1}), key)
        ledger.append(Entry("seal", {"envelope": str(blobs.put(envelope))}).encode())
        finding: dict[str, Json] = {
            "rule": "update-not-declared",
            "first_step": 7,
            "message": "a step is \x1b[2J not AdamW's",
        }
        ledger.append(Entry("finding", {"finding": finding}).encode())
        ledger.append(Entry("judged", {"outcome": "broken"}).encode())
    return Record(folder, key)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return make(tmp_path_factory.mktemp("record") / "run")


@pytest.fixture(scope="module")
def packed(record: Record) -> Path:
    return record.pack()


def check(path: Path, *words: str | Path) -> tuple[int, str]:
    """What the program says, run as a third party runs it: alone, and without site packages."""
    alone = path.parent / "alone.py"
    alone.write_bytes(CHECKER.read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-S", alone, path, *words], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def edited(packed: Path, target: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """A copy of a bundle whose members were changed."""
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def test_a_bundle_holds_and_says_what_was_checked(record: Record, packed: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.vkey"
    key.write_text(record.key.verifier.vkey + "\n")
    code, said = check(packed, "--key", key)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[0] == f"  1. the key that you named is taken: {record.key.verifier.vkey}"
    assert lines[1] == "  2. log.example signed the tree head of log.example/run: 303 entries"
    assert "301 payloads were read, each with the digest that its entry names" in said
    assert "there is no witness policy: nothing here shows that others have seen this record" in said
    assert "the seal of entry 300, which says what ran, is signed by the same key" in said
    assert "its verdict is broken" in said
    assert "it has a finding: update-not-declared from step 7: a step is ?[2J not AdamW's" in said
    assert lines[-1] == "everything holds"


def test_the_key_in_the_bundle_is_said_to_be_that(packed: Path) -> None:
    code, said = check(packed)
    assert code == 0
    assert said.startswith("  1. the key in the bundle is taken: log.example+")


def test_the_same_record_gives_the_same_bytes(record: Record, packed: Path) -> None:
    first = packed.read_bytes()
    assert record.pack().read_bytes() == first
    assert packed.stat().st_mode & 0o777 == 0o600


def test_the_program_is_short_and_imports_nothing_but_the_standard_library() -> None:
    source = CHECKER.read_text("utf-8")
    assert len(source.splitlines()) <= 250
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported <= set(sys.stdlib_module_names)


# --- somebody edited it ---------------------------------------------------------------------------------

FIRST, LAST = "ledger/tile/entries/000", "ledger/tile/entries/001.p/47"


def replace(old: bytes, new: bytes, name: str = FIRST) -> Callable[[dict[str, bytes]], object]:
    def change(members: dict[str, bytes]) -> None:
        assert old in members[name]
        members[name] = members[name].replace(old, new, 1)

    return change


def without(entry: int) -> Callable[[dict[str, bytes]], object]:
    """One entry less, and the tree head's number with it."""

    def change(members: dict[str, bytes]) -> None:
        found = parts(members[LAST])
        del found[entry]
        members[LAST.replace("47", "46")] = joined(found)
        del members[LAST]
        members["ledger/checkpoint"] = members["ledger/checkpoint"].replace(b"\n303\n", b"\n302\n")

    return change


def parts(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:length])
        data = data[length:]
    return found


def joined(entries: list[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def swapped(members: dict[str, bytes]) -> None:
    found = parts(members[FIRST])
    found[3], found[4] = found[4], found[3]
    members[FIRST] = joined(found)


def first_blob(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.startswith("blobs/"))


def root_of(entries: list[bytes]) -> bytes:
    level = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)
        ]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]


def forged(members: dict[str, bytes]) -> None:
    """An entry edited, and the root in the tree head with it; the signature is left."""
    replace(b'"seq":7', b'"seq":8')(members)
    root = root_of(parts(members[FIRST]) + parts(members[LAST]))
    lines = members["ledger/checkpoint"].split(b"\n")
    lines[2] = base64.b64encode(root)
    members["ledger/checkpoint"] = b"\n".join(lines)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (replace(b'"seq":7', b'"seq":9'), "root"),
        (replace(b'"outcome":"broken"', b'"outcome":"held__"', LAST), "root"),
        (swapped, "root"),
        (without(3), "no signature"),
        (forged, "no signature"),
        (lambda members: members.update({FIRST: members[FIRST][:-5]}), "cut off"),
        (lambda members: members.update({FIRST: members[FIRST] + b"\0\1x"}), "cut off, or does not hold 256"),
        (
            lambda members: members.update({first_blob(members): b"another"}),
            "is not the one that was recorded",
        ),
        (lambda members: members.update({"blobs/" + "0" * 64: b"foreign"}), "named by no entry"),
        (lambda members: members.update({"../outside": b""}), "no member's name"),
        (lambda members: members.update({"/etc/passwd": b""}), "no member's name"),
    ],
)
def test_an_edited_bundle_does_not_hold(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], object], word: str
) -> None:
    code, said = check(edited(packed, tmp_path / "edited.zip", change))
    assert code == 1, said
    assert "DOES NOT HOLD" in said
    assert word in said


def test_another_signers_bundle_does_not_hold_before_the_owners_key(record: Record, tmp_path: Path) -> None:
    """The insider records another history with a key of their own, under the same name."""
    theirs = make(tmp_path / "theirs").pack()
    assert check(theirs)[0] == 0
    key = tmp_path / "key.vkey"
    key.write_text(record.key.verifier.vkey)
    code, said = check(theirs, "--key", key)
    assert code == 1
    assert "no signature of log.example holds" in said


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", [*sorted(SMALL_ORDER_Y), 2**255 - 19, 2**255 - 18, 2**255 - 1])
def test_a_key_that_proves_nothing_is_refused(packed: Path, tmp_path: Path, y: int, sign: int) -> None:
    """Under such a key one signature fits many records."""
    raw = (y | sign << 255).to_bytes(32, "little")
    key = tmp_path / "key.vkey"
    key.write_text(vkey_line("log.example", 1, raw))
    code, said = check(packed, "--key", key)
    assert (code, "prove nothing" in said) == (1, True), said


def test_a_name_that_stands_twice_does_not_hold(packed: Path, tmp_path: Path) -> None:
    """Two readers could see two records."""
    target = tmp_path / "twice.zip"
    shutil.copy(packed, target)
    with warnings.catch_warnings(), zipfile.ZipFile(target, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("ledger/checkpoint", b"another")
    assert check(target)[0] == 1


def test_what_is_missing_is_told(packed: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        del members[first_blob(members)]

    code, said = check(edited(packed, tmp_path / "less.zip", change))
    assert code == 2  # what is not there may be what speaks against whoever handed it on
    assert "what is there holds, but 1 payloads are missing, the first of entry 0" in said


@pytest.mark.parametrize("name", ["ledger/checkpoint", "ledger.vkey", FIRST])
def test_what_cannot_be_checked(packed: Path, tmp_path: Path, name: str) -> None:
    code, said = check(edited(packed, tmp_path / "less.zip", lambda members: members.pop(name)))
    assert (code, "could not be checked" in said) == (2, True)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no archive")
    assert check(tmp_path / "no.zip")[0] == 2
    assert check(tmp_path / "absent.zip")[0] == 2


def test_a_bomb_is_not_unpacked(packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "bomb.zip"
    shutil.copy(packed, target)
    with (
        zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("blobs/" + "1" * 64, "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert target.stat().st_size < 2_000_000
    code, said = check(target)
    assert (code, "too large" in said) == (2, True)


# --- packing --------------------------------------------------------------------------------------------


def test_a_record_that_does_not_hold_is_not_packed(tmp_path: Path) -> None:
    made = make(tmp_path / "run")
    path = made.folder / "ledger" / FIRST.removeprefix("ledger/")
    path.write_bytes(path.read_bytes().replace(b'"seq":7', b'"seq":9'))
    with pytest.raises(VerificationError):
        made.pack()
    assert [one.name for one in made.folder.iterdir() if "zip" in one.name] == []


def test_a_payload_that_is_no_longer_kept_is_counted(tmp_path: Path) -> None:
    made = make(tmp_path / "run", entries=3)
    next((made.folder / "blobs").iterdir()).unlink()
    packed = write_bundle(
        made.folder / "case.zip", made.folder / "ledger", made.folder / "blobs", made.key.verifier, {}
    )
    assert (packed.entries, packed.payloads, packed.missing) == (6, 3, 1)
    with zipfile.ZipFile(made.folder / "case.zip") as archive:
        assert json.loads(archive.read("bundle.json"))["missing"] == 1


def test_an_edited_payload_is_not_packed(tmp_path: Path) -> None:
    made = make(tmp_path / "run", entries=3)
    next((made.folder / "blobs").iterdir()).write_bytes(b"edited")
    with pytest.raises((VerificationError, EvidenceError)):
        made.pack()


@pytest.mark.parametrize(
    ("module", "limit", "value"),
    [
        (bundle, "MAX_TOTAL", 100),
        (bundle, "MAX_MEMBERS", 10),
        (bundle, "MAX_ENTRIES", 1000),
        (packing, "MAX_MEMBER", 500),
    ],
)
def test_more_than_a_verifier_reads_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, limit: str, value: int
) -> None:
    made = make(tmp_path / "run", entries=30)
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(ResourceLimitError, match="more than a"):
        made.pack()
    assert [one.name for one in made.folder.iterdir() if "zip" in one.name] == []
