"""A few elements of one tensor, or one setting of a layer, are changed on purpose: found as warnings.

Their clean twin, which is not warned of, is in ``test_planted_schedule.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, at_start_of_step, before_step, planted_script, train
from veracity.core.rule import Severity
from veracity.drill.sabotage import MARK

STEPS = 18
AT = 13
WEIGHT = "training.model.blocks[0].feed[0].weight"
START = "    batches = take_batches(loader, training.position)\n"
HOOK = f"""\
    def act(optimizer, args, kwargs):  {MARK}
        for one in training.model.parameters() if training.step == {AT} else ():
            one.grad.mul_(1.2)
    training.optimizer.register_step_pre_hook(act)
"""


def options(folder: Path) -> list[str]:
    return [*TINY, "--steps", str(STEPS), "--out-dir", str(folder / "out")]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (before_step(f"n == {AT}", f"{WEIGHT}.grad[5, 3] = 0.0"), "gradient-written"),
        pytest.param(
            at_start_of_step(f"n == {AT}", "with torch.no_grad():", f"    {WEIGHT}[5, 3] += 1e-3"),
            "continuity-weights-written",
            marks=pytest.mark.soak,
        ),
        pytest.param((START, HOOK + START), "gradient-hook-began", marks=pytest.mark.soak),
        pytest.param(
            at_start_of_step("n >= 0", f"training.model.norm.eps = 0.3 if n == {AT} else 1e-5"),
            "continuity-layer-altered",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_a_write_at_one_step_is_found(home: Path, tmp_path: Path, change: tuple[str, str], rule: str) -> None:
    summary = train(home, planted_script(tmp_path, change), options(tmp_path))
    # By chance an element is sampled as well, or its tensor's fingerprint taken: then there is an error too.
    (found,) = [one for one in summary.findings if one.rule == rule]
    assert (found.severity, found.first_step) == (Severity.WARNING, AT)
    if rule == "gradient-hook-began":
        assert "act" in found.subject
    elif rule == "continuity-layer-altered":
        assert found.subject == "norm: eps"
    else:
        assert "blocks.0.feed.0.weight" in found.message
