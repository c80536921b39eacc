"""What distributions say of themselves: each field, and what is hostile in it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.observe import packages
from veracity.observe.packages import Environment, Origin, Package, read_environment

METADATA = "Metadata-Version: 2.4\nName: Some_Net\nVersion: 1.0+cpu\n"


def put(site: Path, metadata: str | None = METADATA, url: object = None, info: str = "x-1.dist-info") -> Path:
    folder = site / info
    folder.mkdir(parents=True)
    if metadata is not None:
        (folder / "METADATA").write_text(metadata)
    if url is not None:
        (folder / "direct_url.json").write_text(json.dumps(url))
    return folder


def only(site: Path) -> Package:
    found = read_environment([str(site)])
    assert (len(found.packages), found.unread) == (1, ())
    return found.packages[0]


def test_a_distribution_names_itself(tmp_path: Path) -> None:
    folder = put(tmp_path)
    assert only(tmp_path) == Package("Some_Net", "1.0+cpu", "", (), Origin(), "")
    (folder / "RECORD").write_bytes(b"a.py,,\n")
    assert only(tmp_path).record == hashlib.sha256(b"a.py,,\n").hexdigest()


@pytest.mark.parametrize(
    ("lines", "expression", "licences"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: x\n", "MIT OR Apache-2.0", ()),
        ("License: BSD\nClassifier: License :: OSI Approved :: MIT License\n", "", ("BSD",)),
        (
            "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n"
            "Classifier: License :: OSI Approved\nClassifier: Topic :: Security\n",
            "",
            ("MIT License",),
        ),
        ("License: A whole\n  text of it\nClassifier: License :: Other\n", "", ("Other",)),
        (f"License: {'x' * 300}\n", "", ()),
        ("\nLicense: in the description\n", "", ()),
    ],
)
def test_licences_as_stated(tmp_path: Path, lines: str, expression: str, licences: tuple[str, ...]) -> None:
    put(tmp_path, METADATA + lines)
    found = only(tmp_path)
    assert (found.expression, found.licences) == (expression, licences)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (
            {
                "url": "https://me:secret@host.example:8080/a.whl?token=1#x",
                "archive_info": {"hash": "sha256=" + "a" * 64},
            },
            Origin("archive", "https://host.example:8080/a.whl", "", (("sha256", "a" * 64),)),
        ),
        (
            {
                "url": "file:///home/me/a.whl",
                "archive_info": {"hashes": {"sha512": "b" * 128, "md5": "c" * 32}},
            },
            Origin("archive", "", "", (("sha512", "b" * 128),)),
        ),
        (
            {"url": "https://host.example/r.git", "vcs_info": {"vcs": "git", "commit_id": "c" * 40}},
            Origin("vcs", "git+https://host.example/r.git", "c" * 40),
        ),
        (
            {"url": "https://host.example/r.git", "vcs_info": {"vcs": "git\n", "commit_id": "a b"}},
            Origin("vcs", "https://host.example/r.git"),
        ),
        ({"url": "file:///src", "dir_info": {"editable": True}}, Origin("editable")),
        ({"url": "file:///src", "dir_info": {}}, Origin("directory")),
        ({"url": "https://host.example/ \n", "archive_info": {}}, Origin("archive")),
        ({"url": "https://host.example:x/", "archive_info": {}}, Origin("archive")),
        ({"url": "https://host.example/%zz", "archive_info": {}}, Origin("archive")),
        ({"url": "https://host.example/[", "archive_info": {}}, Origin("archive")),
        ({"url": 1, "archive_info": {"hashes": {"sha256": 1}, "hash": 2}}, Origin("archive")),
        ({"url": "https://host.example/"}, Origin()),
        ([], Origin()),
    ],
)  # fmt: skip
def test_where_it_came_from(tmp_path: Path, url: object, origin: Origin) -> None:
    put(tmp_path, url=url)
    assert only(tmp_path).origin == origin


def test_older_metadata(tmp_path: Path) -> None:
    put(tmp_path, None, info="x-1.egg-info")
    (tmp_path / "x-1.egg-info" / "PKG-INFO").write_text(METADATA)
    (tmp_path / "y-1.egg-info").write_text("Name: y\r\nVersion: 2\r\n\r\nText")
    assert sorted(one.name for one in read_environment([str(tmp_path)]).packages) == ["Some_Net", "y"]


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, None, info="empty-1.dist-info")
    put(tmp_path, "Name: only\n", info="half-1.dist-info")
    put(tmp_path, "Name: a\x1b[2J\nVersion: 1\n", info="odd-1.dist-info")
    pipe = put(tmp_path, None, info="pipe-1.dist-info")
    os.mkfifo(pipe / "METADATA")
    (tmp_path / "old.egg-link").write_text("/src")
    found = read_environment([str(tmp_path), str(tmp_path / "absent")])
    assert found.packages == ()
    assert len(found.unread) == 6
    monkeypatch.setattr(packages, "MAX_DISTRIBUTIONS", 2)
    assert any("more than 2" in one for one in read_environment([str(tmp_path)]).unread)


def test_one_directory_counts_once_and_order_is_of_names(tmp_path: Path) -> None:
    site = tmp_path / "lib"
    for number, name in enumerate(("b", "a_c", "A-b")):
        put(site, f"Name: {name}\nVersion: 1\n", info=f"{number}.dist-info")
    os.symlink("lib", tmp_path / "lib64")
    found = read_environment([str(site), str(tmp_path / "lib64")])
    assert [one.name for one in found.packages] == ["A-b", "a_c", "b"]


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=120), st.binary(max_size=60))
def test_any_metadata_is_read(metadata: bytes, url: bytes) -> None:
    with tempfile.TemporaryDirectory() as site:
        folder = put(Path(site))
        (folder / "METADATA").write_bytes(METADATA.encode() + metadata)
        (folder / "direct_url.json").write_bytes(url)
        assert isinstance(read_environment([site]), Environment)
