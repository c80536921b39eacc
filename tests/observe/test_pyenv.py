"""RECORD lookups: owned, altered, elsewhere; hostile RECORDs; directories of an interpreter."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.pyenv import (
    RecordIndex,
    import_root,
    list_distributions,
    parse_record,
    site_directories,
)


def recorded(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def install(site: Path, name: str, files: dict[str, bytes], *, installer: str = "pip") -> Path:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = []
    for relative, data in files.items():
        path = site / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        lines.append(f"{relative},{recorded(data)},{len(data)}")
    (info / "RECORD").write_text("\n".join([*lines, f"{name}-1.0.dist-info/RECORD,,"]) + "\n")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nName: not this\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    return info


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    install(folder, "torch", {"torch/__init__.py": b"", "torch/optim/adam.py": b"honest\n", "six.py": b"x\n"})
    install(folder, "Other_Thing", {"tests/__init__.py": b"\n"}, installer="conda")
    return folder


def test_distributions(site: Path) -> None:
    (site / "bare-2.0.dist-info").mkdir()
    found = {item.name: item for item in list_distributions(str(site))}
    assert (found["torch"].version, found["torch"].installer, found["torch"].editable) == (
        "1.0",
        "pip",
        False,
    )
    assert (found["bare"].version, found["bare"].installer) == ("2.0", "")
    assert list_distributions("/nowhere") == []


def test_editable(site: Path) -> None:
    info = site / "torch-1.0.dist-info"
    for text, editable in (
        ('{"dir_info": {"editable": true}}', True),
        ('{"dir_info": {}}', False),
        ("[]", False),
        ("[" * 100_000, False),
    ):
        (info / "direct_url.json").write_text(text)
        assert list_distributions(str(site))[-1].editable is editable


def test_lookup(site: Path) -> None:
    index = RecordIndex([str(site), "/nowhere", ""])
    entry = index.lookup(str(site / "torch" / "optim" / "adam.py"))
    assert entry is not None
    assert (entry.sha256, entry.size) == (hashlib.sha256(b"honest\n").hexdigest(), 7)
    assert (entry.distribution.name, entry.path) == ("torch", str(site / "torch/optim/adam.py"))
    assert index.lookup(str(site / "torch" / "other.py")) is None
    assert index.lookup("/elsewhere/torch/optim/adam.py") is None
    top = index.lookup(str(site / "six.py"))
    assert top is not None
    assert top.distribution.name == "torch"


def test_lookup_through_links(site: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(site)
    index = RecordIndex([str(tmp_path / "linked")])
    assert index.lookup(str(tmp_path / "linked" / "torch" / "optim" / "adam.py")) is not None
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "adam.py").symlink_to(site / "torch" / "optim" / "adam.py")
    assert index.lookup(str(tmp_path / "shadow" / "adam.py")) is not None
    # The installed file itself may be a link into a cache.
    cached = tmp_path / "cache.py"
    (site / "torch" / "optim" / "adam.py").rename(cached)
    (site / "torch" / "optim" / "adam.py").symlink_to(cached)
    assert index.lookup(str(site / "torch" / "optim" / "adam.py")) is not None


def test_elsewhere(site: Path) -> None:
    index = RecordIndex([str(site)])
    entry = index.elsewhere("/shadow/torch/optim/adam.py", "torch.optim.adam")
    assert entry is not None
    assert entry.path == str(site / "torch/optim/adam.py")
    package = index.elsewhere("/shadow/torch/__init__.py", "torch")
    assert package is not None
    assert index.elsewhere(str(site / "torch/optim/adam.py"), "torch.optim.adam") is None
    assert index.elsewhere("/job/tests/__init__.py", "tests") is None  # a name everybody uses
    assert index.elsewhere("/job/mine/_vendor/torch/optim/adam.py", "mine._vendor.torch.optim.adam") is None
    assert index.elsewhere("/job/train.py", "__main__") is None
    assert index.elsewhere("/shadow/torch/new.py", "torch.new") is None
    assert index.elsewhere("/shadow/torch/optim/adam.py", "") is None


def test_a_module_in_the_place_of_torchs_package(site: Path) -> None:
    """And a package in the place of a module; of other names projects have modules of their own."""
    (site / "evaluate").mkdir()
    (site / "evaluate-1.0.dist-info").mkdir()
    (site / "evaluate-1.0.dist-info" / "RECORD").write_text("evaluate/__init__.py,,\n")
    index = RecordIndex([str(site)])
    entry = index.elsewhere("/job/torch.py", "torch")
    assert entry is not None
    assert entry.path == str(site / "torch/__init__.py")
    package = index.elsewhere(str(site / "torch/optim/adam/__init__.py"), "torch.optim.adam")
    assert package is not None
    assert package.path == str(site / "torch/optim/adam.py")
    assert index.elsewhere("/job/evaluate.py", "evaluate") is None
    assert index.elsewhere("/job/torch.py", "mine.torch") is None


def test_directories_can_be_added(site: Path) -> None:
    index = RecordIndex([])
    assert index.lookup(str(site / "six.py")) is None
    index.add(import_root(str(site / "torch" / "optim" / "adam.py"), "torch.optim.adam"))
    assert index.lookup(str(site / "six.py")) is not None


def test_unreadable_record_is_named(site: Path) -> None:
    (site / "torch-1.0.dist-info" / "RECORD").unlink()
    index = RecordIndex([str(site)])
    assert index.lookup(str(site / "six.py")) is None
    assert index.unreadable == [str(site / "torch-1.0.dist-info" / "RECORD")]


def test_hostile_lines_are_left_out() -> None:
    good = f"a/b.py,{recorded(b'x')},1"
    lines = [
        "../../etc/passwd,,",
        "/etc/passwd,,",
        "a/../../b,,",
        "x" * 5000 + ",,",
        "nocommas",
        '"broken quote,,',
        '"' * 50_000,
        ",,",
        "a\0b,,",
        good,
        '"with,comma.py",,5',
        "md5.py,md5=abc,1",
        "short.py,sha256=abc,99999999999999999999",
    ]
    found = parse_record("\n".join(lines).encode())
    assert set(found) == {"a/b.py", "with,comma.py", "md5.py", "short.py"}
    assert found["a/b.py"] == (hashlib.sha256(b"x").hexdigest(), 1)
    assert found["with,comma.py"] == ("", 5)
    assert found["short.py"] == ("", -1)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_record(data: bytes) -> None:
    for path, (digest, size) in parse_record(data).items():
        assert not path.startswith("/")
        assert ".." not in path.split("/")
        assert len(digest) in (0, 64)
        assert size >= -1


PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters='\n\r\0"\\,\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029')
)


@given(st.dictionaries(PATHS.map(lambda text: f"pkg/{text}x"), st.binary(max_size=8), max_size=6))
def test_what_an_installer_writes_is_read(files: dict[str, bytes]) -> None:
    files = {path: data for path, data in files.items() if ".." not in path.split("/")}
    text = "".join(f"{path},{recorded(data)},{len(data)}\n" for path, data in files.items())
    expected = {path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in files.items()}
    assert parse_record(text.encode()) == expected


def test_site_directories(tmp_path: Path) -> None:
    base, env, home = tmp_path / "base", tmp_path / "env", tmp_path / "home"
    for folder in (base, env, home / ".local"):
        (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        (folder / "bin").mkdir()
    (base / "bin" / "python").write_text("")
    (env / "bin" / "python").symlink_to(base / "bin" / "python")
    python = str(env / "bin" / "python")

    def roots(settings: str) -> list[str]:
        (env / "pyvenv.cfg").write_text(settings)
        found = site_directories(python, "3.11", {"HOME": str(home), "PYTHONPATH": f"{tmp_path}{os.pathsep}"})
        return [
            Path(entry).relative_to(tmp_path).parts[0] if entry != str(tmp_path) else "." for entry in found
        ]

    assert roots("include-system-site-packages = false\n") == [".", "env"]
    assert roots("include-system-site-packages = true\n") == [".", "home", "env", "base"]


def test_a_name_that_does_not_end_a_path_has_no_root() -> None:
    assert import_root("/site/a/b.py", "other") == ""


RELATIVE = "pkg/a.py"
LINES = st.lists(
    st.sampled_from(
        [
            f"{RELATIVE},{recorded(b'1')},1",
            f"{RELATIVE},{recorded(b'2')},2",
            f"./{RELATIVE},{recorded(b'3')},3",
            f'"{RELATIVE}",{recorded(b"4")},4',
            f"other/{RELATIVE},{recorded(b'5')},5",
            f"{RELATIVE}c,,",
            f"{RELATIVE},,",
            f"{RELATIVE}",
            f"..\\{RELATIVE},,",
            "",
        ]
    ),
    max_size=6,
)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n", "\r"]), most=st.sampled_from([2, 100]))
def test_one_line_says_what_the_whole_record_says(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, most: int
) -> None:
    site = tmp_path_factory.getbasetemp() / "one-line"
    (site / "pkg-1.0.dist-info").mkdir(parents=True, exist_ok=True)
    data = end.join(lines).encode()
    (site / "pkg-1.0.dist-info" / "RECORD").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("veracity.observe.pyenv.MAX_LINES_WITH", most)
        found = RecordIndex([str(site)]).lookup(str(site / RELATIVE))
    expected = parse_record(data).get(RELATIVE)
    assert (None if found is None else (found.sha256, found.size)) == expected
