"""Custody logs: each line follows the one before, is about these members, and says whether it is signed."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.test_bundle import Record, check, edited, make
from veracity.core.digest import Digest
from veracity.core.errors import EvidenceError, ResourceLimitError, UsageError, VerificationError
from veracity.ledger.bundle import Beside, write_bundle
from veracity.ledger.custody import (
    MAX_LINES,
    MAX_WORD,
    MEMBER,
    Hand,
    Handling,
    add_line,
    content_of,
    read_lines,
    verify_custody,
)
from veracity.ledger.handover import hand_on, verify_bundle
from veracity.ledger.keys import SigningKey

KEY = SigningKey.generate("desk.example")
CONTENT = Digest.of(b"content")
PACKING = Handling("packed", "uid 1000 (worker)", "node-1", 1_700_000_000_000_000_000)
HANDING = Handling("handed on", "uid 7 (desk)", "desk", 1_700_000_100_000_000_000, "the auditor", "agreed")


def log(*hands: Hand, content: Digest = CONTENT) -> bytes:
    data = b""
    for hand in hands:
        data = add_line(data, hand, content)
    return data


def test_who_did_what_is_told() -> None:
    data = log(Hand(PACKING, None), Hand(HANDING, KEY))
    assert verify_custody(data, CONTENT) == [
        "packed at 2023-11-14 22:13:20 UTC by uid 1000 (worker) on node-1, as they say; which nobody signed",
        "handed on to the auditor at 2023-11-14 22:15:00 UTC by uid 7 (desk) on desk (agreed), as they say;"
        f" signed by a key that you did not name: {KEY.verifier.vkey}",
    ]
    assert "signed by the key that you know" in verify_custody(data, CONTENT, [KEY.verifier])[1]
    assert verify_custody(b"", CONTENT) == []


def lines_of(data: bytes) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in data.splitlines()]


def joined(lines: list[dict[str, dict[str, object]]]) -> bytes:
    return b"".join(json.dumps(one, sort_keys=True, separators=(",", ":")).encode() + b"\n" for one in lines)


def test_lines_that_were_changed_do_not_hold() -> None:
    data = log(Hand(PACKING, KEY), Hand(HANDING, KEY), Hand(PACKING, None))
    verify_custody(data, CONTENT)
    for number, word, value in ((0, "by", "another"), (1, "to", "another"), (0, "at", 1), (1, "note", "")):
        lines = lines_of(data)
        lines[number]["entry"][word] = value
        with pytest.raises(VerificationError, match="does not hold"):
            verify_custody(joined(lines), CONTENT)
    lines = lines_of(data)
    for order in ([1, 2], [0, 2], [1, 0, 2], [0, 0, 1, 2], [2]):
        with pytest.raises(VerificationError, match="does not follow"):
            verify_custody(joined([lines[at] for at in order]), CONTENT)
    lines[2]["entry"]["by"] = "another"  # nobody signed it: that is what its mark says
    verify_custody(joined(lines), CONTENT)


def test_what_the_last_one_can_do_is_known() -> None:
    """Lines at the end can be left out: only those who kept a later copy see it."""
    data = log(Hand(PACKING, KEY), Hand(HANDING, KEY))
    assert len(verify_custody(joined(lines_of(data)[:1]), CONTENT)) == 1


def test_another_contents_log_does_not_hold() -> None:
    data = log(Hand(PACKING, KEY))
    with pytest.raises(VerificationError, match="other contents"):
        verify_custody(data, Digest.of(b"other"))


def test_a_signature_is_the_named_keys() -> None:
    lines = lines_of(log(Hand(PACKING, KEY)))
    other = SigningKey.generate("desk.example").verifier.vkey
    with pytest.raises(VerificationError):
        verify_custody(joined([{**lines[0], "key": other}]), CONTENT)  # type: ignore[dict-item]
    # A signature over the same bytes for another purpose is none here.
    elsewhere = SigningKey("log.example", KEY._private).sign(json.dumps(lines[0]["entry"]).encode())
    with pytest.raises(VerificationError):
        verify_custody(joined([{**lines[0], "signature": elsewhere.hex()[:88]}]), CONTENT)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "data",
    [
        b"x\n",
        b"[]\n",
        b"{}\n",
        b'{"entry":{}}\n',
        b'{"entry":{},"self_reported":true}\n',
        b'{"entry":{},"self_reported":false}\n',
        b"\n",
    ],
)
def test_what_is_no_custody_log(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        read_lines(data)


def test_lines_without_a_mark_or_with_more() -> None:
    (signed,) = lines_of(log(Hand(PACKING, KEY)))
    (word,) = lines_of(log(Hand(PACKING, None)))
    for line in (
        {**signed, "self_reported": True},
        {**word, "self_reported": False},
        {**word, "more": 1},
        {"entry": word["entry"]},
        {**signed, "key": 1},
        {**signed, "signature": None},
        {**word, "entry": {**word["entry"], "at": -1}},
        {**word, "entry": {**word["entry"], "at": True}},
        {**word, "entry": {**word["entry"], "at": 1 << 62}},
        {**word, "entry": {**word["entry"], "by": 7}},
        {**word, "entry": {**word["entry"], "by": "a\nb"}},
        {**word, "entry": {**word["entry"], "content": "sha256:0"}},
        {**word, "entry": {**word["entry"], "previous": None}},
        {**word, "entry": {**word["entry"], "more": ""}},
    ):
        with pytest.raises(EvidenceError):
            verify_custody(joined([line]), CONTENT)  # type: ignore[list-item]
    with pytest.raises(EvidenceError, match="cut off"):
        read_lines(log(Hand(PACKING, KEY))[:-1])


def test_limits() -> None:
    data = log(*[Hand(PACKING, None)] * MAX_LINES)
    with pytest.raises(ResourceLimitError):
        add_line(data, Hand(PACKING, None), CONTENT)
    with pytest.raises(ResourceLimitError):
        read_lines(data + data)
    for word in ("x" * (MAX_WORD + 1), "a\nb", "\x1b[2J"):
        with pytest.raises(UsageError):
            replace(PACKING, to=word)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)


@given(WORDS, WORDS, WORDS, st.integers(0, 2**62 - 1), st.booleans())
def test_a_line_is_read_as_it_was_written(by: str, to: str, note: str, at: int, signed: bool) -> None:
    handling = Handling("handed on", by, "h", at, to, note)
    (line,) = read_lines(log(Hand(handling, KEY if signed else None)))
    assert line.handling == handling
    assert (line.signer is not None) is signed


@given(st.binary(max_size=200))
def test_whatever_is_read_is_a_log_or_refused(data: bytes) -> None:
    for text in (data, data + b"\n", log(Hand(PACKING, KEY)) + data + b"\n"):
        try:
            verify_custody(text, CONTENT)
        except (EvidenceError, VerificationError):
            continue


def test_contents_have_one_name() -> None:
    members = {"a": b"1" * 32, "b/c": b"2" * 32}
    assert content_of(members) == content_of(dict(reversed(members.items())))
    assert content_of({**members, MEMBER: b"3" * 32}) == content_of(members)
    for other in ({"a": b"1" * 32}, {**members, "a": b"2" * 32}, {**members, "d": b"1" * 32}):
        assert content_of(other) != content_of(members)


# --- bundles that are handed on -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return make(tmp_path_factory.mktemp("record") / "run", entries=3)


@pytest.fixture
def packed(record: Record, tmp_path: Path) -> Path:
    hand = Hand(PACKING, record.key)
    target = tmp_path / "case.zip"
    beside = Beside(hand=hand)
    write_bundle(target, record.folder / "ledger", record.folder / "blobs", record.key.verifier, {}, beside)
    return target


def test_a_bundle_is_handed_on(record: Record, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(record.key.verifier.vkey)
    first, second = tmp_path / "2.zip", tmp_path / "3.zip"
    assert len(hand_on(packed, first, Hand(HANDING, None))) == 1
    assert len(hand_on(first, second, Hand(HANDING, KEY))) == 2
    assert second.stat().st_mode & 0o777 == 0o600
    said, lacking = verify_bundle(second, tmp_path / "key", None, [record.key.verifier])
    assert lacking == []
    assert "signed by the key that you know" in said[-3]
    assert "which nobody signed" in said[-2]
    assert "signed by a key that you did not name" in said[-1]
    code, text = check(second)
    assert code == 0
    assert text.count("custody, not checked here: {") == 3
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(second) as new:
        for name in old.namelist():
            assert (old.read(name) == new.read(name)) is (name != MEMBER)


def test_a_bundle_that_was_changed_on_the_way(packed: Path, tmp_path: Path) -> None:
    """A member that nothing else checks was changed: its custody log is about another."""
    changed = edited(
        packed, tmp_path / "x.zip", lambda members: members.update({"README.txt": b"believe me"})
    )
    assert check(changed)[0] == 0
    with pytest.raises(VerificationError, match="other contents"):
        verify_bundle(changed, None, None, [])
    with pytest.raises(VerificationError, match="other contents"):
        hand_on(changed, tmp_path / "y.zip", Hand(HANDING, None))
    assert not (tmp_path / "y.zip").exists()


def test_a_bundle_without_a_custody_log(packed: Path, tmp_path: Path) -> None:
    bare = edited(packed, tmp_path / "x.zip", lambda members: members.pop(MEMBER))
    said, _ = verify_bundle(bare, None, None, [])
    assert said[-1] == "the bundle has no custody log"
    assert hand_on(bare, tmp_path / "y.zip", Hand(HANDING, None)) == []


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(EvidenceError):
        verify_bundle(tmp_path / "x.zip", None, None, [])


def test_a_bundle_that_does_not_hold(packed: Path, tmp_path: Path) -> None:
    name = "ledger/tile/entries/000.p/6"

    def change(members: dict[str, bytes]) -> None:
        members[name] = members[name].replace(b'"seq":1', b'"seq":2')

    with pytest.raises(VerificationError, match="root"):
        verify_bundle(edited(packed, tmp_path / "x.zip", change), None, None, [])
    (tmp_path / "key").write_text(KEY.verifier.vkey)
    with pytest.raises(VerificationError, match=r"no signature of desk\.example"):
        verify_bundle(packed, tmp_path / "key", None, [])
