"""Policies: read as C2SP tlog-policy has them, written and read again, and no way to count twice."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError, VerificationError
from veracity.ledger.keys import SigningKey
from veracity.ledger.witness.cosignature import WitnessKey
from veracity.ledger.witness.policy import (
    MAX_NAMES,
    Group,
    Policy,
    PolicyLog,
    PolicyWitness,
)

SIGNERS = [SigningKey.generate(f"w{number}.example") for number in range(6)]
KEYS = [WitnessKey(one.verifier) for one in SIGNERS]
LOG = SigningKey.generate("log.example").verifier


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


X = [f"witness X{number} {KEYS[number].vkey}" for number in range(3)]
Y = [f"witness Y{number} {KEYS[3 + number].vkey}" for number in range(3)]


def test_the_example_of_the_specification() -> None:
    policy = Policy.parse(
        text(
            f"log {LOG.vkey}",
            "",
            *X,
            "group X-witnesses 2 X0 X1 X2",
            " \t# the other organisation",
            *Y,
            "group Y-witnesses any Y0 Y1 Y2",
            "\tgroup  X-and-Y   all X-witnesses\tY-witnesses  ",
            "quorum X-and-Y",
        )
    )
    assert policy.logs == (PolicyLog(LOG),)
    names = ["X0", "X1", "X2", "Y0", "Y1", "Y2"]
    for seen in itertools.chain.from_iterable(itertools.combinations(names, count) for count in range(7)):
        xs, ys = (sum(name[0] == letter for name in seen) for letter in "XY")
        assert policy.is_reached(seen) is (xs >= 2 and ys >= 1)


def test_other_shapes() -> None:
    assert Policy.parse(b"quorum none\n").is_reached(())
    alone = Policy.parse(text(X[0], "quorum X0", X[1]))
    assert alone.is_reached(["X0"])
    assert not alone.is_reached(["X1"])
    assert Policy.parse(text(X[0] + " https://w.example/p", "quorum X0")).witnesses[0].url == (
        "https://w.example/p"
    )
    kelvin = Policy.parse(b"witness \xe2\x84\xaa " + KEYS[0].vkey.encode() + b"\nquorum \xe2\x84\xaa\n")
    assert kelvin.is_reached(["\u212a"])
    assert not kelvin.is_reached(["K"])
    opaque = b"witness \xff\xc3 " + KEYS[0].vkey.encode() + b"\nquorum \xff\xc3\n"
    assert Policy.parse(opaque).encode() == opaque


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([*X], "one line that says the quorum"),
        ([*X, "quorum X0", "quorum X0"], "a quorum already"),
        (["quorum X0", *X], "no line before"),
        ([*X, "quorum X9"], "no line before"),
        ([*X, "group g any X0 X9", "quorum g"], "no line before"),
        (["group g any X0", *X, "quorum g"], "no line before"),
        ([*X, "group g any g", "quorum g"], "no line before"),
        ([*X, "group g any none", "quorum g"], "no line before"),
        ([*X, "group g 2 X0 X0", "quorum g"], "count twice"),
        ([*X, "group g any X0", "group h 2 X0 g", "quorum h"], "count twice"),
        ([*X, "group g any X0", "group h 2 g g", "quorum h"], "count twice"),
        ([*X, f"witness again {KEYS[0].vkey}", "group g 2 X0 again", "quorum g"], "key of w0.example twice"),
        (
            [*X, f"witness again {WitnessKey(type(LOG)('other', KEYS[0].public.raw)).vkey}", "quorum X0"],
            "twice",
        ),
        ([X[0], X[0], "quorum X0"], "is taken"),
        ([*X, "group X1 any X0", "quorum X0"], "is taken"),
        ([f"witness none {KEYS[0].vkey}", "quorum none"], "is taken"),
        ([f"log {LOG.vkey}", f"log {LOG.vkey}", "quorum none"], "key of log.example twice"),
        ([*X, "group g 0 X0", "quorum g"], "not `all`, `any` or a number"),
        ([*X, "group g 3 X0 X1", "quorum g"], "cannot be needed"),
        ([*X, "group g 02 X0 X1", "quorum g"], "not `all`"),
        ([*X, "group g -1 X0 X1", "quorum g"], "not `all`"),
        ([*X, "group g \u0662 X0 X1", "quorum g"], "not `all`"),
        ([*X, "group g any", "quorum g"], "not a line"),
        ([f"witness X {LOG.vkey}", "quorum X"], "line 1"),
        ([f"log {KEYS[0].vkey}", "quorum none"], "line 1"),
        (["witness X w.example+0+AAAA", "quorum none"], "line 1"),
        ([X[0] + " http://a b", "quorum X0"], "not a line"),
        (["quorum none none"], "not a line"),
        (["Quorum none"], "not a line"),
        (["quorum none\r"], "control characters"),
        (["quorum none\x00"], "control characters"),
        (["quorum none\x7f"], "control characters"),
    ],
)
def test_what_is_no_policy(lines: list[str], word: str) -> None:
    with pytest.raises(EvidenceError, match=word):
        Policy.parse(text(*lines))


def test_what_is_cut_off_or_too_long() -> None:
    with pytest.raises(EvidenceError, match="does not end"):
        Policy.parse(text(*X, "quorum X0")[:-1])
    with pytest.raises(ResourceLimitError):
        Policy.parse(b"#" * 200_000 + b"\nquorum none\n")
    many = [
        PolicyWitness(f"w{at}", WitnessKey(SigningKey.generate("w").verifier)) for at in range(MAX_NAMES + 1)
    ]
    with pytest.raises(ResourceLimitError):
        Policy("none", tuple(many))
    assert len(Policy.parse(Policy("none", tuple(many[1:])).encode()).witnesses) == MAX_NAMES


def test_what_cannot_be_written_down() -> None:
    for name, url in (("a b", ""), ("a", "http://x\nquorum none"), ("", ""), ("a\n", "")):
        with pytest.raises(EvidenceError):
            Policy("none", (PolicyWitness(name, KEYS[0], url),))
    with pytest.raises(EvidenceError):
        Policy("g", (PolicyWitness("a", KEYS[0]),), (Group("g", 2, ("a",)),))
    with pytest.raises(EvidenceError):
        Policy("a")


def test_requiring_each_of_some() -> None:
    policy = Policy.requiring(KEYS[:3])
    assert policy.is_reached(["w1", "w2", "w3"])
    assert not policy.is_reached(["w1", "w2"])
    assert Policy.requiring([]).is_reached(())


def test_logs_that_a_policy_is_about() -> None:
    Policy("none").check_log(LOG, "log.example/run-1")
    named = Policy("none", logs=(PolicyLog(LOG),))
    named.check_log(LOG, "log.example/run-1")
    named.check_log(LOG, "log.example")
    for key, origin in ((KEYS[0].public, "log.example/run-1"), (LOG, "log.example2"), (LOG, "other")):
        with pytest.raises(VerificationError, match="not about the log"):
            named.check_log(key, origin)


WORDS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=5
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any that can be written down, with groups in groups."""
    count = draw(st.integers(0, 5))
    names = draw(
        st.lists(WORDS.filter(lambda one: one != "none"), min_size=count + 3, max_size=count + 3, unique=True)
    )
    urls = draw(st.lists(st.sampled_from(["", "http://127.0.0.1:1/w"]), min_size=count, max_size=count))
    witnesses = tuple(PolicyWitness(names[at], KEYS[at], urls[at]) for at in range(count))
    free = names[:count]
    groups: list[Group] = []
    for name in names[count : count + draw(st.integers(0, 3))]:
        if not free:
            break
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        groups.append(Group(name, draw(st.integers(1, len(members))), tuple(members)))
        free = [one for one in free if one not in members] + [name]
    known = [one.name for one in witnesses] + [one.name for one in groups]
    logs = draw(st.sampled_from([(), (PolicyLog(LOG),), (PolicyLog(LOG, "https://log.example"),)]))
    return Policy(draw(st.sampled_from(["none", *known])), witnesses, tuple(groups), logs)


@given(policies())
def test_a_policy_is_read_as_it_was_written(policy: Policy) -> None:
    assert Policy.parse(policy.encode()) == policy


@given(policies(), st.data())
def test_more_signatures_never_make_it_less(policy: Policy, data: st.DataObject) -> None:
    names = [one.name for one in policy.witnesses]
    few = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    if policy.is_reached(few):
        assert policy.is_reached(names)
    assert policy.is_reached(()) is (policy.quorum == "none")


@given(st.binary(max_size=200))
def test_whatever_is_read_is_a_policy_or_refused(data: bytes) -> None:
    try:
        policy = Policy.parse(data)
    except EvidenceError:
        return
    assert Policy.parse(policy.encode()) == policy
