"""Cosigned heads held against a record: what counts, and all that must not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ledger.witness.test_record import AT, Log
from veracity.core.errors import EvidenceError, VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.note import parse_note
from veracity.ledger.tree_head import TreeHead
from veracity.ledger.witness.cosignature import WitnessKey, cosign
from veracity.ledger.witness.cosigned import (
    Record,
    hold_against,
    read_cosigned,
    seen_head,
    verify_policy,
    with_cosignatures,
    write_cosigned,
)
from veracity.ledger.witness.policy import Group, Policy, PolicyWitness
from veracity.ledger.witness.record import Witness

SIGNERS = [SigningKey.generate(f"w{number}.example") for number in range(3)]
SIZE = 120


def seen(head: TreeHead, *signers: SigningKey, at: int = AT) -> TreeHead:
    """The head with cosignatures, as honest or dishonest witnesses give them."""
    text = parse_note(head.signed).text
    return TreeHead.parse(head.signed + "".join(cosign(text, at, one) for one in signers).encode())


def needing(count: int) -> Policy:
    named = tuple(PolicyWitness(one.verifier.name[:2], WitnessKey(one.verifier)) for one in SIGNERS)
    return Policy("g", named, (Group("g", count, tuple(one.name for one in named)),))


def of(log: Log, size: int = SIZE) -> Record:
    return Record(log.key.verifier, log.origin, log.leaves[:size])


@pytest.fixture
def log() -> Log:
    return Log()


def test_enough_and_one_too_few(log: Log) -> None:
    heads = [seen(log.head(SIZE), SIGNERS[0]), seen(log.head(SIZE), SIGNERS[1])]
    said = verify_policy(needing(2), heads, of(log))
    assert said == [
        f"w{number}.example had seen 120 entries by 2023-11-14 22:13:20 UTC, the same as these"
        for number in (0, 1)
    ] + ["2 of 3 witnesses cosigned it to its end: enough"]
    with pytest.raises(VerificationError, match=r"too few .* w2.example has not cosigned this record"):
        verify_policy(needing(3), heads, of(log))


def not_counting(log: Log) -> dict[str, Sequence[TreeHead]]:
    """Each with what looks like a second signature."""
    other = Log(origin="log.example/run-2")
    other.leaves[:] = log.leaves
    stranger = Log(SigningKey.generate("log.example"))
    stranger.leaves[:] = log.leaves
    head = log.head(SIZE)
    first = seen(head, SIGNERS[0])
    old = seen(log.head(SIZE - 1), SIGNERS[1])
    old_line = old.signed.rpartition(b"\n\n")[2].splitlines(keepends=True)[1]
    return {
        "the first once more": [first, first, seen(head, SIGNERS[0], at=AT + 9)],
        "of another log with the same entries": [
            first,
            seen(Log(log.key, origin="log.example/run-2").head(SIZE), SIGNERS[1]),
        ],
        "of another log's key": [first, seen(stranger.head(SIZE), SIGNERS[1])],
        "an older head": [first, old],
        "the empty log": [first, seen(log.head(0), SIGNERS[1])],
        "a stranger's": [first, seen(head, SigningKey.generate("w1.example"))],
        "the log's own key under the witness' name": [
            first,
            seen(head, SigningKey("w1.example", log.key._private)),
        ],
        "a log's signature": [first, TreeHead.sign(log.origin, SIZE, head.root, SIGNERS[1])],
        "nobody signed": [first, TreeHead.parse(head.signed.rpartition(b"\n\n")[0] + b"\n\n" + old_line)],
    }


@pytest.mark.parametrize("case", list(not_counting(Log())))
def test_what_does_not_count(log: Log, case: str) -> None:
    heads = not_counting(log)[case]
    verify_policy(needing(1), heads, of(log))
    with pytest.raises(VerificationError, match="too few witnesses"):
        verify_policy(needing(2), heads, of(log))


def test_an_old_cosignature_under_a_new_head(log: Log) -> None:
    old = seen(log.head(SIZE - 1), SIGNERS[0]).signed.splitlines(keepends=True)[-1]
    moved = TreeHead.parse(log.head(SIZE).signed + old)
    with pytest.raises(VerificationError, match="does not hold"):
        verify_policy(needing(1), [moved], of(log))


def test_a_forked_log_shown_to_two_witnesses(log: Log) -> None:
    """Whichever history is shown, a witness of the policy says that there is another."""
    other = Log(log.key, salt=b"other")
    heads = [seen(log.head(SIZE), SIGNERS[0]), seen(other.head(SIZE), SIGNERS[1])]
    for history in (log, other):
        for needed in (1, 2):
            with pytest.raises(VerificationError, match="cosigned another record"):
                verify_policy(needing(needed), heads, of(history))


def test_a_record_that_was_cut_back(log: Log) -> None:
    with pytest.raises(VerificationError, match="of 120 entries, and these are 100"):
        verify_policy(needing(1), [seen(log.head(SIZE), SIGNERS[0])], of(log, 100))


def test_a_witness_that_was_rolled_back_is_one_of_several(log: Log, tmp_path: Path) -> None:
    """It cosigns a second history; those that remember do not, and what they signed speaks against it."""
    forgetful, other = (Witness(tmp_path / str(at), SIGNERS[at], [log.key.verifier]) for at in (0, 1))
    for witness in (forgetful, other):
        assert witness.add_checkpoint(log.request(0, 100)).status == 200
    forgetful.close()
    shutil.rmtree(tmp_path / "0")
    forgetful = Witness(tmp_path / "0", SIGNERS[0], [log.key.verifier])
    rewritten = Log(log.key, salt=b"rewritten")
    answer = forgetful.add_checkpoint(rewritten.request(0, SIZE))
    assert answer.status == 200
    assert other.add_checkpoint(rewritten.request(0, SIZE)).status == 409
    head = TreeHead.parse(rewritten.head(SIZE).signed + answer.body.encode())
    verify_policy(needing(1), [head], of(rewritten))
    with pytest.raises(VerificationError, match="too few"):
        verify_policy(needing(2), [head], of(rewritten))
    with pytest.raises(VerificationError, match="cosigned another record"):
        verify_policy(needing(1), [head, seen(log.head(100), SIGNERS[1])], of(rewritten))
    forgetful.close()
    other.close()


def test_a_policy_that_asks_nobody_is_told_as_that(log: Log) -> None:
    for said in (
        verify_policy(Policy("none"), [], of(log)),
        seen_head(Policy("none"), log.head(5)).said,
    ):
        assert said == ["by the policy no witness is needed: nothing shows that others have seen it"]


def test_what_is_lacking_is_told(log: Log) -> None:
    heads = [seen(log.head(90), SIGNERS[2]), seen(log.head(0), SIGNERS[1])]
    held = hold_against(needing(2), heads, of(log))
    assert len(held.said) == 1
    assert held.lacking == [
        "w0.example has not cosigned this record",
        "w1.example has not cosigned this record",
        "w2.example has not cosigned the last 30 of them",
    ]
    assert not held.enough


# --- the file, and heads with several signatures --------------------------------------------------------


def test_heads_are_read_as_they_were_written(log: Log, tmp_path: Path) -> None:
    heads = [seen(log.head(size), *SIGNERS[:size]) for size in (1, 2, 3)]
    path = tmp_path / "cosigned"
    assert read_cosigned(path) == []
    path.write_bytes(write_cosigned(heads))
    assert read_cosigned(path) == heads


@pytest.mark.parametrize("data", [b"junk", b"a\n\nb", b"\n\n" * 2000, b"a\n1\nAAAA\n\nx\n", b"x" * (1 << 21)])
def test_what_is_no_such_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "cosigned"
    path.write_bytes(data)
    with pytest.raises(EvidenceError):
        read_cosigned(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(EvidenceError):
        read_cosigned(tmp_path / "folder")


def test_signatures_over_one_text_are_gathered(log: Log) -> None:
    head = log.head(SIZE)
    heads = [
        seen(head, SIGNERS[0]),
        seen(log.head(5), SIGNERS[1]),
        seen(head, SIGNERS[2]),
        seen(head, SIGNERS[0]),
    ]
    assert with_cosignatures(head, heads) == seen(head, SIGNERS[0], SIGNERS[2])
    assert with_cosignatures(head, []) == head
    many = [seen(head, SigningKey.generate(f"w{at}")) for at in range(80)]
    assert len(parse_note(with_cosignatures(head, many).signed).signatures) == 64
