"""Modules are found where Python's own finder finds them, in any layout."""

from __future__ import annotations

import importlib.machinery
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.observe.definition.search import Finder, search_path
from veracity.observe.interpreter import PythonEnvironment

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
SUFFIXES = (
    *(".py", ".pyc", *importlib.machinery.EXTENSION_SUFFIXES, ".txt", ".cpython-309-x86_64-linux-gnu.so"),
    "",
)
FILES = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from(["x", "x/y", "x/__init__", "x/y/__init__", "y", "xy"]),
    st.sampled_from(SUFFIXES),
)


def by_python(module: str, folders: Sequence[str]) -> tuple[list[str], bool]:
    """The files that importing ``module`` would execute, and whether it is there at all."""
    path: list[str] | None = list(folders)
    found = []
    for part in module.split("."):  # by themselves, since packages would be looked up in sys.modules
        spec = importlib.machinery.PathFinder.find_spec(part, path) if path else None
        if spec is None:
            return [], False
        if spec.origin is not None and spec.has_location:
            found.append(spec.origin)
        path = list(spec.submodule_search_locations) if spec.submodule_search_locations is not None else None
    return found, True


@settings(max_examples=examples(200))
@given(st.lists(FILES, max_size=7), st.sampled_from(["x", "y", "x.y", "x.z", "xy", "x.y.x"]))
def test_a_layout_is_read_as_python_reads_it(files: list[tuple[str, str, str]], module: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        for folder, name, suffix in files:
            place = Path(root, folder, name + suffix)
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.mkdir() if not suffix else place.touch()
            except (FileExistsError, NotADirectoryError):
                continue
        folders = [f"{root}/one", f"{root}/two"]
        expected, there = by_python(module, folders)
        located = Finder(VERSION).locate(module, folders)
        assert ([path for _, path in located.files], located.found) == (expected, there)
        if located.files and not located.namespaces:
            assert located.files[-1][1] in Finder(VERSION).every(module, folders)


def test_the_order_of_the_path_is_that_of_site(tmp_path: Path) -> None:
    prefix, base, own = tmp_path / "venv", tmp_path / "base", tmp_path / "own"
    for folder in (prefix / "site", base / "site", own / "site", tmp_path / "added", base / "stdlib"):
        folder.mkdir(parents=True)
    (prefix / "site" / "a.pth").write_text(
        f"{tmp_path}/added\nimport this_is_code\n# {own}\n../../own\n/nowhere\n"
    )
    # As found in files: the account's before the environment's own, which site adds first.
    sites = (f"{own}/site", f"{prefix}/site", f"{base}/site")
    one = PythonEnvironment("/p", VERSION, str(prefix), sites, f"{base}/stdlib", virtual=True)
    found = search_path(one, {"PYTHONPATH": f"{tmp_path}/first:"})
    zipped = f"{base}/python{VERSION.replace('.', '')}.zip"
    assert found.folders == (
        *(f"{tmp_path}/first", zipped, f"{base}/stdlib", f"{base}/stdlib/lib-dynload"),
        *(f"{prefix}/site", f"{tmp_path}/added", f"{prefix}/site/../../own", f"{own}/site", f"{base}/site"),
    )
    assert found.doubts == ()


@pytest.mark.parametrize("module", ["x", "x.y"])
def test_a_link_that_leads_nowhere_is_no_module(tmp_path: Path, module: str) -> None:
    (tmp_path / "x.py").symlink_to("gone")
    assert not Finder(VERSION).locate(module, [str(tmp_path), "/nowhere", "\0"]).found
