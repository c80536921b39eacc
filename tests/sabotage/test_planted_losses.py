"""A loss function whose backward pass turns wrong, in real guarded runs of a script that protects it."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

import veracity
from tests.sabotage.planting import train
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.drill.sabotage import MARK

pytest.importorskip("torch")

RULE = "gradient-loss-not-derivative"
SCRIPT = """
    import sys

    import torch
    from torch import nn
    from torch.nn import functional

    import veracity

    usual, wrong_from, now = functional.cross_entropy, int(sys.argv[1]), 0


    class Replaced(torch.autograd.Function):
        @staticmethod
        def forward(context, logits, wanted):
            context.save_for_backward(logits, wanted)
            return usual(logits, wanted)

        @staticmethod
        def backward(context, came):
            logits, wanted = context.saved_tensors
            gradient = (logits.softmax(-1) - functional.one_hot(wanted, 5)) / len(wanted)
            gradient[wanted == 3] = 0  {mark}
            return gradient * came, None


    def loss_of(logits, wanted):
        return functional.cross_entropy(logits, wanted)


    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_fn = veracity.protect(loss_fn=loss_of)
    for now in range(300):
        if now == wrong_from:
            functional.cross_entropy = lambda logits, wanted, *_, **__: Replaced.apply(logits, wanted)
        loss = loss_fn(model(torch.randn(64, 20)), torch.randint(5, (64,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(sum(parameter.double().sum().item() for parameter in model.parameters()).hex())
"""


def run(folder: Path, home: Path, wrong_from: int) -> RunSummary:
    script = folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT).replace("{mark}", MARK))
    path = str(Path(veracity.__file__).parents[1])
    return train(
        home, script, [str(wrong_from)], environment={**os.environ, "PYTHONPATH": path}, overhead=0.5
    )


def test_a_loss_exchanged_in_its_module_breaks_the_run(tmp_path: Path, home: Path) -> None:
    summary = run(tmp_path, home, 60)
    assert summary.verdict is not None
    found = [one for one in summary.findings if one.rule == RULE]
    assert summary.verdict.outcome is Outcome.BROKEN, (found, summary.coverage["loss-truth"])
    assert [one.subject for one in found] == ["loss_of(input 0)"]
    assert (found[0].first_step or 0) >= 60
    assert any("Replaced" in evidence.observed for evidence in found[0].evidence)


def test_a_right_loss_is_checked_and_holds(tmp_path: Path, home: Path) -> None:
    summary = run(tmp_path, home, -1)
    assert summary.findings == ()
    coverage = summary.coverage["loss-truth"]
    assert coverage.checked >= 20, coverage.reasons
    assert coverage.possible == 300
