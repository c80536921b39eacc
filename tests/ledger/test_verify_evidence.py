"""The third party's program and witnesses: what it counts, and that it never fails in a way of its own."""

from __future__ import annotations

import functools
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.test_bundle import FIRST, Record, check, edited, make
from tests.ledger.witness.test_cosigned import SIGNERS, needing, seen
from tests.ledger.witness.test_policy import KEYS, LOG, policies
from tests.ledger.witness.test_policy import SIGNERS as POLICY_SIGNERS
from veracity.core.errors import VerificationError
from veracity.ledger import verify_evidence
from veracity.ledger.bundle import Beside, write_bundle
from veracity.ledger.keys import SigningKey
from veracity.ledger.note import parse_note
from veracity.ledger.reader import Reader
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.cosignature import WitnessKey, cosign
from veracity.ledger.witness.policy import Policy, PolicyLog, PolicyWitness

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
AT = 1_700_000_000
Change = Callable[[dict[str, bytes]], object]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return make(tmp_path_factory.mktemp("record") / "run", entries=3)


def head_of(record: Record) -> TreeHead:
    with Reader(record.folder / "ledger") as reader:
        return reader.tree_head


def pack(record: Record, target: Path, policy: Policy | None, *signers: SigningKey) -> Path:
    heads = [seen(head_of(record), one) for one in signers]
    beside = Beside(heads, policy)
    write_bundle(target, record.folder / "ledger", record.folder / "blobs", record.key.verifier, {}, beside)
    return target


def test_cosignatures_in_the_bundle_are_checked(record: Record, tmp_path: Path) -> None:
    packed = pack(record, tmp_path / "case.zip", needing(2), *SIGNERS[:2])
    code, said = check(packed)
    assert code == 0, said
    lines = said.splitlines()
    assert lines[4:8] == [
        "  5. the witness policy in the bundle is taken",
        "  6. w0.example had seen this head by 2023-11-14 22:13:20 UTC",
        "  7. w1.example had seen this head by 2023-11-14 22:13:20 UTC",
        "  8. for it, 2 witnesses are enough",
    ]


def test_one_signature_too_few(record: Record, tmp_path: Path) -> None:
    """By the bundle's own policy something is lacking; by the reader's it does not hold."""
    packed = pack(record, tmp_path / "case.zip", needing(2), SIGNERS[0])
    code, said = check(packed)
    assert (code, "but for its witness policy, too few have cosigned" in said) == (2, True)
    (tmp_path / "mine").write_bytes(needing(2).encode())
    code, said = check(packed, "--witness-policy", tmp_path / "mine")
    assert (code, "DOES NOT HOLD: for the witness policy, too few" in said) == (1, True)
    (tmp_path / "mine").write_bytes(needing(1).encode())
    assert check(packed, "--witness-policy", tmp_path / "mine")[0] == 0


def test_the_packers_policy_is_not_the_readers(record: Record, tmp_path: Path) -> None:
    """Whoever rewrote the record packs a policy that asks nobody."""
    packed = pack(record, tmp_path / "case.zip", Policy("none"))
    code, said = check(packed)
    assert (code, "for it, 0 witnesses are enough" in said) == (0, True)
    (tmp_path / "mine").write_bytes(needing(1).encode())
    assert check(packed, "--witness-policy", tmp_path / "mine")[0] == 1


def add(line: bytes) -> Change:
    return lambda members: members.update({"ledger/checkpoint": members["ledger/checkpoint"] + line})


def line_of(head: TreeHead, signer: SigningKey) -> bytes:
    return cosign(parse_note(head.signed).text, AT, signer).encode()


