from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.ledger import tile
from veracity.ledger.tile import Place

levels = st.one_of(st.none(), st.integers(0, 63))
places = st.builds(Place, levels, st.integers(0, 10**21 - 1), st.integers(1, 256))


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Place(0, 0), "tile/0/000"),
        (Place(0, 1234067), "tile/0/x001/x234/067"),
        (Place(63, 999, 1), "tile/63/999.p/1"),
        (Place(None, 1000), "tile/entries/x001/000"),
        (Place(None, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths_are_spelled_as_the_specification_does(place: Place, path: str) -> None:
    assert place.path() == path


def test_the_specification_s_example_of_70000_leaves() -> None:
    assert tile.width_at(70_000, 0, 272) == 256
    assert tile.width_at(70_000, 1, 0) == 256
    assert tile.width_at(70_000, 0, 274) == 0


@given(st.lists(st.binary(max_size=40), max_size=256))
def test_bundles_read_back(entries: list[bytes]) -> None:
    assert tile.decode_bundle(tile.encode_bundle(entries)) == entries


def test_a_bundle_is_lengths_and_entries() -> None:
    assert tile.encode_bundle([b"", b"ab", b"c" * 258]) == b"\0\0\0\x02ab\x01\x02" + b"c" * 258
    longest = [b"x" * tile.MAX_ENTRY]
    assert tile.decode_bundle(tile.encode_bundle(longest)) == longest
    with pytest.raises(EvidenceError, match="65536 bytes"):
        tile.encode_bundle([b"x" * (tile.MAX_ENTRY + 1)])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    try:
        entries = tile.decode_bundle(data)
    except EvidenceError:
        return
    assert tile.encode_bundle(entries) == data


@pytest.mark.parametrize("data", [b"\0", b"\0\x01", b"\0\x02a", b"\0\x01a\0"])
def test_a_bundle_that_ends_within_an_entry_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError, match="ends within entry"):
        tile.decode_bundle(data)


def test_a_bundle_of_too_many_is_refused() -> None:
    assert len(tile.decode_bundle(b"\0\0" * 256)) == 256
    with pytest.raises(ResourceLimitError, match="more than 256"):
        tile.decode_bundle(b"\0\0" * 257)
    with pytest.raises(ResourceLimitError, match="more than 3"):
        tile.decode_bundle(b"\0\0" * 4, 3)


@given(st.binary(max_size=100) | st.integers(0, 260).map(lambda count: bytes(32 * count)))
def test_tiles_are_whole_hashes(data: bytes) -> None:
    if len(data) % 32 == 0 and 0 < len(data) <= 256 * 32:
        assert tile.encode_tile(tile.decode_tile(data)) == data
    else:
        with pytest.raises(EvidenceError, match="cannot be"):
            tile.decode_tile(data)
