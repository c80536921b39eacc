"""The guard's own norm, and when it is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from veracity.guard import clipping
from veracity.guard.attention import Attention
from veracity.guard.schedule import LOOK, Schedule
from veracity.guard.steps import Steps

pytest.importorskip("torch")

import torch


def test_it_is_due_at_the_first_calls_and_then_by_a_key() -> None:
    def watched(key: bytes) -> list[bool]:
        steps = cast("Steps", SimpleNamespace(attention=Attention(key * 32, 0.01, Schedule(key, 0.01, LOOK))))
        watch = clipping.Watch(steps)
        return [watch._own([torch.ones(3)], 2.0) is not None for _ in range(500)]

    first, second = watched(b"a"), watched(b"b")
    assert first[: clipping.ALWAYS] == second[: clipping.ALWAYS] == [True] * clipping.ALWAYS
    assert first != second
    assert 30 < sum(first) < 100
