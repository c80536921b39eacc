"""Schedulers and generators are misused on purpose, in real runs: found as warnings, which break nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, at_start_of_step, planted_script, train, warned
from veracity.drill.sabotage import MARK
from veracity.drill.victim import victim_path

STEP = "    training.schedule.step()\n"
COSINE = "    cosine = CosineAnnealingLR(optimizer, T_max=max(1, decay_steps - warmup), eta_min=min_lr)\n"
START = "    batches = take_batches(loader, training.position)\n"


def options(folder: Path, steps: int) -> list[str]:
    return [*TINY, "--steps", str(steps), "--decay-steps", "200", "--out-dir", str(folder / "out")]


def test_a_clean_schedule_is_not_warned_of(home: Path, tmp_path: Path) -> None:
    """One for each step; that of a victim with one for each pass is in ``test_planted.py``."""
    assert warned(train(home, victim_path("chargpt"), options(tmp_path, 40))) == []


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (f"    if training.step == 20: training.schedule.step()  {MARK}\n{STEP}", "stepped 2 times"),
        pytest.param(
            f"    if training.step not in (20, 21, 30): training.schedule.step()  {MARK}\n",
            "for 2 steps",
            marks=pytest.mark.soak,
        ),
        pytest.param(
            f"    if training.step < 20: training.schedule.step()  {MARK}\n",
            "its schedule is not over",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_the_scheduler_is_not_stepped_as_before(home: Path, tmp_path: Path, planted: str, words: str) -> None:
    summary = train(home, planted_script(tmp_path, (STEP, planted)), options(tmp_path, 50))
    (finding,) = warned(summary)
    assert finding.rule == "schedule-cadence"
    assert finding.first_step == 21
    assert words in finding.message


@pytest.mark.soak
def test_the_warm_up_is_skipped(home: Path, tmp_path: Path) -> None:
    ahead = f"    for _ in range(12): training.schedule.step()  {MARK}\n"
    summary = train(home, planted_script(tmp_path, (START, ahead + START)), options(tmp_path, 20))
    (finding,) = warned(summary)
    assert finding.rule == "schedule-cadence"
    assert finding.first_step == 0


@pytest.mark.soak
def test_the_rates_that_a_schedule_starts_from_are_edited(home: Path, tmp_path: Path) -> None:
    own = (
        f"    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 50))  {MARK}\n"
    )
    clean = (COSINE, own + COSINE)
    assert warned(train(home, planted_script(tmp_path, clean), options(tmp_path, 20))) == []
    edit = "training.schedule.base_lrs = [0.9 * rate for rate in training.schedule.base_lrs]"
    planted = f"    if training.step == 12: {edit}  {MARK}\n{STEP}"
    summary = train(home, planted_script(tmp_path, clean, (STEP, planted)), options(tmp_path, 20))
    (finding,) = warned(summary)
    assert (finding.rule, finding.first_step) == ("schedule-drift", 13)


@pytest.mark.parametrize("steady", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_seed_is_set_at_each_step(home: Path, tmp_path: Path, steady: bool) -> None:
    """From step 15 on it is found; from the first on it may be meant."""
    lines = "torch.manual_seed(7)", "torch.rand(3)"
    script = planted_script(
        tmp_path, at_start_of_step(f"n >= {0 if steady else 15} or not torch.rand(1)", *lines)
    )
    found = warned(train(home, script, options(tmp_path, 30)))
    assert [(one.rule, one.first_step) for one in found] == (
        [] if steady else [("randomness-state-returned", 16)]
    )
