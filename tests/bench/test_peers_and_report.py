"""The spike detector sees spikes and keeps its false-alarm rate; the report says what the rows say."""

from __future__ import annotations

import math
import random
import sys
import tempfile

from bench.laws.peers.spikes import first_alarm, scores, threshold
from bench.laws.report import _eight
from bench.laws.rows import ROOT, latest, without_places


def falling(seed: int, steps: int = 60) -> list[float]:
    draw = random.Random(seed)
    return [2.0 * 0.97**step + draw.gauss(0, 0.05) for step in range(steps)]


def test_a_spike_is_seen_where_it_is() -> None:
    limit = threshold(falling(seed) for seed in range(50))
    losses = falling(99)
    assert first_alarm(losses, limit, 0) is None
    losses[40] += 3
    assert first_alarm(losses, limit, 0) == 40
    assert first_alarm(losses, limit, 41) is None


def test_at_most_one_clean_run_in_a_hundred_has_an_alarm() -> None:
    runs = [falling(seed) for seed in range(200)]
    limit = threshold(runs)
    assert sum(first_alarm(losses, limit, 0) is not None for losses in runs) <= 2


def test_losses_that_are_not_finite_are_alarms_and_no_part_of_the_median() -> None:
    found = scores([1.0] * 10 + [math.nan] + [1.0] * 5)
    assert found[10] == math.inf
    assert found[11:] == [0.0] * 5


def test_without_clean_runs_nothing_is_an_alarm() -> None:
    assert threshold([]) == math.inf


def test_the_last_row_of_a_case_at_the_commit_counts() -> None:
    rows = [
        {"case": "a", "commit": "1", "caught": "missed"},
        {"case": "a", "commit": "1", "caught": "law"},
        {"case": "a", "commit": "2", "caught": "void"},
    ]
    assert [row["caught"] for row in latest(rows, ["1"])] == ["law"]


def test_rows_do_not_name_folders_of_the_machine() -> None:
    said = f"{ROOT}/src/x.py, {sys.prefix}/bin/python, {tempfile.gettempdir()}/abc"
    assert without_places(said) == "<project>/src/x.py, <environment>/bin/python, <temporary>/abc"


def test_the_eight_are_told_with_the_step_that_was_affected_first() -> None:
    row = {"case": "a", "caught": "law", "by": ["gradient-changed"], "delay": 0, "told_delay": 2}
    lines = _eight([row | {"truth": {"0": {"first": 50, "last": 250, "count": 5}}}])
    assert lines[-1] == "| `a` | True | gradient-changed | 50 | 50 | 52 |"
    assert _eight([]) == []
