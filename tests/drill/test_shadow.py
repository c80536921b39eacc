"""A shadow is the package, but for what was edited; and the package stays as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from veracity.core.errors import UsageError
from veracity.drill.sabotage import BIAS_CORRECTION, MARK, Edit, Sabotage
from veracity.drill.shadow import build_shadow, edited_text, shadow_environment

FILES = {
    "__init__.py": "",
    "top.py": "A = 1\n",
    "sub/__init__.py": "",
    "sub/one.py": "B = 1\n",
    "sub/two.py": "C = 1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "installed" / "thing"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code = "import thing.top, thing.sub.one, thing.sub.two"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(folder.parent)}, check=True)
    return folder


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_only_the_edited_file_differs(package: Path, tmp_path: Path) -> None:
    before = state(package)
    root = build_shadow(package, tmp_path / "shadow", {"sub/one.py": f"B = 2  {MARK} two\n"})
    assert not (root / "thing" / "sub").is_symlink()
    assert (root / "thing" / "top.py").is_symlink()
    assert not (root / "thing" / "sub" / "one.py").is_symlink()
    code = "import thing.top as t, thing.sub.one as o, thing.sub.two as w; print(t.A, o.B, w.C, o.__file__)"
    environment = shadow_environment({"PYTHONPATH": str(package.parent)}, root)
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert printed.split() == ["1", "2", "1", str(root / "thing" / "sub" / "one.py")]
    assert state(package) == before


def test_compiled_files_are_shared_but_not_that_of_the_edited_one(package: Path, tmp_path: Path) -> None:
    root = build_shadow(package, tmp_path / "shadow", {"sub/one.py": "B = 2\n"})
    cache = root / "thing" / "sub" / "__pycache__"
    assert not cache.is_symlink()
    stems = {path.name.split(".")[0] for path in cache.iterdir()}
    assert stems == {"__init__", "two"}


def test_the_shadow_comes_first_and_nothing_is_compiled_into_it(tmp_path: Path) -> None:
    environment = shadow_environment({"PYTHONPATH": "/a", "X": "1"}, tmp_path)
    assert environment["PYTHONPATH"] == f"{tmp_path}{os.pathsep}/a"
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["X"] == "1"
    assert shadow_environment({}, tmp_path)["PYTHONPATH"] == str(tmp_path)


@pytest.mark.parametrize("file", ["../x.py", "/etc/x.py", "sub/../../x.py", ""])
def test_a_path_outside_the_package_is_refused(package: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(UsageError):
        build_shadow(package, tmp_path / "shadow", {file: ""})
    assert not (tmp_path / "shadow").exists()


def test_a_folder_that_is_there_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow" / "thing").mkdir(parents=True)
    with pytest.raises(UsageError):
        build_shadow(package, tmp_path / "shadow", {"top.py": ""})


def test_an_edit_needs_its_text_exactly_once() -> None:
    edit = Edit("top.py", "A = 1", f"A = 2  {MARK}")
    assert edit.apply("x\nA = 1\n") == f"x\nA = 2  {MARK}\n"
    for text in ("", "A = 1\nA = 1\n"):
        with pytest.raises(UsageError) as caught:
            edit.apply(text)
        assert caught.value.diagnostics().where == "top.py"


def test_an_edit_must_be_marked() -> None:
    with pytest.raises(ValueError, match="not marked"):
        Edit("top.py", "A = 1", "A = 2")


def test_the_first_edit_that_fits_is_used(package: Path) -> None:
    edits = (
        Edit("missing.py", "A", MARK),
        Edit("sub/one.py", "A = 1", f"A = 2  {MARK}"),
        Edit("top.py", "A = 1", f"A = 2  {MARK}"),
    )
    sabotage = Sabotage("name", "about", "some-rule", edits)
    assert edited_text(package, sabotage) == ("top.py", f"A = 2  {MARK}\n")
    with pytest.raises(UsageError) as caught:
        edited_text(package, Sabotage("name", "about", "some-rule", edits[:2]))
    assert "sub/one.py" in caught.value.diagnostics().where


# How the line is written in torch: until 2.2, since then, and since AdamW became a kind of Adam.
TEXTS = {
    "optim/adamw.py": "            bias_correction2_sqrt = _dispatch_sqrt(bias_correction2)\n",
    "optim/adam.py": "            bias_correction2_sqrt = bias_correction2**0.5\n",
}


def test_the_bias_correction_is_known_in_old_and_new_torch() -> None:
    assert BIAS_CORRECTION.choose(TEXTS).file == "optim/adamw.py"
    new = {"optim/adamw.py": "from .adam import Adam\n", "optim/adam.py": TEXTS["optim/adam.py"]}
    chosen = BIAS_CORRECTION.choose(new)
    assert chosen.file == "optim/adam.py"
    assert chosen.apply(new[chosen.file]).startswith("            bias_correction2_sqrt = 1.0  " + MARK)
