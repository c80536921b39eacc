"""The program's own code beside its text, and beside what was sealed."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import time
import zipapp
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from veracity.core import codeobject
from veracity.core.observation import ModuleChecked, ModuleImported
from veracity.core.origin import Origin, Trust
from veracity.monitor.codecheck import CodeChecker
from veracity.monitor.program import ProgramText, SealedProgram, read_program
from veracity.monitor.sources import SourceStore
from veracity.observe.pyenv import RecordIndex

SRC = Path(codeobject.__file__).parents[2]
TEXT = b"RATE = 0.1\n\n\ndef step(x):\n    return x - RATE * x\n"
OTHER = TEXT.replace(b"x - RATE", b"x + RATE")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Place:
    """A folder with a program, and what is sealed of it: path → SHA-256."""

    root: Path
    sealed: dict[str, str] = field(default_factory=dict)

    def checked(self, path: Path, ran: bytes, *, changed: bool = False, seal: bool = True) -> ModuleChecked:
        """What is found of a program at ``path`` that runs the code of the text ``ran``."""
        started = 0 if changed else time.time_ns() + 10**12
        checker = CodeChecker(
            sys.executable, SRC, self.root / "cache", RecordIndex([]), self.sources, started
        )
        if seal:
            checker.sealed = SealedProgram(self.standing, lambda path: self.sealed.get(path, ""))
        code = compile(ran, str(path), "exec", dont_inherit=True)
        digest = codeobject.digest(code, columns=True)
        cached = importlib.util.cache_from_source(str(path))
        origin = Origin("guard", Trust.SELF_REPORT, 7, 0, 1, time.time_ns())
        seen = ModuleImported(
            origin, "__main__", str(path), cached, "SourceFileLoader", "program", digest, ""
        )
        try:
            for _ in range(2):  # another rank runs the same
                checker.submit(seen, marshal.dumps(code))
            (found,) = (one for one in checker.drain(30) if isinstance(one, ModuleChecked))
        finally:
            checker.close()
        return found

    def standing(self, path: str, digest: str) -> str:
        sealed = self.sealed.get(path)
        return "outside" if sealed is None else "same" if sealed == digest else "differs"

    @property
    def sources(self) -> SourceStore:
        return SourceStore(self.root / "sources")

    def write(self, data: bytes) -> Path:
        path = self.root / "train.py"
        path.write_bytes(data)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path.resolve())


def test_a_program_that_is_as_sealed(place: Place) -> None:
    path = place.write(TEXT)
    place.sealed[str(path)] = sha(TEXT)
    found = place.checked(path, TEXT)
    assert (found.sealed, found.bytecode, found.source_digest) == ("same", "same", sha(TEXT))


@pytest.mark.parametrize("changed", [False, True])
def test_a_program_that_was_exchanged_and_put_back(place: Place, changed: bool) -> None:
    path = place.write(TEXT)
    place.sealed[str(path)] = sha(TEXT)
    found = place.checked(path, OTHER, changed=changed)
    assert (found.sealed, found.bytecode) == ("differs", "forged")
    assert "changed: step" in found.reason


def test_a_program_that_is_not_as_sealed(place: Place) -> None:
    path = place.write(OTHER)
    place.sealed[str(path)] = sha(TEXT)
    found = place.checked(path, OTHER)
    assert (found.sealed, found.bytecode) == ("differs", "same")
    place.sources.keep(TEXT, sha(TEXT))
    found = place.checked(path, OTHER)
    assert (found.sealed, found.bytecode) == ("differs", "forged")


def test_a_program_that_was_edited_while_it_ran(place: Place) -> None:
    path = place.write(OTHER)
    place.sealed[str(path)] = sha(TEXT)
    found = place.checked(path, TEXT, changed=True)
    assert (found.sealed, found.bytecode) == ("unknown", "unchecked")
    place.sources.keep(TEXT, sha(TEXT))
    found = place.checked(path, TEXT, changed=True)
    assert (found.sealed, found.bytecode, found.source_digest) == ("same", "same", sha(TEXT))


def test_without_a_seal_an_edit_says_nothing_and_another_code_does(place: Place) -> None:
    path = place.write(TEXT)
    assert place.checked(path, TEXT, seal=False).bytecode == "same"
    edited = place.checked(path, OTHER, changed=True, seal=False)
    assert (edited.bytecode, "changed after" in edited.reason) == ("unchecked", True)
    assert place.checked(path, OTHER, seal=False).bytecode == "forged"
    outside = place.checked(path, OTHER, changed=True)
    assert (outside.sealed, outside.bytecode) == ("outside", "unchecked")


def archive(place: Place, text: bytes) -> Path:
    (place.root / "app").mkdir(exist_ok=True)
    (place.root / "app/__main__.py").write_bytes(text)
    target = place.root / "app.pyz"
    zipapp.create_archive(place.root / "app", target, interpreter="/usr/bin/env python")
    return target


def test_a_program_in_an_archive(place: Place) -> None:
    path = archive(place, TEXT)
    place.sealed[str(path)] = sha(path.read_bytes())
    found = place.checked(path / "__main__.py", TEXT)
    assert (found.sealed, found.bytecode, found.source_digest) == ("same", "same", sha(TEXT))
    assert place.checked(path / "__main__.py", OTHER).sealed == "differs"
    archive(place, OTHER)
    assert place.checked(path / "__main__.py", OTHER).sealed == "differs"
    assert place.checked(path / "__main__.py", TEXT).sealed == "unknown"


def test_what_cannot_be_read(place: Place) -> None:
    assert read_program("train.py") == "it has no file"
    assert read_program(str(place.root / "none.py")) == "it is gone"
    (place.root / "train.pyc").write_bytes(b"")
    assert read_program(str(place.root / "train.pyc")) == "compiled code was started"
    path = place.write(b"no archive")
    assert "cannot be read from its archive" in str(read_program(str(path / "__main__.py")))
    made = archive(place, TEXT)
    assert "cannot be read from its archive" in str(read_program(str(made / "other.py")))
    assert isinstance(read_program(str(made / "__main__.py")), ProgramText)
    assert os.path.isabs(str(made))
