"""Hugging Face's Trainer with nothing changed: the example, and a checkpoint edited before its resume."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import Jobs

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors.torch")

import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "huggingface_trainer.py"


def test_trainer_and_an_edited_checkpoint(jobs: Jobs) -> None:
    out = jobs.folder / "out"
    done = jobs.run(sys.executable, EXAMPLE, "--output-dir", out, "--steps", "10")
    assert done.code == 0, done.err
    assert (done.verdict, done.rules) == ("held", set()), done.shown["findings"]
    coverage = done.shown["coverage"]
    for law in ("update", "schedule", "randomness"):
        assert (coverage[law]["checked"], coverage[law]["possible"]) == (10, 10), coverage[law]
    # accelerate draws one batch ahead.
    assert coverage["data-order"]["checked"] == coverage["data-order"]["possible"] >= 10
    assert coverage["weight-continuity"]["checked"] == 9

    from safetensors.torch import load_file, save_file

    path = out / "checkpoint-10" / "model.safetensors"
    weights = load_file(path)
    weights["transformer.h.0.mlp.c_fc.weight"] *= torch.tensor(0.9)  # sabotage: between save and resume
    save_file(weights, path, {"format": "pt"})
    done = jobs.run(sys.executable, EXAMPLE, "--output-dir", out, "--steps", "10", "--resume")
    assert done.code == 0, done.err
    assert done.verdict == "broken"
    assert "continuity-checkpoint-edited" in done.rules
    order = done.shown["coverage"]["data-order"]
    assert order["checked"] == order["possible"] >= 10
