"""Where the code of imported modules waits for its way out: apart from the heap, and whole."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.guard.conftest import config_for, read_frames
from veracity.core.observation import ModuleImported
from veracity.guard import imports
from veracity.guard.session import Session
from veracity.monitor.decode import observation_of, read_header


def test_bodies_are_kept_as_they_are_in_pieces_of_mapped_memory() -> None:
    bodies = imports.Bodies()
    given = [bytes([number]) * (number * 1979) for number in range(1, 120)]
    given.append(b"large" * imports.PIECE)
    kept = [bodies.keep(memoryview(one)) for one in given]
    assert [bytes(one) for one in kept] == given
    assert bodies.held == sum(map(len, given))
    assert all(type(one.obj).__name__ == "mmap" for one in kept)


def test_what_is_beyond_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MAX_HELD", 1000)
    bodies = imports.Bodies()
    assert len(bodies.keep(memoryview(bytes(900)))) == 900
    assert len(bodies.keep(memoryview(bytes(101)))) == 0
    assert len(bodies.keep(memoryview(bytes(100)))) == 100


def test_a_body_that_is_known_is_not_kept_and_another_is_shipped(tmp_path: Path) -> None:
    known, other = b"a body that was verified", b"another body"
    listed = tmp_path / "known"
    listed.write_text(hashlib.sha256(known).hexdigest())
    session = Session(replace(config_for(tmp_path), known_bytecode=str(listed)))
    watch = imports.ImportWatch(session)
    watch.bytecode(memoryview(known), "known", "known.pyc", "known.py")
    watch.bytecode(other, "other", "other.pyc", "other.py")
    assert watch._bodies.held == len(other)
    watch.flush()
    told = {}
    for frame in read_frames(tmp_path / "spool"):
        one = observation_of(read_header(frame), frame, pid=1, rank=0, verified=True)
        if isinstance(one, ModuleImported) and one.captured == "bytecode":
            told[one.module] = one.sha256, frame.blob
    assert told == {
        "known": (hashlib.sha256(known).hexdigest(), b""),
        "other": (hashlib.sha256(other).hexdigest(), other),
    }
    assert watch._bodies.held == 0
