"""A law that could check and then no longer can has stopped; one that never could has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from tests.detect.rules.update.test_not_declared import Run
from veracity.detect.rules.update.watched import BLIND_STEPS


def _run(clear: int, blind: int, clear_again: int = 0) -> str:
    run = Run("AdamW")
    for closure, steps in ((False, clear), (True, blind), (False, clear_again)):
        for _ in range(steps):
            list(run.detector.observe(replace(run.record(), closure=closure)))
    return run.detector.coverage().stopped


def test_a_closure_that_arrives_in_the_middle_stops_the_law() -> None:
    assert "closure" in _run(clear=3, blind=BLIND_STEPS)


@pytest.mark.parametrize(
    ("clear", "blind", "again"), [(3, BLIND_STEPS - 1, 0), (0, 50, 0), (3, BLIND_STEPS, 1)]
)
def test_what_never_could_check_or_can_again_has_not_stopped(clear: int, blind: int, again: int) -> None:
    assert _run(clear, blind, again) == ""
