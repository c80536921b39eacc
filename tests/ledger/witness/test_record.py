"""A witness cosigns what continues what it has seen, and nothing else; C2SP tlog-witness, case by case."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.merkle import consistency_proof, leaf_hash, tree_root
from veracity.ledger.note import parse_note
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.cosignature import WitnessKey, cosign, verify_cosignature
from veracity.ledger.witness.record import SIZE_TYPE, Witness
from veracity.ledger.witness.requests import MAX_PROOF, AddCheckpoint

ORIGIN = "log.example/run-1"
AT = 1_700_000_000


class Log:
    """A log of which any tree head can be had, honest or not."""

    def __init__(self, key: SigningKey | None = None, *, salt: bytes = b"", origin: str = ORIGIN) -> None:
        self.key = key or SigningKey.generate("log.example")
        self.origin = origin
        self.leaves = [leaf_hash(salt + b"%d" % number) for number in range(200)]

    def head(self, size: int) -> TreeHead:
        return TreeHead.sign(self.origin, size, tree_root(self.leaves[:size]), self.key)

    def request(self, old: int, size: int) -> bytes:
        return AddCheckpoint(old, tuple(consistency_proof(self.leaves[:size], old)), self.head(size)).encode()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def witness(log: Log, tmp_path: Path) -> Iterator[Witness]:
    made = Witness(
        tmp_path / "state", SigningKey.generate("witness.example/w1"), [log.key.verifier], clock=lambda: AT
    )
    yield made
    made.close()


def key_of(witness: Witness) -> WitnessKey:
    return WitnessKey(witness._key.verifier)


def test_a_log_that_grows_is_cosigned(log: Log, witness: Witness) -> None:
    for old, size in ((0, 3), (3, 3), (3, 4), (4, 130), (130, 200)):
        answer = witness.add_checkpoint(log.request(old, size))
        assert answer.status == 200
        note = parse_note(log.head(size).signed + answer.body.encode())
        assert verify_cosignature(note, key_of(witness)) == AT
        latest = witness.latest(ORIGIN)
        assert latest is not None
        assert latest.size == size


def test_another_old_size_is_answered_with_the_known_one(log: Log, witness: Witness) -> None:
    assert witness.add_checkpoint(log.request(0, 50)).status == 200
    for old in (0, 49, 51):
        answer = witness.add_checkpoint(log.request(old, 60))
        assert (answer.status, answer.body, answer.kind) == (409, "50\n", SIZE_TYPE)
    assert witness.add_checkpoint(log.request(20, 60)).status == 409


def test_a_log_is_not_cut_back(log: Log, witness: Witness) -> None:
    assert witness.add_checkpoint(log.request(0, 50)).status == 200
    body = AddCheckpoint(50, (), log.head(40)).encode()
    assert witness.add_checkpoint(body).status == 400
    assert witness.add_checkpoint(log.request(0, 40)).status == 409


def test_another_history_is_not_cosigned(log: Log, witness: Witness) -> None:
    """The log's own key signs a second history."""
    other = Log(log.key, salt=b"other")
    assert witness.add_checkpoint(log.request(0, 50)).status == 200
    assert witness.add_checkpoint(other.request(50, 50)).status == 409
    assert witness.add_checkpoint(other.request(50, 60)).status == 422
    mixed = AddCheckpoint(50, tuple(consistency_proof(log.leaves[:60], 50)), other.head(60)).encode()
    assert witness.add_checkpoint(mixed).status == 422
    assert witness.add_checkpoint(log.request(50, 60)).status == 200


def test_proofs_that_do_not_hold(log: Log, witness: Witness) -> None:
    first = AddCheckpoint(0, (b"\0" * 32,), log.head(5)).encode()
    assert witness.add_checkpoint(first).status == 422
    assert witness.add_checkpoint(log.request(0, 50)).status == 200
    proof = consistency_proof(log.leaves[:60], 50)
    for wrong in ((), tuple(proof[:-1]), (*proof, b"\0" * 32), (b"\0" * 32, *proof[1:])):
        assert witness.add_checkpoint(AddCheckpoint(50, wrong, log.head(60)).encode()).status == 422


