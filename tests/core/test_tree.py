"""Nodes of trees: one way to write each, and nothing else is read."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from veracity.core.errors import EvidenceError
from veracity.core.tree import (
    CHUNK,
    FILE,
    FOLDER,
    LARGE,
    LINK,
    LONGEST_PAGE,
    PAGED_FROM,
    SPECIAL,
    UNREAD,
    Chunks,
    Folder,
    Pages,
    TreeEntry,
    add_chunks,
    add_folder,
    escaped,
    node_of,
    unescaped,
)

NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
MODES = st.integers(0, 0o7777)
SIZES = st.integers(0, 2**62)
ENTRIES = st.one_of(
    st.builds(
        TreeEntry, st.sampled_from([FILE, LARGE, FOLDER]), MODES, SIZES, NAMES, DIGESTS | st.just(UNREAD)
    ),
    st.builds(TreeEntry, st.sampled_from(SPECIAL), MODES, st.just(0), NAMES),
    st.builds(TreeEntry, st.just(LINK), MODES, st.just(0), NAMES, target=st.binary(min_size=1, max_size=60)),
)
FOLDERS = st.lists(ENTRIES, max_size=30, unique_by=lambda entry: entry.name)


def stored(entries: list[TreeEntry]) -> tuple[str, dict[str, bytes]]:
    nodes: dict[str, bytes] = {}
    digest, _ = add_folder(entries, nodes.__setitem__)
    return digest, nodes


def file(name: bytes, content: bytes = b"") -> TreeEntry:
    return TreeEntry(FILE, 0o644, len(content), name, hashlib.sha256(content).hexdigest())


@given(FOLDERS)
def test_a_folder_is_read_as_it_was_written(entries: list[TreeEntry]) -> None:
    digest, nodes = stored(entries)
    assert hashlib.sha256(nodes[digest]).hexdigest() == digest
    node = node_of(nodes[digest])
    assert node == Folder(tuple(sorted(entries, key=lambda entry: entry.name)))
    assert nodes[digest].isascii()


@given(FOLDERS, st.randoms())
def test_the_order_of_a_listing_does_not_matter(entries: list[TreeEntry], draw: object) -> None:
    assert stored(entries) == stored(entries[::-1])


@given(st.binary(max_size=300), FOLDERS)
def test_what_is_read_would_be_written_so(data: bytes, entries: list[TreeEntry]) -> None:
    """Bytes near to those of a node included: a byte of a real one exchanged."""
    digest, nodes = stored(entries)
    real = nodes[digest]
    for bytes_ in (b"folder\n" + data, real[: len(data) % (len(real) + 1)] + data[:1] + real[len(data) :]):
        try:
            node = node_of(bytes_)
        except EvidenceError:
            continue
        assume(isinstance(node, Folder))
        assert isinstance(node, Folder)
        again, written = stored(list(node.entries))
        assert written[again] == bytes_


@given(NAMES | st.binary(min_size=1, max_size=40))
def test_every_name_has_one_spelling(name: bytes) -> None:
    text = escaped(name)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert unescaped(text) == name


@pytest.mark.parametrize("text", ["%41", "%2f%", "a b", "%zz", "%c3", "é", "a\nb", "%"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        unescaped(text)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"x" * 5000])
def test_what_is_no_name_is_refused(name: bytes) -> None:
    with pytest.raises(EvidenceError):
        stored([file(name)])


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(EvidenceError, match="twice"):
        stored([file(b"a"), file(b"a", b"other")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"folder",
        b"folder\nf 644 0 " + b"0" * 64 + b" a",
        b"folder\nf 0644 0 " + b"0" * 64 + b" a\n",
        b"folder\nf 644 00 " + b"0" * 64 + b" a\n",
        b"folder\nf 644 0 " + b"A" * 64 + b" a\n",
        b"folder\nf 644 0 " + b"0" * 63 + b" a\n",
        b"folder\nf 644 0 " + b"0" * 64 + b" ..\n",
        b"folder\nf 644 0 " + b"0" * 64 + b" a%2Fb\n",
        b"folder\nf 644 0 " + b"0" * 64 + b" b\nf 644 0 " + b"0" * 64 + b" a\n",
        b"folder\np 644 0 " + b"0" * 64 + b" a\n",
        b"pages\n",
        b"pages\n0 " + b"0" * 64 + b" a\n",
        b"pages\n1 " + b"0" * 64 + b" b\n1 " + b"0" * 64 + b" a\n",
        b"chunks 1 1\n" + b"0" * 64 + b"\n",
        b"chunks %d %d\n" % (CHUNK, CHUNK + 1) + b"0" * 64 + b"\n",
        b"Folder\n",
    ],
)
def test_what_nobody_writes_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        node_of(data)


def test_large_files_list_their_chunks() -> None:
    nodes: dict[str, bytes] = {}
    parts = [hashlib.sha256(bytes([part])).hexdigest() for part in range(3)]
    digest = add_chunks(2 * CHUNK + 5, parts, nodes.__setitem__)
    assert node_of(nodes[digest]) == Chunks(2 * CHUNK + 5, tuple(parts))


def test_one_more_name_in_a_folder_of_many_writes_little_anew() -> None:
    names = [b"%06d.bin" % number for number in range(20_000)]
    many = [file(name, name) for name in names]
    digest, nodes = stored(many)
    assert isinstance(node_of(nodes[digest]), Pages)
    later, more = stored([*many, file(b"010000.new")])
    fresh = {one: data for one, data in more.items() if one not in nodes}
    assert later in fresh
    assert sum(map(len, fresh.values())) < 100_000
    assert sum(map(len, nodes.values())) < 120 * len(many)


def test_pages_are_bounded_whatever_names_are_chosen() -> None:
    """Names whose checksum never asks for a cut."""
    entries = [file(name) for number in range(60_000) if zlib.crc32(name := b"%d" % number) % 256]
    digest, nodes = stored(entries[: 3 * LONGEST_PAGE])
    pages = node_of(nodes[digest])
    assert isinstance(pages, Pages)
    assert max(page.count for page in pages.pages) == LONGEST_PAGE
    assert sum(page.count for page in pages.pages) == 3 * LONGEST_PAGE


def test_small_folders_have_no_pages() -> None:
    digest, nodes = stored([file(b"%d" % number) for number in range(PAGED_FROM)])
    assert list(nodes) == [digest]
