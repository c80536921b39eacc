"""The log of approvals: what is taken in, and what cannot be taken out unseen."""

from __future__ import annotations

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.seal.approving import Approving
from veracity.core.approval import TOLERANCE, Why, Word
from veracity.core.canonical import Json, encode
from veracity.core.digest import Digest
from veracity.core.errors import Error, EvidenceError, UsageError, VerificationError
from veracity.core.policy import SECOND
from veracity.ledger.entry import Entry
from veracity.ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from veracity.ledger.store import Ledger
from veracity.seal.approvals import (
    APPROVAL_TYPE,
    ORIGIN,
    add_to_log,
    log_folder,
    read_approval,
    read_log,
    sign_approval,
    sign_revocation,
)
from veracity.seal.sign import sign_statement, statement, unverified_statement, verify_envelope


@pytest.fixture
def made(tmp_path: Path) -> Approving:
    return Approving.made(tmp_path)


def test_two_approvals_make_a_seal_approved(made: Approving) -> None:
    assert made.stands().word is Word.NOT_APPROVED
    made.approve("lead")
    assert made.stands().word is Word.NOT_APPROVED
    made.approve("second")
    assert made.stands().word is Word.APPROVED
    assert made.stands(made.seal()).word is Word.NOT_APPROVED, "another seal of the same files"


def test_an_approval_is_a_statement_that_others_can_check(made: Approving) -> None:
    envelope = made.envelope("lead")
    verify_envelope(envelope, made.keys["lead"].verifier, APPROVAL_TYPE)
    value = unverified_statement(envelope, APPROVAL_TYPE)
    assert value["subject"] == [
        {"name": made.folder.seal, "digest": {"sha256": made.sealed().digest.removeprefix("sha256:")}}
    ]


def test_a_forged_approval_is_not_taken_in(made: Approving) -> None:
    good = json.loads(made.envelope("lead"))
    payload = base64.b64decode(good["payload"]).replace(b'"reason":""', b'"reason":"x"')
    forged = encode({**good, "payload": base64.b64encode(payload).decode()})
    for take in (
        lambda: add_to_log(made.home, made.own, "approval", forged, time.time_ns()),
        lambda: read_approval(forged, time.time_ns()),
    ):
        with pytest.raises(VerificationError, match="signature does not hold"):
            take()
    assert read_log(made.home, made.own.verifier).size == 0


def test_another_key_in_somebodys_name_counts_for_nothing(made: Approving) -> None:
    """Whoever has the home's key writes an entry himself, with a key of his own, in the lead's name."""
    thief = SigningKey.generate("lead")
    predicate = unverified_statement(made.envelope("lead"), APPROVAL_TYPE)
    said = predicate["predicate"]
    assert isinstance(said, dict)
    sealed = made.sealed()
    for key in (thief.verifier.vkey, made.keys["lead"].verifier.vkey):
        payload = statement(sealed.seal, Digest.parse(sealed.digest), {**said, "key": key}, APPROVAL_TYPE)
        envelope = sign_statement(payload, thief)
        with_ledger(made, envelope)
    made.approve("second")
    found = made.stands()
    assert [why for _, why in found.judged] == [Why.STRANGER, Why.FORGED, Why.COUNTS]
    assert found.word is Word.NOT_APPROVED
    made.approve("lead")
    assert made.stands().word is Word.APPROVED


def with_ledger(made: Approving, envelope: bytes) -> None:
    """Append without asking whether it holds."""
    folder = log_folder(made.home)
    if not folder.exists():
        Ledger.create(folder, ORIGIN, made.own).close()
    with Ledger.open(folder, made.own) as ledger:
        body: dict[str, Json] = {"at": time.time_ns(), "envelope": envelope.decode()}
        ledger.append(Entry("approval", body).encode())


def test_a_policy_that_was_edited_makes_approvals_fall(made: Approving) -> None:
    made.write_policy(needed=2)
    made.approve("lead")
    made.write_policy(needed=1)
    assert made.stands().word is Word.FALLEN, "one approval does not become enough by an edit"
    made.write_policy(needed=2)
    made.approve("second")
    assert made.stands().word is Word.APPROVED
    path = made.home / "veracity.toml"
    path.write_text("# a comment\n" + path.read_text())
    assert made.stands().word is Word.APPROVED
    made.write_policy(top='expires = "9d"')
    assert made.stands().word is Word.FALLEN


