"""What a clean program trains: a model, data, an optimizer and a loader, all drawn from one seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WIDTH, CLASSES, ITEMS = 12, 4, 256
LONGER = int(os.environ.get("LAWS_LONGER", "1"))
"""How many times the usual number of steps programs make."""


class Normed(nn.Module):
    """A small convolutional net with batch normalisation over the input seen as a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, CLASSES)."""
        x = torch.relu(self.norm(self.conv(x.view(len(x), 1, 3, WIDTH // 3))))
        logits: Tensor = self.head(x.flatten(1))
        return logits


class Recurrent(nn.Module):
    """A GRU over the input seen as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 10, batch_first=True)
        self.head = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, CLASSES)."""
        logits: Tensor = self.head(self.gru(x.view(len(x), WIDTH // 3, 3))[0][:, -1])
        return logits


class Attending(nn.Module):
    """One encoder layer with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, CLASSES)."""
        logits: Tensor = self.head(self.layer(self.embed(x.view(len(x), WIDTH // 3, 3))).mean(1))
        return logits


def perceptron() -> nn.Module:
    """Two layers with dropout between them."""
    return nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Dropout(0.1), nn.Linear(24, CLASSES))


MODELS: Mapping[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron, "normed": Normed, "recurrent": Recurrent, "attending": Attending,
}  # fmt: skip

OPTIMIZERS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "dampening": 0.1}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "foreach": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "fused": True}),
    ("SGD", {"lr": 0.02, "maximize": False, "weight_decay": 0.01}),
    ("Adam", {"lr": 1e-3}),
    ("Adam", {"lr": 1e-3, "amsgrad": True, "weight_decay": 1e-2}),
    ("Adam", {"lr": 1e-3, "foreach": True}),
    ("Adam", {"lr": 1e-3, "fused": True}),
    ("Adam", {"lr": 1e-3, "capturable": False, "eps": 1e-3, "betas": (0.5, 0.9)}),
    ("AdamW", {"lr": 1e-3}),
    ("AdamW", {"lr": 1e-3, "weight_decay": 0.3, "betas": (0.8, 0.99), "eps": 1e-6}),
    ("AdamW", {"lr": 1e-3, "fused": True}),
    ("AdamW", {"lr": 1e-3, "foreach": True, "amsgrad": True}),
    ("NAdam", {"lr": 1e-3}),
    ("NAdam", {"lr": 1e-3, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {"lr": 1e-3}),
    ("Adamax", {"lr": 1e-3}),
    ("Adadelta", {"lr": 0.5}),
    ("Adagrad", {"lr": 0.02}),
    ("Adagrad", {"lr": 0.02, "lr_decay": 1e-3, "weight_decay": 1e-3, "initial_accumulator_value": 0.1}),
    ("RMSprop", {"lr": 1e-3}),
    ("RMSprop", {"lr": 1e-3, "centered": True, "momentum": 0.6}),
    ("ASGD", {"lr": 0.02}),
    ("Rprop", {"lr": 1e-3}),
    ("Adafactor", {"lr": 1e-2}),
)  # fmt: skip


@dataclass
class Setting:
    """Everything a program needs. ``draw`` is for its own choices."""

    draw: random.Random
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: DataLoader[tuple[Tensor, ...]]
    dtype: torch.dtype
    drawn: dict[str, object]

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """``count`` batches, epoch after epoch, in the model's dtype."""
        taken = 0
        while True:
            for inputs, targets in self.loader:
                if taken == count:
                    return
                taken += 1
                yield inputs.to(self.dtype), targets

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch."""
        return F.cross_entropy(self.model(batch[0]), batch[1])


def data(seed: int) -> TensorDataset:
    """``ITEMS`` points around one centre per class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (ITEMS,), generator=generator)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    return TensorDataset(centres[labels] + torch.randn(ITEMS, WIDTH, generator=generator), labels)


def setting(seed: int, *, plain: bool = False, workers: int = 0) -> Setting:
    """A setting drawn from ``seed``; ``plain``: float32, and an optimizer everybody uses."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    kind = draw.choice(sorted(MODELS))
    name, options = draw.choice(
        [one for one in OPTIMIZERS if not plain or one[0] in ("SGD", "Adam", "AdamW")]
    )
    dtype = torch.float32
    if not plain and draw.random() < 0.3:
        dtype = draw.choice((torch.bfloat16, torch.float64))
    if name == "SGD" and dtype is torch.bfloat16:
        # torch's fused kernel computes another update there on a CPU, which is a true finding.
        options = {**options, "fused": False}
    model = MODELS[kind]().to(dtype)
    parameters: object = model.parameters()
    if draw.random() < 0.3:
        every = list(model.parameters())
        parameters = [{"params": every[: len(every) // 2]}, {"params": every[len(every) // 2 :], "lr": 5e-4}]
    optimizer = getattr(torch.optim, name)(parameters, **options)
    loader = DataLoader(
        data(seed), draw.choice((8, 16, 24)), shuffle=draw.random() < 0.8, drop_last=draw.random() < 0.5,
        num_workers=workers, generator=draw.choice((None, torch.Generator().manual_seed(seed))),
    )  # fmt: skip
    drawn: dict[str, object] = {
        "model": kind,
        "optimizer": name,
        "options": str(dict(options)),
        "dtype": str(dtype),
    }
    return Setting(draw, model, optimizer, loader, dtype, drawn)


def train(here: Setting, batch: tuple[Tensor, Tensor]) -> Tensor:
    """One plain training step; its loss."""
    here.optimizer.zero_grad()
    loss = here.loss(batch)
    loss.backward()
    here.optimizer.step()
    return loss.detach()


def gradients(model: nn.Module) -> list[Tensor]:
    """The gradients that there are."""
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
