"""An optimizer that is not torch's, by its declared reference: planted steps, and their clean twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, caught, held, planted_script, train
from veracity.core.digest import Digest
from veracity.core.summary import RunSummary
from veracity.drill.sabotage import MARK
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.folder import RunFolder
from veracity.monitor.pipeline import Pipeline

STEPS = 24
REFERENCE = """\
def Lion(param, grad, exp_avg=0.0, *, lr, betas, weight_decay):
    direction = sign(betas[0] * exp_avg + (1 - betas[0]) * grad)
    return {
        "param": param * (1 - lr * weight_decay) - lr * direction,
        "exp_avg": betas[1] * exp_avg + (1 - betas[1]) * grad,
    }
"""
OPTIMIZER = f"""\
class Lion(torch.optim.Optimizer):  {MARK} an optimizer of the program's own
    def __init__(self, params, lr, betas):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=0.0))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, (first, second), decay = group["lr"], group["betas"], group["weight_decay"]
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state["exp_avg"] = torch.zeros_like(param)
                average = state["exp_avg"]
                direction = average.lerp(param.grad, 1 - first).sign_()
                param.mul_(1 - lr * decay)
                param.add_(direction, alpha=-lr)
                average.lerp_(param.grad, 1 - second)


"""
PLANTED = {
    "one tensor moves 1 % less": (
        "param.add_(direction, alpha=-lr)",
        f"param.add_(direction, alpha=-lr * (0.99 if param.dim() == 1 else 1))  {MARK} less",
        "",
    ),
    "no weight decay": ("param.mul_(1 - lr * decay)", f"pass  {MARK} no decay", "without weight decay"),
}


def script_of(folder: Path, optimizer: str = OPTIMIZER) -> Path:
    build = "    return AdamW(groups, lr=lr, betas=(0.9, 0.95))\n"
    return planted_script(
        folder,
        ("def make_optimizer(", optimizer + "def make_optimizer("),
        (build, build.replace("AdamW(", "Lion(").replace("\n", f"  {MARK} its own\n")),
    )


def run(home: Path, folder: Path, script: Path) -> RunSummary:
    reference = folder / "lion.py"
    reference.write_text(REFERENCE, encoding="utf-8")
    options = [*TINY, "--steps", str(STEPS), "--weight-decay", "0.5", "--out-dir", str(folder / "out")]
    return train(home, script, options, references=[reference])


@pytest.mark.parametrize(
    "name", ["one tensor moves 1 % less", pytest.param("no weight decay", marks=pytest.mark.soak)]
)
def test_a_planted_step_is_found(home: Path, tmp_path: Path, name: str) -> None:
    old, new, words = PLANTED[name]
    assert old in OPTIMIZER
    summary = run(home, tmp_path, script_of(tmp_path, OPTIMIZER.replace(old, new)))
    finding = caught(summary, "update-not-declared")
    assert "is not the declared Lion's" in finding.message
    assert words in finding.message
    assert finding.first_step is not None
    assert finding.first_step < 4
    assert [Path(place.path).name for place in finding.locations] == ["train.py", "lion.py"]


def test_the_clean_twin_is_held_and_can_be_judged_again(home: Path, tmp_path: Path) -> None:
    summary = run(home, tmp_path, script_of(tmp_path))
    held(summary)
    update = summary.coverage["update"]
    assert update.checked == update.possible - update.passed
    (reason,) = [one for one in update.reasons if "declared reference" in one]
    assert reason.startswith("__main__.Lion: checked against a declared reference (")
    (folder,) = [path for path in (home / "runs").iterdir() if path.name == summary.run]
    with Reader(folder / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    digest = str(Digest.of(REFERENCE.encode()))
    assert entries[0].body["references"] == [{"path": str(tmp_path / "lion.py"), "digest": digest}]
    assert digest in reason
    # The file may be gone: what is judged again is the text in the record.
    (tmp_path / "lion.py").unlink()
    with Pipeline.resume(RunFolder(folder)) as pipeline:
        again = pipeline._judge.coverage()["update"]
    assert again.checked == update.checked
    assert reason in again.reasons


def test_without_a_reference_coverage_names_the_option(home: Path, tmp_path: Path) -> None:
    text = OPTIMIZER.replace("Lion", "Own").replace('"exp_avg"', '"average"')
    build = "    return AdamW(groups, lr=lr, betas=(0.9, 0.95))\n"
    script = planted_script(
        tmp_path,
        ("def make_optimizer(", text + "def make_optimizer("),
        (build, build.replace("AdamW(", "Own(").replace("\n", f"  {MARK} its own\n")),
    )
    summary = run(home, tmp_path, script)
    update = summary.coverage["update"]
    assert update.checked == 0
    assert any("--optimizer-reference" in reason for reason in update.reasons)
    assert any("no optimizer of that class made a step" in reason for reason in update.reasons)
