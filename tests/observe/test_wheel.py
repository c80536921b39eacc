"""Wheels as they are, and as somebody would make them to mislead."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scan.wheels import make_wheel
from veracity.core.errors import EvidenceError
from veracity.core.tree import CHUNK, add_chunks
from veracity.observe.wheel import WheelFile, read_archive, read_wheel, wheel_name


def test_every_file_has_its_place_and_digest(tmp_path: Path) -> None:
    tool = b"#!python\nprint(1)\n"
    path = make_wheel(
        tmp_path,
        "alpha",
        {"alpha/a.py": b"x", "alpha-1.0.data/scripts/tool": tool, "alpha-1.0.data/purelib/b.py": b"y"},
        commands="run = alpha.a : main [extra]",
        executable=["alpha/a.py"],
    )
    digest, wheel = read_wheel(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (wheel.name, wheel.version, wheel.tags) == ("alpha", "1.0", ("py3-none-any",))
    assert wheel.commands == {"run": "alpha.a:main"}
    assert wheel.unlike_record == ()
    files = {one.path: one for one in wheel.files}
    x = hashlib.sha256(b"x").hexdigest()
    assert files["alpha/a.py"] == WheelFile("lib", "alpha/a.py", x, x, 1, executable=True)
    assert files["b.py"].scheme == "lib"
    assert files["tool"].scheme == "scripts"
    assert files["tool"].rest == hashlib.sha256(b"print(1)\n").hexdigest()


def test_a_large_file_has_the_digest_of_a_tree(tmp_path: Path) -> None:
    data = bytes(CHUNK) + b"end"
    _, wheel = read_wheel(make_wheel(tmp_path, "alpha", {"w.bin": data}))
    file = next(one for one in wheel.files if one.path == "w.bin")
    chunks = [hashlib.sha256(part).hexdigest() for part in (data[:CHUNK], data[CHUNK:])]
    assert file.digest == add_chunks(len(data), chunks, lambda *_: None)
    assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_a_file_that_its_own_record_names_otherwise_is_told(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "alpha", {"a.py": b"x"}, record={"a.py": "A" * 43})
    assert read_wheel(path)[1].unlike_record == ("a.py",)


def test_an_archive_of_another_digest_is_not_read(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "alpha", {"a.py": b"x"})
    with pytest.raises(EvidenceError, match="has the SHA-256"):
        read_wheel(path, "0" * 64)


def archive(names: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in names.items():
            file.writestr(name, data)
    return made


INFO = {"a-1.dist-info/METADATA": b"Name: a\n", "a-1.dist-info/WHEEL": b"", "a-1.dist-info/RECORD": b""}


@pytest.mark.parametrize(
    "name",
    ["../up.py", "/abs.py", "a/../../b.py", "a\\b.py", "a//b.py", "a-1.data/unknown/x", "a-1.data/purelib/"],
)
def test_a_path_that_leads_elsewhere_is_refused(name: str) -> None:
    if name.endswith("/"):
        assert read_archive(archive({**INFO, name: b""}), "a.whl").files
        return
    with pytest.raises(EvidenceError):
        read_archive(archive({**INFO, name: b""}), "a.whl")


@pytest.mark.parametrize("missing", sorted(INFO))
def test_a_wheel_without_its_own_files_is_none(missing: str) -> None:
    with pytest.raises(EvidenceError):
        read_archive(archive({name: data for name, data in INFO.items() if name != missing}), "a.whl")


def test_two_files_of_one_name_are_refused() -> None:
    made = archive(INFO)
    with zipfile.ZipFile(made, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("a-1.dist-info/WHEEL", b"x")
    with pytest.raises(EvidenceError, match="two files of one name"):
        read_archive(made, "a.whl")


@given(st.binary(max_size=400), st.integers(0, 3000), st.binary(min_size=1, max_size=20))
def test_any_bytes_are_a_wheel_or_an_error(data: bytes, at: int, other: bytes) -> None:
    whole = archive({**INFO, "a.py": data}).getvalue()
    for broken in (data, whole[: at % len(whole)], whole[:at] + other + whole[at + len(other) :]):
        try:
            read_archive(io.BytesIO(broken), "a.whl")
        except EvidenceError:
            pass


def test_names_of_wheels() -> None:
    found = wheel_name("a_b-1.0-2-py2.py3-none-any.whl")
    assert found is not None
    assert (found.name, found.version, found.tags) == (
        "a_b",
        "1.0",
        frozenset({"py2-none-any", "py3-none-any"}),
    )
    assert wheel_name("a-1.0.tar.gz") is None
    assert wheel_name("a-1.0-py3-none.whl") is None