def test_an_approval_expires(made: Approving) -> None:
    made.approve("lead", "second", expires_at=time.time_ns() + 3600 * SECOND)
    assert made.stands().word is Word.APPROVED
    made.approve("second", expires_at=time.time_ns() - 1)
    assert made.stands().word is Word.APPROVED, "a worse one takes nothing away"


def test_one_that_expired_does_not_count(made: Approving) -> None:
    made.approve("lead", expires_at=time.time_ns() + 3600 * SECOND)
    made.approve("second", expires_at=time.time_ns() - 1)
    assert made.stands().word is Word.EXPIRED


def revoke(made: Approving, whom: str, by: str, since: int) -> None:
    now = time.time_ns()
    envelope = sign_revocation(
        made.keys[by], made.principal(by), made.policy, made.principal(whom), since=since, at=now
    )
    add_to_log(made.home, made.own, "revocation", envelope, now)


def test_a_revocation_fells_by_its_date(made: Approving) -> None:
    made.approve("lead", "second")
    revoke(made, "lead", "security", time.time_ns())
    assert made.stands().word is Word.APPROVED, "approved before"
    revoke(made, "lead", "lead", read_log(made.home, made.own.verifier).approvals[0].at)
    assert made.stands().word is Word.FALLEN
    made.approve("lead")
    assert made.stands().word is Word.FALLEN, "the key is dead"


def test_who_may_revoke(made: Approving) -> None:
    with pytest.raises(UsageError, match="does not let second revoke others"):
        revoke(made, "lead", "second", 0)
    revoke(made, "second", "second", 0)
    assert len(read_log(made.home, made.own.verifier).revocations) == 1


def test_what_could_not_count_is_not_signed(made: Approving) -> None:
    sealed, policy, lead = made.sealed(), made.policy, made.principal("lead")
    now = time.time_ns()
    with pytest.raises(UsageError, match="no part 'data'"):
        made.envelope("lead", parts=["data"])
    with pytest.raises(UsageError, match="does not let security approve 'code'"):
        made.envelope("security")
    with pytest.raises(UsageError, match="approve no part"):
        made.envelope("lead", parts=[])
    with pytest.raises(UsageError, match="at most 1000"):
        sign_approval(made.keys["lead"], lead, policy, sealed, ["code"], at=now, reason="x" * 1001)
    made.write_policy(top='expires = "1d"')
    with pytest.raises(UsageError, match="for so long"):
        made.envelope("lead", at=now, expires_at=now + 86401 * SECOND)
    made.envelope("lead", at=now, expires_at=now + 86400 * SECOND)


def test_the_maker_cannot_approve(made: Approving) -> None:
    made.keys["lead"] = made.own
    made.write_policy()
    with pytest.raises(UsageError, match="lead made this seal"):
        made.envelope("lead")
    made.write_policy(top="own = true")
    made.approve("lead", "second")
    assert made.stands().word is Word.APPROVED


fields: st.SearchStrategy[Any] = (
    st.none() | st.integers(-1, 2**62) | st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=2)
)
LEAD = SigningKey.generate("lead")
GOOD: dict[str, Any] = {
    "schema": 1,
    "seal": "seal-1",
    "parts": ["code"],
    "policy": "sha256:00",
    "principal": "lead",
    "key": LEAD.verifier.vkey,
    "at": 1,
    "expires_at": None,
    "reason": "",
}


@given(
    st.dictionaries(st.sampled_from(sorted(GOOD)), fields, max_size=3),
    st.sets(st.sampled_from(sorted(GOOD)), max_size=1),
)
def test_any_signed_statement_is_an_approval_or_an_error(more: dict[str, Any], less: set[str]) -> None:
    predicate = {name: value for name, value in {**GOOD, **more}.items() if name not in less}
    payload = statement("seal-1", Digest("sha256", "a" * 64), predicate, APPROVAL_TYPE)
    try:
        found = read_approval(sign_statement(payload, LEAD), 5)
    except (EvidenceError, VerificationError):
        assert more or less
        return
    assert found.holds
    assert (found.digest, found.seal, found.at) == ("sha256:" + "a" * 64, "seal-1", 5)


@given(st.data())
def test_no_changed_byte_leaves_an_approval_good(data: st.DataObject) -> None:
    payload = statement("seal-1", Digest("sha256", "a" * 64), GOOD, APPROVAL_TYPE)
    good = sign_statement(payload, LEAD)
    was = read_approval(good, 5)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    try:
        # What nobody signed may change (the key's id): what was said may not.
        assert read_approval(changed, 5) == was
    except (EvidenceError, VerificationError):
        pass


