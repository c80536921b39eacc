"""Redacted bundles: all proofs hold, no name is in them, and the key file brings everything back."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.ledger.test_bundle import Record, check, edited
from veracity.core.canonical import Json, decode, encode
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.core.pseudonym import CLASSES
from veracity.ledger.blobs import Blobs
from veracity.ledger.bundle import Beside, Packed, write_bundle
from veracity.ledger.custody import PACKED, Hand, Handling
from veracity.ledger.entry import Entry
from veracity.ledger.handover import verify_bundle
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import leaf_hash
from veracity.ledger.redaction import MEMBER, KeyFile, Redaction, classes_of
from veracity.ledger.store import Ledger
from veracity.seal.sign import sign_statement, statement

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
NAMES = ("zenobia", "quux7", "secretproj", "trainxy")
HAND = Hand(Handling(PACKED, "uid 4711 (zenobia)", "quux7", 10**18, "the auditor", "for zenobia"), None)


def record(folder: Path, *, salted: bool = True) -> Record:
    """A record with names in its opening, in a finding, in payloads and in its seal, and steps without."""
    folder.mkdir(exist_ok=True)
    key = SigningKey.generate("log.example")
    blobs = Blobs(folder / "blobs")

    def entry(kind: str, /, **body: Json) -> bytes:
        salt: dict[str, Json] = {"salt": secrets.token_urlsafe(16)} if salted else {}
        return Entry(kind, {**body, **salt}).encode()

    with Ledger.create(folder / "ledger", "log.example/run", key) as ledger:
        path = "/home/zenobia/secretproj/trainxy.py"
        ledger.append(
            entry(
                "run",
                user="zenobia",
                uid=4711,
                host="quux7",
                folder="/home/zenobia",
                command=["python", path],
            )
        )
        for number in range(300):
            frame = blobs.put(b"numbers %d" % number)
            ledger.append(entry("record", kind="step", seq=number, stream="s0", frame=str(frame)))
        stack = blobs.put(json.dumps({"path": path, "host": "quux7"}).encode())
        ledger.append(entry("observed", kind="StackSampled", data=str(stack)))
        sealed = sign_statement(statement("r", Digest.of(b"{}"), {"user": "zenobia"}), key)
        ledger.append(entry("seal", envelope=str(blobs.put(sealed))))
        finding: dict[str, Json] = {
            "rule": "code-source-altered",
            "law": "code",
            "severity": "error",
            "first_step": 7,
            "message": f"{path} was changed by zenobia on quux7",
        }
        ledger.append(entry("finding", finding=finding, entry=3))
        ledger.append(entry("judged", outcome="broken", reasons=[f"code: {path}"]))
    return Record(folder, key)


def pack(made: Record, classes: str = "all", name: str = "case.zip") -> tuple[Path, Path, Packed]:
    target, secret = made.folder / name, made.folder / "names.key"
    redaction = Redaction.of(KeyFile.load_or_new(secret), made.key, classes_of(classes))
    ledger, blobs = made.folder / "ledger", made.folder / "blobs"
    packed = write_bundle(target, ledger, blobs, made.key.verifier, {}, Beside(hand=HAND), redaction, secret)
    return target, secret, packed


def assert_no_name(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = name.encode() + archive.read(name)
            for word in NAMES:
                assert word.encode() not in data.lower(), f"{word} in {name}"
                assert word.encode().hex().encode() not in data.lower()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return record(tmp_path_factory.mktemp("record") / "run")


def test_all_proofs_hold_and_no_name_is_there(made: Record) -> None:
    target, secret, packed = pack(made, "user,host,path,command,environment")
    assert packed.withheld == (5, 2)
    assert packed.payloads == 300
    assert secret.stat().st_mode & 0o777 == 0o600
    assert_no_name(target)
    code, said = check(target)
    assert code == 2
    assert "300 of 305 entries were hashed again, and the root is as signed" in said
    assert "300 payloads were read, each with the digest" in said
    assert "redaction, in the words of the log's key: 5 of 305 entries are withheld" in said
    assert "the seal of what ran is withheld, and shown like an entry: who signed it is not checked" in said
    assert "code-source-altered from step 7: path-" in said
    assert "its verdict is broken" in said
    assert said.splitlines()[-1] == "what is there holds, but 5 entries and 2 payloads are withheld"


@pytest.mark.parametrize(
    ("classes", "gone"),
    [
        ("user", ["zenobia"]),
        ("host", ["quux7"]),
        ("path", ["secretproj", "trainxy", "/home/zenobia"]),
        ("command", ["secretproj", "trainxy"]),
        ("user,host", ["zenobia", "quux7"]),
    ],
)
def test_each_kind_of_names_by_itself(made: Record, tmp_path: Path, classes: str, gone: list[str]) -> None:
    target, secret, _ = pack(made, classes, "one.zip")
    with zipfile.ZipFile(target) as archive:
        content = b"\n".join(archive.read(name) for name in archive.namelist() if name != "custody")
    assert [word for word in gone if word.encode() in content] == []
    assert check(target)[0] == 2
    assert "made whole" in " ".join(verify_bundle(target, None, None, [], None, secret)[0])


def test_the_key_file_makes_entries_whole(made: Record) -> None:
    target, secret, _ = pack(made)
    assert_no_name(target)
    said, lacking = verify_bundle(target, None, None, [], None, secret)
    assert "withheld entries were made whole with it, each with its hash in the tree" in " ".join(said)
    assert any(one.endswith('stands for "zenobia"') for one in said)
    assert any(one.endswith('stands for "quux7"') for one in said)
    assert lacking


def test_the_seal_is_shown_and_made_whole(made: Record, tmp_path: Path) -> None:
    target, secret, _ = pack(made)
    with zipfile.ZipFile(target) as archive:
        (shown,) = json.loads(archive.read(MEMBER))["redaction"]["seals"].values()
    assert shown["predicate"]["user"].startswith("person-")

    def lie(members: dict[str, bytes]) -> None:
        document = told(members)
        seals = redaction_of(document)["seals"]
        assert isinstance(seals, dict)
        seals["302"] = {"predicate": {"user": "nobody"}}
        sign(document, made.key)
        members[MEMBER] = encode(document)
        del members["custody"]

    lied = edited(target, tmp_path / "lied.zip", lie)
    with pytest.raises(
        VerificationError, match="the seal that is shown of entry 302 is not what was recorded"
    ):
        verify_bundle(lied, None, None, [], None, secret)


def test_pseudonyms_are_those_of_the_key_file(made: Record) -> None:
    """The same file, the same pseudonyms; another one, others."""

    def person(path: Path) -> str:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read(MEMBER))["redaction"]["entries"]["0"]["user"])

    first, second = pack(made, name="1.zip")[0], pack(made, name="2.zip")[0]
    assert person(first) == person(second)
    (made.folder / "names.key").unlink()
    assert person(pack(made, name="3.zip")[0]) != person(first)


def test_a_name_cannot_be_tried_out_against_the_hash(made: Record) -> None:
    target, _, _ = pack(made)
    with zipfile.ZipFile(target) as archive:
        shown = json.loads(archive.read(MEMBER))["redaction"]["entries"]["0"]
        tile = archive.read("ledger/tile/entries/000")
    assert tile[2:3] == b"\0"
    guess = {**shown, "user": "zenobia", "uid": 4711, "host": "quux7", "folder": "/home/zenobia"}
    guess["command"] = ["python", "/home/zenobia/secretproj/trainxy.py"]
    assert leaf_hash(encode(guess)) != tile[3:35]
    assert guess["salt"].startswith("salt-")


def test_records_without_salts_are_shown_in_outline(tmp_path: Path) -> None:
    old = record(tmp_path / "run", salted=False)
    target, secret, packed = pack(old, "user,host,path,command")
    assert packed.withheld == (5, 2)
    assert_no_name(target)
    code, said = check(target)
    assert code == 2, said
    assert "5 of them are shown in outline only" in said
    assert "it has a finding: code-source-altered from step 7: withheld" in said
    assert "made whole" in " ".join(verify_bundle(target, None, None, [], None, secret)[0])


def told(members: dict[str, bytes]) -> dict[str, Json]:
    value = decode(members[MEMBER].rstrip(b"\n"))
    assert isinstance(value, dict)
    return value


def sign(document: dict[str, Json], key: SigningKey) -> None:
    signature = key.sign(b"veracity-redaction/v1\n" + encode(document["redaction"]))
    document["signature"] = base64.b64encode(signature).decode()


def redaction_of(document: dict[str, Json]) -> dict[str, Json]:
    inner = document["redaction"]
    assert isinstance(inner, dict)
    return inner


def test_what_is_shown_is_signed_and_bound_to_its_head(made: Record, tmp_path: Path) -> None:
    target, _, _ = pack(made)

    def other_words(members: dict[str, bytes]) -> None:
        members[MEMBER] = members[MEMBER].replace(b"code-source-altered", b"code-source-trusted")

    def other_head(members: dict[str, bytes]) -> None:
        document = told(members)
        redaction_of(document)["head"] = "log.example/run\n9\n"
        members[MEMBER] = encode(document)

    def left_out(members: dict[str, bytes]) -> None:
        del members[MEMBER]

    for number, (change, expected) in enumerate([(other_words, 1), (other_head, 1), (left_out, 2)]):
        code, said = check(edited(target, tmp_path / f"{number}.zip", change))
        assert code == expected, said


def test_a_shown_entry_that_was_never_recorded_is_found_out(made: Record, tmp_path: Path) -> None:
    """Whoever has the log's key can show anything: until somebody has the key file."""
    target, secret, _ = pack(made)

    def lie(members: dict[str, bytes]) -> None:
        document = told(members)
        inner = redaction_of(document)
        entries = inner["entries"]
        assert isinstance(entries, dict)
        shown = entries["304"]
        assert isinstance(shown, dict)
        shown["outcome"] = "held"
        sign(document, made.key)
        members[MEMBER] = encode(document)
        del members["custody"]

    lied = edited(target, tmp_path / "lied.zip", lie)
    code, said = check(lied)
    assert (code, "its verdict is held" in said) == (2, True)
    with pytest.raises(VerificationError, match="entry 304 is not what was recorded"):
        verify_bundle(lied, None, None, [], None, secret)