def test_what_does_not_count(record: Record, tmp_path: Path) -> None:
    packed = pack(record, tmp_path / "case.zip", needing(2), SIGNERS[0])
    head = head_of(record)
    other = TreeHead.sign("log.example/other", head.size, head.root, record.key)
    older = TreeHead.sign(head.origin, head.size - 1, head.root, record.key)
    fork = TreeHead.sign(head.origin, head.size, bytes(32), record.key)
    good = line_of(head, SIGNERS[1])
    name, value = good.split(b" ")[1:]
    lines = {
        "w0 once more": line_of(head, SIGNERS[0]),
        "of another log": line_of(other, SIGNERS[1]),
        "of an older head": line_of(older, SIGNERS[1]),
        "of a fork": line_of(fork, SIGNERS[1]),
        "of a stranger": line_of(head, SigningKey.generate("w1.example")),
        "as a log signs": TreeHead.sign(head.origin, head.size, head.root, SIGNERS[1]).signed.splitlines(
            True
        )[-1],
        "under another key's id": b" ".join([b"\xe2\x80\x94", name, b"AAAAA" + value[5:]]),
        "under another name": good.replace(b"w1.example", b"w2.example"),
        "of another time": b" ".join([b"\xe2\x80\x94", name, value[:12] + b"AAAA" + value[16:]]),
    }
    for case, line in lines.items():
        code, said = check(edited(packed, tmp_path / "edited.zip", add(line)))
        assert (code, "too few" in said) == (2, True), (case, said)
    assert check(edited(packed, tmp_path / "edited.zip", add(good)))[0] == 0


def test_one_witness_under_two_names_is_not_two(record: Record, tmp_path: Path) -> None:
    packed = pack(record, tmp_path / "case.zip", needing(1), SIGNERS[0])
    key = WitnessKey(SIGNERS[0].verifier).vkey
    for policy in (
        f"witness a {key}\nwitness b {key}\ngroup g 2 a b\nquorum g\n",
        f"witness a {key}\ngroup g 2 a a\nquorum g\n",
        f"witness a {key}\ngroup g any a\ngroup h 2 a g\nquorum h\n",
    ):
        (tmp_path / "mine").write_text(policy)
        code, said = check(packed, "--witness-policy", tmp_path / "mine")
        assert (code, "counts somebody twice" in said) == (2, True), said
    (tmp_path / "mine").write_text(f"witness a {key}\ngroup g 0 a none\nquorum g\n")
    assert check(packed, "--witness-policy", tmp_path / "mine")[0] == 2
    stranger = WitnessKey(SIGNERS[1].verifier).vkey
    (tmp_path / "mine").write_text(f"witness a {stranger}\ngroup g 0 a\nquorum g\n")
    assert check(packed, "--witness-policy", tmp_path / "mine")[0] == 1


def test_a_policy_about_other_logs(record: Record, tmp_path: Path) -> None:
    policy = replace(needing(1), logs=(PolicyLog(LOG),))
    with pytest.raises(VerificationError, match="not about the log"):
        pack(record, tmp_path / "case.zip", policy, SIGNERS[0])
    packed = pack(record, tmp_path / "case.zip", needing(1), SIGNERS[0])
    (tmp_path / "mine").write_bytes(policy.encode())
    code, said = check(packed, "--witness-policy", tmp_path / "mine")
    assert (code, "about other logs" in said) == (1, True)
    ours = replace(policy, logs=(PolicyLog(LOG), PolicyLog(record.key.verifier)))
    (tmp_path / "mine").write_bytes(ours.encode())
    assert check(packed, "--witness-policy", tmp_path / "mine")[0] == 0


def test_a_fork_that_a_witness_has_seen_is_not_packed(record: Record, tmp_path: Path) -> None:
    head = head_of(record)
    fork = seen(TreeHead.sign(head.origin, head.size, bytes(32), record.key), SIGNERS[0])
    with pytest.raises(VerificationError, match="another record"):
        write_bundle(
            tmp_path / "case.zip",
            record.folder / "ledger",
            record.folder / "blobs",
            record.key.verifier,
            {},
            Beside([fork], needing(1)),
        )
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(policies(), st.data())
def test_both_readers_of_policies_agree(policy: Policy, data: st.DataObject) -> None:
    """The program and the library decide alike, whatever the policy and whoever has signed."""
    policy = replace(policy, logs=())
    some = data.draw(st.lists(st.sampled_from(range(len(KEYS))), unique=True))
    head = TreeHead.sign("log.example/run", 3, bytes(32), SIGNERS[0])
    text, _, _ = head.signed.decode().rpartition("\n\n")
    lines = "".join(cosign(text + "\n", AT, POLICY_SIGNERS[at]) for at in some)
    names = {one.name for one in policy.witnesses if one.key in [KEYS[at] for at in some]}
    decided = verify_evidence.witnessed(policy.encode(), b"", text + "\n", lines, [])
    assert decided is policy.is_reached(names)


