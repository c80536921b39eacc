from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.canonical import Json
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.ledger.entry import Entry
from veracity.ledger.tile import MAX_ENTRY

keys = st.text(st.characters(max_codepoint=127), max_size=8).filter(lambda key: key != "k")
values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(keys, values, max_size=6)
kinds = st.from_regex(r"\A[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,2}\Z")


@given(kinds, bodies)
def test_entries_read_back(kind: str, body: dict[str, Json]) -> None:
    entry = Entry(kind, body)
    data = entry.encode()
    assert Entry.decode(data) == entry
    assert json.loads(data) == {"k": kind, **body}


def test_the_form_is_fixed() -> None:
    assert Entry("step", {"rank": 0, "lr": (0.5).hex()}).encode() == (
        b'{"k":"step","lr":"0x1.0000000000000p-1","rank":0}'
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_refused(data: bytes) -> None:
    try:
        entry = Entry.decode(data)
    except EvidenceError:
        return
    assert entry.encode() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b"{}",
        b'{"k":1}',
        b'{"k":null}',
        b'{"k":"Step"}',
        b'{"k":"step\\n"}',
        b'{"k":""}',
        b'{"k":"a--b"}',
        b'{"k":"step","x":1.5}',
        b'{"k":"step","x":NaN}',
        b'{"k":"step", "x":1}',
        b'{"x":1,"k":"step"}',
        b'{"k":"a","k":"a"}',
        b'{"k":"step","x":"\xff"}',
        b'{"k":"step","x":9223372036854775808}',
        b'{"k":"' + b"a" * 65 + b'"}',
        b"[" * 60_000,
        b'{"k":"s","x":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        Entry.decode(data)


def test_an_entry_has_its_bounds() -> None:
    room = MAX_ENTRY - len(Entry("a", {"x": ""}).encode())
    assert len(Entry("a", {"x": "y" * room}).encode()) == MAX_ENTRY
    with pytest.raises(ResourceLimitError, match="too long") as caught:
        Entry("a", {"x": "y" * (room + 1)}).encode()
    assert "blob" in caught.value.diagnostics().remedy
    with pytest.raises(ResourceLimitError):
        Entry.decode(b" " * (MAX_ENTRY + 1))
    with pytest.raises(EvidenceError, match="member 'k'"):
        Entry("a", {"k": 1})
