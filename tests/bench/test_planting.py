"""The planted lines fire when the trigger says so, and note it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.laws.planting import Lines, Trigger, prelude, read_truth
from bench.laws.targets import READER
from veracity.drill.sabotage import MARK

TRIGGERS_TRIED = (
    Trigger("from", 3),
    Trigger("every", 2, period=3),
    Trigger("once", 4),
    Trigger("chance", 1, chance=0.5, key=9),
)


@pytest.mark.parametrize("trigger", TRIGGERS_TRIED, ids=lambda one: one.kind)
def test_planted_code_and_trigger_agree(trigger: Trigger, tmp_path: Path) -> None:
    truth = tmp_path / "acted.txt"
    space: dict[str, object] = {}
    exec(prelude(READER, trigger, truth).new, space)
    acts = space["drill_acts"]
    assert callable(acts)
    fired = [step for step in range(20) if acts(step)]
    assert fired == trigger.steps(20)
    assert 0 < len(fired) < 20
    assert read_truth(truth) == {0: fired}


def test_only_the_rank_named_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, object] = {}
    exec(prelude(READER, Trigger("from", 0), tmp_path / "acted.txt").new, space)
    acts = space["drill_acts"]
    assert callable(acts)
    assert not acts(0, rank=1)
    monkeypatch.setenv("RANK", "1")
    assert acts(0, rank=1)
    assert read_truth(tmp_path / "acted.txt") == {1: [0]}


def test_truth_is_empty_where_nothing_acted(tmp_path: Path) -> None:
    assert read_truth(tmp_path / "acted.txt") == {}


def test_lines_instead_of_a_statement_keep_it_for_other_steps() -> None:
    edit = Lines("zero", "instead", ("pass",)).edit(READER, "left out", 1.0)
    assert edit.new == (
        f"        if drill_acts(step):  {MARK} left out\n"
        "            pass\n"
        "        else:\n"
        "            optimizer.zero_grad()\n"
    )


def test_lines_are_filled_in_with_the_scripts_names_and_the_strength() -> None:
    edit = Lines("update", "before", ("$layer.weight.mul_(1 - $s)",), rank=1).edit(READER, "x", 0.25)
    assert "drill_acts(step, rank=1)" in edit.new
    assert "raw.head.weight.mul_(1 - 0.25)" in edit.new
    assert edit.new.endswith(READER.sites["update"])
