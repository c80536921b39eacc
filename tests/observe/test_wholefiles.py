"""Files listed with the digest of their whole content: nothing is passed over in silence."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError, ResourceLimitError
from veracity.observe import wholefiles
from veracity.observe.tree import MAX_DEPTH
from veracity.observe.wholefiles import SELF, HowToRead, WholeFile, read_whole_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "a").write_bytes(b"a")
    (made / "deep" / "er" / "b").write_bytes(b"bb")
    (made / "empty").write_bytes(b"")
    return made


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_file_has_its_digest(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    found = read_whole_files(folder, HowToRead(), progress=lambda files, size: told.append((files, size)))
    assert found.files == {
        b"a": WholeFile(1, (sha(b"a"),)),
        b"deep/er/b": WholeFile(2, (sha(b"bb"),)),
        b"empty": WholeFile(0, (sha(b""),)),
    }
    assert (found.odd, found.ignored, found.unread, found.size) == ({}, (), (), 3)
    assert told[-1] == (3, 3)


def test_a_file_is_a_root(folder: Path) -> None:
    assert read_whole_files(folder / "a", HowToRead()).files == {SELF: WholeFile(1, (sha(b"a"),))}
    os.symlink("a", folder / "l")
    assert SELF in read_whole_files(folder / "l", HowToRead()).files  # the root may be named through links


@settings(max_examples=examples(30), deadline=None)
@given(st.binary(max_size=40), st.integers(1, 50), st.sampled_from(["sha256", "blake2b"]))
def test_pieces_are_those_of_the_content(data: bytes, piece: int, algorithm: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "f"
        path.write_bytes(data)
        found = read_whole_files(path, HowToRead(algorithm, piece)).files[SELF]
    cut = [data[at : at + piece] for at in range(0, len(data), piece)]
    assert found == WholeFile(len(data), tuple(hashlib.new(algorithm, one).hexdigest() for one in cut))


def test_what_is_ignored_is_named_with_all_below(folder: Path) -> None:
    os.mkfifo(folder / "deep" / "pipe")
    found = read_whole_files(folder, HowToRead(ignored={b"deep", b"absent", b"a"}))
    assert (sorted(found.files), found.ignored, found.odd) == ([b"empty"], (b"a", b"deep"), {})


def test_what_is_no_file_is_named(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    os.symlink("a", folder / "link")
    os.symlink("absent", folder / "broken")
    os.symlink("deep", folder / "way")
    found = read_whole_files(folder, HowToRead())
    assert found.odd == {
        b"pipe": "neither a file nor a folder",
        b"link": "a link",
        b"broken": "a link",
        b"way": "a link",
    }
    found = read_whole_files(folder, HowToRead(follow=True))
    assert found.files[b"link"] == found.files[b"a"]
    assert found.odd == {b"pipe": "neither a file nor a folder", b"broken": "a link that leads nowhere"}
    assert [(one.path, "link to a folder" in one.reason) for one in found.unread] == [("way", True)]


def test_a_link_to_a_pipe_does_not_wait(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    os.symlink("pipe", folder / "link")
    found = read_whole_files(folder, HowToRead(follow=True, ignored={b"pipe"}))
    assert found.odd == {b"link": "neither a file nor a folder"}


def test_a_file_that_changes_is_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = wholefiles._digest

    def growing(handle: int, *rest: int | str) -> str:
        with open(folder / "a", "ab") as file:
            file.write(b"x")
        return original(handle, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(wholefiles, "_digest", growing)
    found = read_whole_files(folder / "a", HowToRead())
    assert [(one.path, one.reason) for one in found.unread] == [(".", "it changed while it was read")]


def test_deep_folders_end(tmp_path: Path) -> None:
    here = tmp_path
    for _ in range(MAX_DEPTH + 2):
        here = here / "d"
        here.mkdir()
    (here / "f").write_bytes(b"x")
    found = read_whole_files(tmp_path, HowToRead())
    assert found.files == {}
    assert [one.reason for one in found.unread] == [f"folders lie more than {MAX_DEPTH} deep"]


def test_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_whole_files(folder / "absent", HowToRead())
    monkeypatch.setattr(wholefiles, "MAX_PIECES", 1)
    found = read_whole_files(folder, HowToRead(piece=1))
    assert [one.path for one in found.unread] == ["deep/er/b"]
    monkeypatch.setattr(wholefiles, "MAX_DEPTH", 1)
    assert [one.path for one in read_whole_files(folder, HowToRead()).unread] == ["deep/er"]
    monkeypatch.setattr(wholefiles, "MAX_FILES", 1)
    with pytest.raises(ResourceLimitError, match="more than 1 files"):
        read_whole_files(folder, HowToRead())
