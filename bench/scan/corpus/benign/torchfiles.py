"""What ``torch.save`` and its kin write: tensors, states, models, checkpoints, compiled and exported programs."""

from __future__ import annotations

import argparse
import random
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from .group import Group

if TYPE_CHECKING:
    import torch


def _tensors(folder: Path, scratch: Path) -> None:
    import torch

    kinds = "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 bool complex64 float8_e4m3fn uint16".split()
    for number, kind in enumerate(kinds):
        tensor = torch.zeros(3, 4).to(getattr(torch, kind))
        torch.save(tensor, folder / f"{kind}.pt", _use_new_zipfile_serialization=bool(number % 3))
    dense = torch.eye(4)
    others: dict[str, object] = {
        "sparse": dense.to_sparse(),
        "rows": dense.to_sparse_csr(),
        "parameter": torch.nn.Parameter(dense),
        "with-gradient": dense.clone().requires_grad_(),
        "shared": {"a": dense, "b": dense[1:], "c": dense.t()},
        "nested": {"list": [dense, (1, "two", None)], "ordered": OrderedDict(x=dense), "size": dense.shape},
        "scalars": [
            torch.tensor(1.5),
            torch.float32,
            torch.device("cpu"),
            torch.Size([2]),
        ],
        "quantized": torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        "meta": torch.empty(3, device="meta"),
        "conjugate": torch.eye(2, dtype=torch.complex64).conj(),
        "storage": dense.untyped_storage(),
        "generator": torch.get_rng_state(),
    }
    for name, value in others.items():
        torch.save(value, folder / f"{name}.pt")
        if name in ("sparse", "parameter", "shared", "nested"):
            torch.save(value, folder / f"{name}-legacy.pt", _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        torch.save({"weight": dense}, folder / f"protocol-{protocol}.pt", pickle_protocol=protocol)


def networks() -> dict[str, torch.nn.Module]:
    """By name, small ones of the common layers."""
    from torch import nn

    return {
        "perceptron": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)),
        "pictures": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Flatten()),
        "recurrent": nn.LSTM(4, 4, 2, bidirectional=True),
        "attention": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2),
        "words": nn.ModuleDict({"embedding": nn.Embedding(10, 4), "norm": nn.LayerNorm(4), "list": nn.ModuleList([nn.GRU(4, 4)])}),
        "parametrized": nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
    }  # fmt: skip


def _models(folder: Path, scratch: Path) -> None:
    import torch

    for name, network in networks().items():
        torch.save(network.state_dict(), folder / f"{name}.pth")
        torch.save(network.state_dict(), folder / f"{name}-legacy.pth", _use_new_zipfile_serialization=False)
        if name != "parametrized":  # torch refuses to pickle it whole
            torch.save(network, folder / f"{name}-whole.pt")
    scripted = torch.jit.script(networks()["perceptron"].eval())
    scripted.save(str(folder / "scripted.pt"))
    torch.jit.trace(networks()["pictures"].eval(), torch.zeros(1, 3, 8, 8)).save(str(folder / "traced.pt"))
    exported = torch.export.export(networks()["perceptron"].eval(), (torch.zeros(1, 4),))
    torch.export.save(exported, folder / "exported.pt2")


def _checkpoints(folder: Path, scratch: Path) -> None:
    import numpy as np
    import torch

    kinds = "SGD Adam AdamW RMSprop Adagrad Adadelta NAdam RAdam Adamax ASGD LBFGS".split()
    for number, kind in enumerate(kinds):
        network = networks()["perceptron"]
        optimizer = getattr(torch.optim, kind)(network.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        loss = torch.zeros(())
        for _ in range(2):
            optimizer.zero_grad()
            loss = network(torch.ones(2, 4)).square().sum()
            loss.backward()
            optimizer.step(lambda loss=loss: loss)
            schedule.step()
        whole = {
            "model": network.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(),
            "epoch": number, "args": argparse.Namespace(lr=0.01, out=Path("runs")), "loss": loss.detach(),
            "rng": {"torch": torch.get_rng_state(), "numpy": np.random.RandomState(1).get_state(), "python": random.Random(1).getstate()},
        }  # fmt: skip
        torch.save(whole, folder / f"{kind}.pt", _use_new_zipfile_serialization=bool(number % 4))
    averaged = torch.optim.swa_utils.AveragedModel(networks()["perceptron"])
    torch.save(averaged.state_dict(), folder / "averaged.pt")
    several = torch.optim.lr_scheduler.OneCycleLR(torch.optim.SGD([torch.zeros(1)], 0.1), 0.2, 10)
    torch.save(
        {"one_cycle": several.state_dict(), "scaler": torch.amp.GradScaler("cpu").state_dict()},
        folder / "rest.pt",
    )
    torch.save(
        {"best": np.float64(0.3), "curve": np.arange(4.0), "classes": ["a", "b"]}, folder / "metrics.pt"
    )


def _distributed(folder: Path, scratch: Path) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    state = {"model": networks()["perceptron"].state_dict(), "step": torch.tensor(3)}
    dcp.save(state, checkpoint_id=str(folder / "step-3"), no_dist=True)


GROUPS = (
    Group("torch-tensors", "torch", _tensors),
    Group("torch-models", "torch", _models),
    Group("torch-checkpoints", "torch", _checkpoints),
    Group("torch-distributed", "torch", _distributed),
)