def test_nothing_is_shown_that_is_not_withheld(made: Record, tmp_path: Path) -> None:
    target, secret, _ = pack(made)

    def more(members: dict[str, bytes]) -> None:
        document = told(members)
        entries = redaction_of(document)["entries"]
        assert isinstance(entries, dict)
        entries["305"] = {"k": "judged", "outcome": "held"}
        sign(document, made.key)
        members[MEMBER] = encode(document)
        del members["custody"]

    with pytest.raises(VerificationError, match="more or less is shown"):
        verify_bundle(edited(target, tmp_path / "more.zip", more), None, None, [], None, secret)


def test_an_entry_replaced_by_another_hash_does_not_hold(made: Record, tmp_path: Path) -> None:
    target, _, _ = pack(made)

    def other(members: dict[str, bytes]) -> None:
        tile = members["ledger/tile/entries/000"]
        members["ledger/tile/entries/000"] = tile[:3] + bytes(32) + tile[35:]

    code, said = check(edited(target, tmp_path / "other.zip", other))
    assert (code, "the root over the 305 entries" in said) == (1, True)


def test_another_key_file_or_one_for_all_to_read(made: Record, tmp_path: Path) -> None:
    target, secret, _ = pack(made)
    other = KeyFile.load_or_new(tmp_path / "other.key")
    other.save(tmp_path / "other.key")
    with pytest.raises(EvidenceError, match="does not know all that is withheld"):
        verify_bundle(target, None, None, [], None, tmp_path / "other.key")
    forged = KeyFile.load(secret)
    token = next(one for one, name in forged.names.items() if name == "zenobia")
    forged.names[token] = "somebody else"
    forged.save(tmp_path / "forged.key")
    with pytest.raises(VerificationError, match="does not stand for"):
        verify_bundle(target, None, None, [], None, tmp_path / "forged.key")
    shutil.copy(secret, tmp_path / "open.key")
    (tmp_path / "open.key").chmod(0o644)
    with pytest.raises(UsageError, match="can be used by others"):
        verify_bundle(target, None, None, [], None, tmp_path / "open.key")
    for content in (b"{}", b"x", b'{"entries":{},"key":"?","names":{},"schema":1}'):
        (tmp_path / "bad.key").write_bytes(content)
        (tmp_path / "bad.key").chmod(0o600)
        with pytest.raises(EvidenceError):
            KeyFile.load(tmp_path / "bad.key")


def test_a_bundle_that_is_not_redacted_needs_no_key_file(made: Record) -> None:
    _, secret, _ = pack(made)
    with pytest.raises(EvidenceError, match="nothing in this bundle is redacted"):
        verify_bundle(made.pack(), None, None, [], None, secret)


def test_who_packed_it_is_behind_a_pseudonym_too(made: Record) -> None:
    target, _, _ = pack(made)
    with zipfile.ZipFile(target) as archive:
        line = json.loads(archive.read("custody"))["entry"]
    assert line["by"].startswith("person-")
    assert line["host"].startswith("host-")
    assert "zenobia" not in line["note"]


def test_classes(made: Record) -> None:
    assert classes_of("all") == list(CLASSES)
    assert classes_of("user, host") == ["user", "host"]
    for wrong in ("", "everything", "user,all"):
        with pytest.raises(UsageError):
            Redaction.of(KeyFile(bytes(32)), made.key, classes_of(wrong))
