"""What is hung on an optimizer, steps beside it, or is saved of its weights, each with its clean twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, at_start_of_step, before_step, breaking, planted_script, train
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.drill.sabotage import MARK

STEPS = 30
SAVE = "    torch.save(checkpoint, path)\n"


def options(folder: Path) -> list[str]:
    return [*TINY, "--steps", str(STEPS), "--out-dir", str(folder / "out")]


def warnings_of(summary: RunSummary) -> list[Finding]:
    """All findings above a note; none may be one that breaks the run."""
    assert summary.verdict is not None
    assert breaking(summary) == {}
    assert summary.verdict.outcome is Outcome.HELD, (summary.verdict, summary.gaps)
    return [one for one in summary.findings if one.severity is not Severity.NOTE]


def hooked(due: str, act: str) -> tuple[str, str]:
    """A hook after each step, put on the optimizer before the first one."""
    return at_start_of_step(
        "n == 0",
        "import torch",
        "def hook(optimizer, args, kwargs, *, training=training):",
        f"    if {due}:",
        "        with torch.no_grad():",
        f"            for one in training.model.parameters(): {act}",
        "training.optimizer.register_step_post_hook(hook)",
    )


@pytest.mark.soak
def test_weights_scaled_by_a_hook_at_step_20(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, hooked("training.step == 20", "one.mul_(0.99)"))
    summary = train(home, script, options(tmp_path))
    (finding,) = warnings_of(summary)
    assert (finding.rule, finding.first_step) == ("continuity-weights-changed", 20)
    (place,) = finding.locations
    assert place.path == str(script)
    assert "def hook" in script.read_text(encoding="utf-8").splitlines()[(place.line or 0) - 1]
    assert summary.coverage["update"].checked == STEPS


@pytest.mark.soak
def test_weights_bounded_by_a_hook_after_each_step(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, hooked("True", "one.clamp_(-0.05, 0.05)"))
    summary = train(home, script, options(tmp_path))
    assert warnings_of(summary) == []
    assert summary.coverage["update"].checked == STEPS, summary.coverage["update"].reasons
    assert summary.coverage["weight-continuity"].checked == STEPS - 1


def test_second_optimizer_built_again_and_again_from_step_12(home: Path, tmp_path: Path) -> None:
    second = "torch.optim.SGD(training.model.parameters(), lr=1e-4).step()"
    script = planted_script(tmp_path, before_step("n >= 12 and n % 6 == 0", "import torch", second))
    summary = train(home, script, options(tmp_path))
    (finding,) = warnings_of(summary)
    assert (finding.rule, finding.first_step) == ("update-second-optimizer", 18)
    assert "SGD" in finding.subject


@pytest.mark.soak
def test_second_optimizer_from_the_first_step_on(home: Path, tmp_path: Path) -> None:
    build = "training.second = torch.optim.SGD(training.model.parameters(), lr=1e-4)"
    script = planted_script(
        tmp_path,
        at_start_of_step("n == 0", "import torch", build),
        before_step("n % 2 == 0", "training.second.step()"),
    )
    summary = train(home, script, options(tmp_path))
    assert warnings_of(summary) == []
    assert summary.coverage["update"].checked == STEPS + STEPS // 2


@pytest.mark.soak
def test_a_tensor_put_into_the_group_without_decay_at_step_14(home: Path, tmp_path: Path) -> None:
    moved = "groups[1]['params'].append(groups[0]['params'].pop(1))"
    script = planted_script(
        tmp_path, before_step("n == 14", "groups = training.optimizer.param_groups", moved)
    )
    summary = train(home, script, options(tmp_path))
    (finding,) = warnings_of(summary)
    assert (finding.rule, finding.first_step) == ("update-parameters-regrouped", 14)
    assert summary.coverage["update"].checked == STEPS, summary.coverage["update"].reasons


def saving(key: str, value: str) -> tuple[str, str]:
    """A line before the victim's ``torch.save``: what its checkpoint holds under ``key``."""
    states = "training.model.state_dict().items()"
    return SAVE, f"    checkpoint[{key!r}] = {{name: {value} for name, one in {states}}}  {MARK}\n{SAVE}"


def test_weights_saved_as_a_multiple_of_those_in_memory(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, saving("model", "one * 0.95"))
    summary = train(home, script, options(tmp_path))
    (finding,) = warnings_of(summary)
    assert finding.rule == "continuity-saved-differs"
    assert "by 0.95" in finding.message


@pytest.mark.soak
def test_weights_saved_in_a_shorter_format(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, saving("model", "one.bfloat16()"))
    assert warnings_of(train(home, script, options(tmp_path))) == []