# --- the log itself ---------------------------------------------------------------------------------------


def test_what_was_taken_out_of_the_log_is_noticed(made: Approving) -> None:
    made.approve("lead", "second")
    folder = log_folder(made.home)
    before = made.home / "before"
    shutil.copytree(folder, before)
    revoke(made, "lead", "security", 0)
    key = made.own.verifier
    assert made.stands().word is Word.FALLEN
    seen = read_log(made.home, key)
    for name in ("journal", "tile"):
        kept = made.home / name
        (folder / name).rename(kept)
        replaced = before / name
        (shutil.copytree if replaced.is_dir() else shutil.copy)(replaced, folder / name)
        with pytest.raises(Error):
            read_log(made.home, key)
        (shutil.rmtree if replaced.is_dir() else Path.unlink)(folder / name)
        kept.rename(folder / name)
    assert made.stands().word is Word.FALLEN
    # All of it as it was before: a state that the home's key did sign. What a run has seen tells.
    shutil.rmtree(folder)
    before.rename(folder)
    shorter = read_log(made.home, key)
    assert made.stands().word is Word.APPROVED
    shorter.check_continues(2, shorter.root, "run-1")
    with pytest.raises(VerificationError, match="run-1 saw a log of approvals of 3 entries"):
        shorter.check_continues(seen.size, seen.root, "run-1")
    with pytest.raises(VerificationError, match="does not continue"):
        shorter.check_continues(2, seen.root, "run-1")


def test_an_entry_that_was_edited_is_noticed(made: Approving) -> None:
    made.approve("lead", "second")
    # What is read: the journal, and the newest of the bundles that are not full.
    bundle = log_folder(made.home) / "tile" / "entries" / "000.p" / "2"
    for path in (log_folder(made.home) / "journal", bundle):
        data = path.read_bytes()
        at = data.index(b'"at":')
        path.write_bytes(data[: at + 6] + bytes([data[at + 6] ^ 1]) + data[at + 7 :])
        with pytest.raises(Error):
            made.stands()
        path.write_bytes(data)
    assert made.stands().word is Word.APPROVED


def test_a_log_of_another_key_or_purpose_is_refused(made: Approving, tmp_path: Path) -> None:
    made.approve("lead", "second")
    with pytest.raises(VerificationError):
        read_log(made.home, SigningKey.generate(KEY_NAME).verifier)
    shutil.rmtree(log_folder(made.home))
    Ledger.create(log_folder(made.home), f"{KEY_NAME}/run-1", made.own).close()
    with pytest.raises(VerificationError, match="another log"):
        read_log(made.home, made.own.verifier)
    shutil.rmtree(log_folder(made.home))
    assert made.stands().word is Word.NOT_APPROVED, "without a log nothing is approved"


@pytest.mark.parametrize(
    ("kind", "at", "of"),
    [("other", 1, "lead"), ("approval", 1, ""), ("approval", -1, "lead"), ("revocation", 1, "lead")],
)
def test_other_entries_are_refused(made: Approving, kind: str, at: int, of: str) -> None:
    Ledger.create(log_folder(made.home), ORIGIN, made.own).close()
    with Ledger.open(log_folder(made.home), made.own) as ledger:
        envelope = made.envelope(of).decode() if of else None
        ledger.append(Entry(kind, {"at": at, "envelope": envelope}).encode())
    with pytest.raises(EvidenceError):
        read_log(made.home, made.own.verifier)


def test_a_clock_that_was_set_back_is_noticed(made: Approving) -> None:
    later = time.time_ns() + 2 * TOLERANCE
    made.approve("lead", now=later)
    log = read_log(made.home, made.own.verifier)
    log.check_clock(later - TOLERANCE)
    with pytest.raises(VerificationError, match="set back"):
        log.check_clock(later - TOLERANCE - 1)
    with pytest.raises(VerificationError, match="set back"):
        made.approve("second")
    made.approve("second", now=later - TOLERANCE)
    log = read_log(made.home, made.own.verifier)
    assert log.approvals[1].at == later, "entries stand in the order of their times"


def test_a_key_that_others_can_read_does_not_sign(made: Approving, tmp_path: Path) -> None:
    path = tmp_path / "lead.pem"
    SigningKey.load(path, "lead")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="can be used by others"):
        SigningKey.load(path, "lead")
    (made.home / KEY_FILE).chmod(0o644)
    with pytest.raises(UsageError, match="can be used by others"):
        made.approve("lead")
