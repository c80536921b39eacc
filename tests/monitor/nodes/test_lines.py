"""A line is read back as it was written, or refused: nothing else comes of any bytes."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError
from veracity.core.observation import ReplicaStep
from veracity.monitor.nodes.lines import MAX_LINE, MAX_NUMBER, MAX_RANKS, Line, Splitter, _mac, encode, parse

KEY, FILE = b"k" * 32, "n-run-1.replicas"
STEP = ReplicaStep("g", 3, 9, [0, 1], "m", "p", "AAAAAAAAAAA=", [[0, "aa"]])
TEXT = st.text(max_size=20)
NUMBER = st.integers(0, MAX_NUMBER - 1)
STEPS = st.builds(
    ReplicaStep, TEXT, NUMBER, NUMBER, st.lists(NUMBER, min_size=1, max_size=5), TEXT, TEXT, TEXT,
    st.lists(st.tuples(NUMBER, TEXT).map(list), max_size=5),
)  # fmt: skip


def body_of(body: bytes) -> bytes:
    """A line of any content, by somebody who has the key."""
    return _mac(KEY, FILE, body) + b" " + body


@given(NUMBER, TEXT, STEPS)
def test_what_is_written_is_read(number: int, node: str, step: ReplicaStep) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        line = Line(number, node, step=step)
        assert parse(encode(line, KEY, FILE).rstrip(b"\n"), KEY, FILE) == line


@given(st.binary(max_size=300))
def test_no_bytes_are_a_line_without_the_key(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse(data, KEY, FILE)


@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode(errors="replace")))
)
def test_who_has_the_key_can_write_nonsense_and_no_more(data: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        parse(body_of(data), KEY, FILE)


def test_a_line_is_of_its_file_and_key() -> None:
    line = encode(Line(0, "n", step=STEP), KEY, FILE).rstrip(b"\n")
    for key, file, data in ((b"other", FILE, line), (KEY, "other", line), (KEY, FILE, line[:-1] + b" }")):
        with pytest.raises(EvidenceError, match="key of this job"):
            parse(data, key, file)


@pytest.mark.parametrize(
    "line",
    [
        Line(-1, "n", "done"),
        Line(MAX_NUMBER, "n", "done"),
        Line(0, "n" * 999, "done"),
        Line(0, "n"),
        Line(0, "n", "innocent"),
        Line(0, "n", "done", STEP),
        *(
            Line(0, "n", step=step)
            for step in (
                replace(STEP, step=-1),
                replace(STEP, at=MAX_NUMBER),
                replace(STEP, ranks=[]),
                replace(STEP, ranks=[-1]),
                replace(STEP, ranks=[1] * (MAX_RANKS + 1)),
                replace(STEP, machine="m" * 999),
                replace(STEP, fingers=[[1]]),
                replace(STEP, fingers=[["a", "a"]]),
                replace(STEP, fingers=[[1, "a" * 999]]),
                replace(STEP, parts="A" * MAX_LINE),
            )
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused(line: Line) -> None:
    with pytest.raises(EvidenceError):
        parse(encode(line, KEY, FILE).rstrip(b"\n"), KEY, FILE)


@pytest.mark.parametrize(
    "body", [b"[" * 50_000, b'{"n":1e400,"node":"n"}', b'{"n":true,"node":"n"}', b"null"]
)
def test_hostile_json_is_refused(body: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse(body_of(body), KEY, FILE)


@given(st.lists(st.binary(max_size=9).filter(lambda data: b"\n" not in data)), st.integers(1, 7))
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = Splitter()
    assert [line for at in range(0, len(data), size) for line in splitter.feed(data[at : at + size])] == lines


def test_a_line_without_an_end_is_noticed() -> None:
    splitter = Splitter()
    assert list(splitter.feed(b"x" * (MAX_LINE + 1))) == []
    assert splitter.overlong
