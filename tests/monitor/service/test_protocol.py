from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError, TransportError
from veracity.monitor.service.protocol import (
    MAX_PACKET,
    VERSION,
    Answer,
    AskRuns,
    AskSummary,
    Channel,
    Judged,
    Message,
    NotStarted,
    Open,
    Opened,
    Reference,
    Refused,
    Resume,
    Signalled,
    Started,
    decode,
    encode,
)

WORDS = st.text(st.characters(exclude_characters="\0"), max_size=40)
NUMBERS = st.integers(-(2**31), 2**31)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Reference, WORDS, WORDS),
    st.builds(
        Open,
        st.lists(WORDS, min_size=1, max_size=5),
        WORDS,
        WORDS,
        st.sampled_from(["observe", "enforce"]),
        st.floats(0, 1),
        st.booleans(),
        st.floats(1, 1e6),
        WORDS,
        WORDS,
        st.lists(WORDS, max_size=3),
        WORDS,
        st.lists(WORDS, max_size=3),
    ),
    st.builds(Resume, WORDS),
    st.builds(Opened, WORDS, WORDS, WORDS),
    st.builds(Started, NUMBERS),
    st.builds(NotStarted, NUMBERS, WORDS),
    st.builds(Signalled, NUMBERS, st.booleans()),
    st.builds(Judged, WORDS, WORDS, st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3), st.booleans()),
    st.builds(Refused, WORDS, WORDS),
    st.builds(AskRuns, NUMBERS),
    st.builds(AskSummary, WORDS),
    st.builds(Answer, NUMBERS),
)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, other
    one.close()
    other.close()


@given(MESSAGES)
@settings(max_examples=examples(200))
def test_a_message_comes_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message)) == message


@given(
    st.binary(max_size=300) | st.recursive(st.none() | WORDS | NUMBERS, st.lists).map(repr).map(str.encode)
)
@settings(max_examples=examples(200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except EvidenceError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(st.sampled_from(["Open", "Started", "Reference", "AskRuns", "x"]), JSON)
@settings(max_examples=examples(200))
def test_any_body_is_a_message_or_refused(kind: str, body: object) -> None:
    try:
        decode(json.dumps({"v": VERSION, "k": kind, "b": body}).encode())
    except EvidenceError:
        return


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"command": []}, "no command"),
        ({"command": ["a\0b"]}, "no command"),
        ({"command": ["x"] * 20_000}, "no command"),
        ({"overhead": 2}, "out of range"),
        ({"hang_after": 0}, "out of range"),
        ({"hang_after": float("nan")}, "out of range"),
        ({"policy": "kill"}, "not known"),
        ({"name": "n" * 5000}, "too long"),
        ({"witnesses": ["w"] * 17}, "more than 16"),
        ({"timestamps": ["t"] * 17}, "more than 16"),
        ({"timestamps": ["t" * 5000]}, "too long"),
        ({"witness_policy": "p" * 70_000}, "too long"),
        ({"witnesses": "w"}, "not as its kind has it"),
        ({"command": "true"}, "not as its kind has it"),
        ({"stacks": 1}, "not as its kind has it"),
    ],
)
def test_what_no_run_can_be(changed: dict[str, object], why: str) -> None:
    body = {"command": ["true"], "place": "/x", **changed}
    with pytest.raises(EvidenceError, match=why):
        decode(json.dumps({"v": VERSION, "k": "Open", "b": body}).encode())


def test_another_version_is_told_as_that() -> None:
    with pytest.raises(EvidenceError, match="speaks version 7 of the protocol, this one 2"):
        decode(b'{"v": 7, "k": "Whatever", "more": []}')
    for version in ('"1"', "true", "null", "1.0"):
        with pytest.raises(EvidenceError, match="has no version"):
            decode(f'{{"v": {version}, "k": "AskRuns", "b": {{}}}}'.encode())


def test_what_is_too_long(channels: tuple[Channel, Channel]) -> None:
    one, other = channels
    with pytest.raises(EvidenceError, match="too many for one message"):
        encode(Reference("x", "t" * MAX_PACKET))
    one.connection.send(b"x" * (MAX_PACKET + 9))
    with pytest.raises(EvidenceError, match="too long"):
        other.receive(1)


def test_silence_and_the_end(channels: tuple[Channel, Channel]) -> None:
    one, other = channels
    with pytest.raises(TransportError, match="does not answer"):
        other.receive(0.01)
    one.send(Started(7))
    one.connection.shutdown(socket.SHUT_RDWR)
    assert other.receive(1) == Started(7)
    assert other.receive(1) is None
    with pytest.raises(TransportError):
        other.send(Started(7))


def test_descriptors_come_only_where_they_are_wanted(channels: tuple[Channel, Channel]) -> None:
    one, other = channels
    before = len(os.listdir("/proc/self/fd"))
    readable, writable = os.pipe()
    one.send(Answer(1), readable)
    assert other.receive(1) == Answer(1)
    assert other.take_descriptor() == -1
    one.send(Answer(2), readable)
    assert other.receive(1, descriptors=True) == Answer(2)
    came = other.take_descriptor()
    os.write(writable, b"x")
    assert os.read(came, 1) == b"x"
    many = array.array("i", [readable] * 20)
    one.connection.sendmsg([encode(Answer(3))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])
    assert other.receive(1, descriptors=True) == Answer(3)
    other.close()
    for number in (readable, writable, came):
        os.close(number)
    assert len(os.listdir("/proc/self/fd")) < before
