"""The first step of a pass, for each optimizer of each process."""

from __future__ import annotations

import pytest

from veracity.detect import newpass
from veracity.detect.newpass import NewPasses


def test_each_optimizer_has_a_first_step_of_its_own() -> None:
    passes = NewPasses()
    assert not passes.step(1, 0)
    passes.begin(1)
    assert passes.waiting(1)
    assert [passes.step(1, optimizer) for optimizer in (0, 1, 0, 1)] == [True, True, False, False]
    assert not passes.waiting(1)
    assert not passes.step(2, 0)


def test_no_more_than_so_many_processes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newpass, "MAX_KEPT", 2)
    passes = NewPasses()
    for pid in (1, 2, 3):
        passes.begin(pid)
    assert [passes.step(pid, 0) for pid in (1, 2, 3)] == [True, True, False]
