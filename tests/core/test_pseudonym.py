"""Names behind pseudonyms: nothing of a known name is left, and everything comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veracity.core.canonical import Json, encode
from veracity.core.errors import EvidenceError
from veracity.core.pseudonym import (
    CLASSES,
    HOST,
    LABELS,
    USER,
    Redactor,
    pseudonym,
    restored,
    stands_for,
    tokens_in,
)

KEY = b"k" * 32
WORDS_OF_OURS = """
the step update process not optimizer channel root path model data saw and rank word host person command value
payload salt kind user owner body what reason file node folder started environment ids frames
"""
OURS = frozenset(WORDS_OF_OURS.split())
OPENING: dict[str, Json] = {
    "user": "zenobia",
    "uid": 4711,
    "host": "quux7.cluster.example",
    "folder": "/home/zenobia/secretproj",
    "command": ["python", "trainxy.py", "--lr", "3e-4"],
    "environment": {"MASTER_ADDR": "quux7", "THREADS": 4},
    "started_at": 5,
}


def redactor(*classes: str, key: bytes = KEY) -> Redactor:
    made = Redactor(key, frozenset(classes or CLASSES), OURS)
    made.learn(OPENING)
    return made


def test_fields_of_each_class_are_replaced_and_come_back() -> None:
    made = redactor()
    shown = made.redact(OPENING)
    assert isinstance(shown, dict)
    text = json.dumps(shown)
    for name in ("zenobia", "4711", "quux", "secretproj", "trainxy", "3e-4", "MASTER_ADDR"):
        assert name not in text
    assert shown["started_at"] == 5
    assert str(shown["user"]).startswith("person-")
    assert str(shown["command"]).startswith("command-")
    assert restored(shown, made.names) == OPENING


@pytest.mark.parametrize(
    "text",
    [
        "process 12 of QUUX7 saw /home/zenobia/secretproj/a b.py",
        "zenobia-exp and job_zenobia_2 and (zenobia)",
        "rank 0: secretproj/data, user id 4711: 'trainxy.py' …",
        "/home/zenobia/secretp",
        "zenobia@quux7.cluster.example:22",
        "a pseudonym-like person-0123456789abcdef",
    ],
)
def test_texts_hold_no_name_that_was_met(text: str) -> None:
    made = redactor()
    shown = made.text(text)
    for name in ("zenobia", "quux7", "secretp", "trainxy", "4711"):
        assert name not in shown.casefold()
    assert restored(shown, made.names) == text


def test_only_the_classes_that_were_asked_for() -> None:
    made = redactor(USER)
    shown = made.redact(OPENING)
    text = json.dumps(shown)
    assert "zenobia" not in text
    assert "quux7.cluster.example" in text
    assert "trainxy.py" in text
    assert made.text("unheard words stay") == "unheard words stay"


def test_words_that_are_not_ours_are_taken_for_names() -> None:
    made = redactor()
    shown = made.text("the update of Karl is not the optimizer's")
    assert shown.startswith("the update of word-")
    assert shown.endswith(" is not the optimizer's")
    shown = made.text("the update of u1234567 not step12345")
    assert "u1234567" not in shown
    assert shown.endswith(" not step12345")


def test_what_is_left_of_a_word_does_not_tell_the_name() -> None:
    made = redactor()
    made.know(["ann"], USER)
    assert made.text("the channel of ann") == f"the channel of {pseudonym(KEY, 'ann', USER)}"


def test_numbers_digests_and_our_own_ids_stay() -> None:
    made = redactor()
    for text in ("sha256:" + "ab" * 32, "0x1.8p+0", "run-20250302-140211-a1b2c3", "12", "-3", "/proc"):
        assert made.text(text) == text
    assert made.redact({"~f": "-0x1.0p-3", "rank": 3, "x": None, "y": True}) == {
        "~f": "-0x1.0p-3",
        "rank": 3,
        "x": None,
        "y": True,
    }


def test_a_pseudonym_is_the_keys_and_the_classes() -> None:
    assert pseudonym(KEY, "a", USER) == pseudonym(KEY, "a", USER)
    assert pseudonym(KEY, "a", USER) != pseudonym(b"l" * 32, "a", USER)
    assert pseudonym(KEY, "a", USER).split("-")[1] != pseudonym(KEY, "a", HOST).split("-")[1]
    assert stands_for(pseudonym(KEY, "a", USER), "a", KEY)
    assert not stands_for(pseudonym(KEY, "a", USER), "b", KEY)
    assert not stands_for(pseudonym(KEY, "a", USER), "a", b"l" * 32)


def test_bytes_with_a_name_or_a_path_are_known() -> None:
    made = redactor()
    assert made.holds_name(b"\x00\x93zenobia\xff")
    assert made.holds_name(b"\x00/usr/lib\xff")
    assert not made.holds_name(b"\x00layers.0.weight\xff")


def test_what_cannot_be_a_redactor() -> None:
    with pytest.raises(EvidenceError):
        Redactor(b"short", {USER}, OURS)
    with pytest.raises(EvidenceError):
        Redactor(KEY, {"everything"}, OURS)


WORDS = st.sampled_from(
    ["zenobia", "quux7", "/home/zenobia/x", "person-0123456789abcdef", "the", "step", "Zoë", "a/b", "4711"]
)
TEXTS = st.one_of(
    st.text(max_size=20), st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=5).map(" ".join)
)
KEYS = st.one_of(
    st.sampled_from(["user", "uid", "host", "path", "command", "ids", "what", "frames"]),
    st.text("abcxyz_", max_size=6),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_every_value_comes_back_or_is_not_claimed_to(value: Json) -> None:
    """A redaction that does not come back is found out by comparing, as bundles do; names never stay."""
    made = redactor()
    shown = made.redact(value)
    encode(shown)
    assert "zenobia" not in json.dumps(shown, ensure_ascii=False).casefold()
    assert {one.split("-")[0] for one in tokens_in(shown)} <= set(LABELS.values())
    if "person-" not in json.dumps(value):
        assert restored(shown, made.names) == value
