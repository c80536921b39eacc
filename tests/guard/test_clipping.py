"""The guard's own norm, and when it is computed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from veracity.guard import clipping
from veracity.guard.steps import Steps

pytest.importorskip("torch")


def test_it_is_due_at_the_first_calls_and_then_by_a_key() -> None:
    steps = cast("Steps", SimpleNamespace(known=list))
    one, other = (clipping.Watch(key * 32, steps) for key in (b"a", b"b"))
    first, second = ([watch._due() for _ in range(2000)] for watch in (one, other))
    assert first[: clipping.ALWAYS] == second[: clipping.ALWAYS] == [True] * clipping.ALWAYS
    assert first != second
    assert 180 < sum(first) < 320
