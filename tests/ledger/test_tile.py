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
    assert tile.parse_path(path) == place


@given(places)
def test_every_path_reads_back(place: Place) -> None:
    assert tile.parse_path(place.path()) == place


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/1",
        "tile/0/x000/001",
        "tile/0/0000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "tile/data/000",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/../../key",
        "tile/0/٠٠٠",
    ],
)
def test_other_spellings_are_refused(path: str) -> None:
    with pytest.raises(EvidenceError):
        tile.parse_path(path)


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        place = tile.parse_path(text)
    except EvidenceError:
        return
    assert place.path() == text


def test_the_specification_s_example_of_70000_leaves() -> None:
    assert [place.path() for place in tile.partial_places(70_000)] == [
        "tile/entries/273.p/112",
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert tile.width_at(70_000, 0, 272) == 256
    assert tile.width_at(70_000, 1, 0) == 256
    assert tile.width_at(70_000, 0, 274) == 0
    assert [place.path() for place in tile.partial_places(256)] == ["tile/1/000.p/1"]
    assert tile.partial_places(0) == []


@given(st.integers(0, 1 << 30))
def test_partial_places_are_those_with_an_uneven_width(size: int) -> None:
    for place in tile.partial_places(size):
        level = place.level or 0
        assert place.width == tile.width_at(size, level, place.index) < 256
        assert tile.width_at(size, level, place.index + 1) == 0
        assert (place.first_entry + (place.width << 8 * level)) >> 8 * level == size >> 8 * level


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