def test_logs_and_keys_that_are_not_known(log: Log, witness: Witness) -> None:
    assert witness.add_checkpoint(Log(origin="another.example").request(0, 5)).status == 404
    assert witness.add_checkpoint(Log(log.key, origin="log.example.evil/run").request(0, 5)).status == 404
    assert witness.add_checkpoint(Log().request(0, 5)).status == 403
    assert witness.add_checkpoint(Log(log.key, origin="log.example").request(0, 5)).status == 200
    assert witness.latest(ORIGIN) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"old 00\n\n",
        b"old -1\n\n",
        b"old 1 \n\n",
        b"old 99999999999999999999\n\n",
        b"new 0\n\n",
        b"old 0\nAAAA\n\n",
        b"old 0\n" + b"A" * 43 + b"=\n" * (MAX_PROOF + 1) + b"\n",
        b"old 0\n\nlog.example/run-1\n1\n",
        b"\xff" * 100,
        b"old 0\n\n" + b"x" * 300_000,
    ],
)
def test_what_is_no_request(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_answered(data: bytes) -> None:
    for body in (data, b"old 0\n\n" + data, b"old 0\n" + data):
        try:
            request = AddCheckpoint.decode(body)
        except EvidenceError:
            continue
        assert AddCheckpoint.decode(request.encode()) == request


def test_what_was_cosigned_outlives_the_process(log: Log, tmp_path: Path) -> None:
    key = SigningKey.generate("w")
    first = Witness(tmp_path, key, [log.key.verifier])
    assert first.add_checkpoint(log.request(0, 50)).status == 200
    with pytest.raises(UsageError, match="another witness"):
        Witness(tmp_path, key, [log.key.verifier])
    first.close()
    second = Witness(tmp_path, key, [log.key.verifier])
    assert second.add_checkpoint(log.request(0, 60)).body == "50\n"
    second.close()


def test_a_state_that_cannot_be_read_is_not_taken_for_none(log: Log, witness: Witness) -> None:
    assert witness.add_checkpoint(log.request(0, 50)).status == 200
    (path,) = witness._folder.glob("*.log")
    path.write_bytes(b"damaged")
    assert witness.add_checkpoint(log.request(0, 60)).status == 500
    path.write_bytes(Log(log.key, origin="log.example/run-2").head(1).signed)
    assert witness.add_checkpoint(log.request(1, 60)).status == 500


def test_nothing_is_signed_that_could_not_be_kept(
    log: Log, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("veracity.ledger.witness.record.os.fsync", full)
    assert witness.add_checkpoint(log.request(0, 50)).status == 500
    monkeypatch.undo()
    assert witness.add_checkpoint(log.request(0, 60)).status == 200


def at_once(witness: Witness, bodies: list[bytes]) -> list[int]:
    """What is answered to requests that arrive in the same moment."""
    start = threading.Barrier(len(bodies))
    statuses: list[int] = []

    def send(body: bytes) -> None:
        start.wait()
        statuses.append(witness.add_checkpoint(body).status)

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_of_two_histories_sent_at_once_one_is_cosigned(tmp_path: Path) -> None:
    for attempt in range(20):
        log = Log()
        histories = [log, Log(log.key, salt=b"other")]
        witness = Witness(tmp_path / f"{attempt}", SigningKey.generate("w"), [log.key.verifier])
        statuses = at_once(witness, [histories[number % 2].request(0, 50) for number in range(8)])
        witness.close()
        assert sorted(statuses) == [200, *[409] * 7]


# --- keys and cosignatures ------------------------------------------------------------------------------


def test_a_witness_key_is_read_as_it_was_written() -> None:
    key = WitnessKey(SigningKey.generate("w.example/1").verifier)
    assert WitnessKey.parse(key.vkey) == key
    with pytest.raises(EvidenceError):
        WitnessKey.parse(key.public.vkey)  # a log's key is no witness'
    with pytest.raises(EvidenceError):
        WitnessKey.parse(key.vkey.replace("+", "+0", 1))


def test_a_cosignature_holds_for_its_head_and_time_alone(log: Log) -> None:
    signer = SigningKey.generate("w")
    key = WitnessKey(signer.verifier)
    head = log.head(5)
    line = cosign(parse_note(head.signed).text, AT, signer)
    assert verify_cosignature(parse_note(head.signed + line.encode()), key) == AT
    with pytest.raises(VerificationError):
        verify_cosignature(parse_note(log.head(6).signed + line.encode()), key)
    with pytest.raises(VerificationError, match="not cosigned"):
        verify_cosignature(parse_note(head.signed), key)
    later = cosign(parse_note(head.signed).text, AT + 5, signer)
    assert verify_cosignature(parse_note(head.signed + line.encode() + later.encode()), key) == AT + 5
    # A log's own signature under the same key is no cosignature.
    with pytest.raises(VerificationError):
        verify_cosignature(parse_note(TreeHead.sign(ORIGIN, 5, head.root, signer).signed), key)
