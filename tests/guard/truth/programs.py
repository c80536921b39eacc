"""Small real trainings, as people write them, for the checks of gradient truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Hook = Callable[[Any], Any]


def perceptron() -> Any:
    return nn.Sequential(
        nn.Linear(12, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 5)
    )


def convolution() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, 5),
    )


class Recurrent(nn.Module):
    """Keeps its weights in a list beside its parameters, as all of torch's recurrent modules do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.cells = nn.LSTM(6, 8, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: Any) -> Any:
        return self.head(self.cells(self.words(tokens))[0])


class Tied(nn.Module):
    """One tensor in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.middle = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Any) -> Any:
        return self.head(torch.tanh(self.middle(self.words(tokens))))


class WithLoss(nn.Module):
    """Returns its loss and its predictions, from which it computed the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = perceptron()
        self.calls = 0
        self.last: Any = None

    def forward(self, inputs: Any, targets: Any) -> dict[str, Any]:
        self.calls += 1
        predictions = self.last = self.body(inputs)
        return {"loss": functional.cross_entropy(predictions, targets), "predictions": predictions}


class Checkpointed(nn.Module):
    """Computes its activations again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.body = nn.Linear(12, 12), perceptron()
        self.reentrant = reentrant

    def forward(self, inputs: Any) -> Any:
        return checkpoint(self.body, self.first(inputs), use_reentrant=self.reentrant)


def train(
    model: Any,
    optimizer: Any,
    steps: int,
    *,
    image: bool = False,
    parts: int = 1,
    clip: float | None = None,
    after: Callable[[int], None] | None = None,
    scaler: Any = None,
    autocast: bool = False,
    zero: bool = True,
) -> None:
    """Classification of noise: a loss outside the model, and what people do between backward and step."""
    for step in range(steps):
        if zero:
            optimizer.zero_grad()
        for _ in range(parts):
            inputs = torch.randn(16, 1, 6, 6) if image else torch.randn(16, 12)
            targets = torch.randint(5, (16,))
            around = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
            with around:
                loss = functional.cross_entropy(model(inputs), targets) / parts
            (scaler.scale(loss) if scaler is not None else loss).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if after is not None:
            after(step)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()


def adam(model: Any) -> Any:
    return torch.optim.Adam(model.parameters(), lr=1e-3)


def language(model: Any, steps: int) -> None:
    optimizer = adam(model)
    for _ in range(steps):
        tokens = torch.randint(11, (4, 7))
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def loss_returned(model: Any, steps: int) -> None:
    optimizer = adam(model)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=False)
        model(torch.randn(16, 12), torch.randint(5, (16,)))["loss"].backward()
        optimizer.step()


def adversarial(steps: int) -> None:
    """Two models; the generator's backward pass leaves gradients in the critic, which zeroes them later."""
    maker = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 12))
    critic = nn.Sequential(nn.Linear(12, 12), nn.LeakyReLU(0.2), nn.Linear(12, 1))
    of_maker, of_critic = adam(maker), adam(critic)
    judged = functional.binary_cross_entropy_with_logits
    for _ in range(steps):
        made, found = maker(torch.randn(8, 4)), torch.randn(8, 12)
        of_critic.zero_grad()
        judged(critic(found), torch.ones(8, 1)).backward()
        judged(critic(made.detach()), torch.zeros(8, 1)).backward()
        of_critic.step()
        of_maker.zero_grad()
        judged(critic(made), torch.ones(8, 1)).backward()
        of_maker.step()


def in_parts(steps: int) -> None:
    """A model whose parts are called, and never the whole."""
    model = nn.ModuleDict({"down": nn.Linear(12, 4), "up": nn.Linear(4, 12)})
    optimizer = adam(model)
    for _ in range(steps):
        inputs = torch.randn(8, 12)
        loss = functional.mse_loss(model["up"](torch.relu(model["down"](inputs))), inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def halved(gradient: Any) -> Any:
    masked = gradient.clone()
    masked.view(-1)[::2] = 0
    return masked


# Marked sabotage: hooks on one parameter of a throw-away model.
WRONG: dict[str, Hook] = {
    "flipped": lambda gradient: -gradient,
    "scaled": lambda gradient: gradient * 1.2,
    "half of it masked": halved,
    "zeroed": lambda gradient: gradient * 0,
    "exchanged": lambda gradient: gradient.flip(0),
}