def test_policies_that_the_program_refuses(record: Record, tmp_path: Path) -> None:
    packed = pack(record, tmp_path / "case.zip", needing(1), SIGNERS[0])
    key = WitnessKey(SIGNERS[0].verifier).vkey
    for policy in (
        "",
        "quorum a\n",
        "quorum none\nquorum none\n",
        f"quorum a\nwitness a {key}\n",
        f"witness a {key}\nwitness a {WitnessKey(SIGNERS[1].verifier).vkey}\nquorum a\n",
        f"witness none {key}\nquorum none\n",
        f"witness a {record.key.verifier.vkey}\nquorum a\n",
        f"witness a {key}\ngroup g x a\nquorum g\n",
        f"witness a {key} u v\nquorum a\n",
        "nonsense\nquorum none\n",
        f"witness a {PolicyWitness('a', KEYS[0]).key.vkey[:-4]}\nquorum none\n",
    ):
        (tmp_path / "mine").write_text(policy)
        code, said = check(packed, "--witness-policy", tmp_path / "mine")
        assert (code, "could not be checked" in said) == (2, True), policy


# --- archives made to break it --------------------------------------------------------------------------


def run(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["verify_evidence.py", str(path)])
    return verify_evidence.main()


def test_damaged_archives_give_an_answer(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte changed anywhere: nothing but an answer comes out, and no content that differs holds."""
    packed = pack(record, tmp_path / "case.zip", needing(1), SIGNERS[0]).read_bytes()
    draw = random.Random(7)
    held = 0
    for _ in range(100):
        at = draw.randrange(len(packed))
        other = bytes([packed[at] ^ draw.randrange(1, 256)])
        (tmp_path / "damaged.zip").write_bytes(packed[:at] + other + packed[at + 1 :])
        code = run(tmp_path / "damaged.zip", monkeypatch)
        assert ("holds" in capsys.readouterr().out) is (code == 0) or code
        held += code == 0
    assert held < 100


def test_other_ways_to_compress(record: Record, tmp_path: Path) -> None:
    """Their readers may be asked for gigabytes before a byte comes out."""
    packed = pack(record, tmp_path / "case.zip", None)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("note", b"x")
    code, said = check(packed)
    assert (code, "compressed in a way" in said) == (2, True)


def test_a_bundle_of_many_bombs(record: Record, tmp_path: Path) -> None:
    """Each within what one may have: what they would take is added up before anything is unpacked."""
    packed = pack(record, tmp_path / "case.zip", None)
    with zipfile.ZipFile(tmp_path / "bombs.zip", "w") as archive:
        for at in range(20):
            archive.writestr(f"ledger/tile/entries/x{at:03}/000", b"")
        for one in archive.infolist():
            one.file_size = 200 << 20
        with zipfile.ZipFile(packed) as source:
            for name in source.namelist():
                archive.writestr(name, source.read(name))
    code, said = check(tmp_path / "bombs.zip")
    assert (code, "more entries than can be read" in said) == (2, True), said


@pytest.mark.parametrize("name", [FIRST.replace("000", "000.p/6"), "ledger/checkpoint", "ledger.vkey"])
def test_members_that_are_not_what_they_should_be(record: Record, tmp_path: Path, name: str) -> None:
    packed = pack(record, tmp_path / "case.zip", None)
    for junk in (b"", b"\xff\xfe", b"[" * 100_000, b"\n\n", b"{}", b"a+b+c"):
        put = functools.partial(dict.update, **{name: junk})
        code, said = check(edited(packed, tmp_path / "junk.zip", put))
        assert code in (1, 2), (junk[:9], said)
