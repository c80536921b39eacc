"""The program's own code, as it stands in the frame that runs it, however it was started."""

from __future__ import annotations

import json
import marshal
import os
import subprocess
import sys
import zipapp
from pathlib import Path
from types import CodeType

import pytest

from veracity.core import codeobject

SRC = str(Path(codeobject.__file__).parents[2])
LOOK = """
import json, sys, threading
sys.path.insert(0, {src!r})
from veracity.guard.program import find_program

def told(found):
    print(json.dumps(None if found is None else [found.path, found.digest, found.body.hex(), found.reason]))

told(find_program())
"""
TEXT = LOOK.format(src=SRC)


def started(*words: str, folder: Path, text: str | None = None) -> list[list[str] | None]:
    done = subprocess.run(
        [sys.executable, "-B", *words], cwd=folder, input=text, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_code_of(found: list[str] | None, path: Path, text: str) -> bool:
    """Whether what was found is what the text compiles to, as a .pyc would hold it."""
    assert found is not None
    loaded = marshal.loads(bytes.fromhex(found[2]))
    assert isinstance(loaded, CodeType)
    fresh = compile(text, found[0], "exec", dont_inherit=True)
    same = codeobject.digest(loaded, columns=True) == codeobject.digest(fresh, columns=True) == found[1]
    return same and found[0] == str(path)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "train.py"
    path.write_text("#!/usr/bin/env python\n" + TEXT)
    (found,) = started("train.py", folder=tmp_path)
    assert is_code_of(found, path, path.read_text())


def test_a_module_of_a_package_that_looks_before_its_program_runs(tmp_path: Path) -> None:
    package = tmp_path.resolve() / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text(TEXT)
    (package / "train.py").write_text(TEXT)
    before, found = started("-m", "pkg.train", folder=tmp_path)
    assert before is None
    assert is_code_of(found, package / "train.py", TEXT)


def test_an_archive(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__main__.py").write_text(TEXT)
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz", interpreter="/usr/bin/env python")
    (found,) = started("app.pyz", folder=tmp_path)
    assert found is not None
    assert is_code_of(
        [os.path.abspath(tmp_path / found[0]), *found[1:]], tmp_path / "app.pyz/__main__.py", TEXT
    )


@pytest.mark.parametrize(("words", "how"), [(("-c", TEXT), "(-c)"), (("-",), "through a pipe")])
def test_a_program_without_a_file(tmp_path: Path, words: tuple[str, ...], how: str) -> None:
    (found,) = started(*words, folder=tmp_path, text=TEXT)
    assert found is not None
    assert found[:3] == ["", "", ""]
    assert how in found[3]


def test_in_a_thread_and_in_a_function(tmp_path: Path) -> None:
    text = TEXT + (
        "def deep(left):\n    told(find_program()) if left == 0 else deep(left - 1)\n"
        "deep(50)\nthread = threading.Thread(target=deep, args=(5,))\nthread.start()\nthread.join()\n"
    )
    path = tmp_path.resolve() / "train.py"
    path.write_text(text)
    found = started("train.py", folder=tmp_path)
    assert len(found) == 3
    assert all(is_code_of(one, path, text) for one in found)


def test_a_program_that_executes_another_text_as_itself_is_seen_for_what_it_is(tmp_path: Path) -> None:
    """The frame further out is the true one."""
    (tmp_path / "sealed.py").write_text(TEXT)
    path = tmp_path.resolve() / "train.py"
    text = f"exec(compile(open('sealed.py').read(), {str(path)!r}, 'exec'), globals())\n"
    path.write_text(text)
    (found,) = started("train.py", folder=tmp_path)
    assert is_code_of(found, path, text)


def test_a_process_that_multiprocessing_starts_anew(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "train.py"
    path.write_text(
        TEXT + "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=len, args=((),))\n"
        "    process.start()\n    process.join()\n"
    )
    parent, child = (one for one in started("train.py", folder=tmp_path) if one)
    assert parent[:2] == child[:2]
    assert is_code_of(child, path, path.read_text())
