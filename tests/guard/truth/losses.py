"""Trainings whose loss is protected, right ones and marked sabotage, for the checks of loss functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import veracity
from tests.guard.truth.programs import adam

CLASSES = 6
Wrong = Callable[[Any, Any], Any]


def perceptron(outputs: int = CLASSES) -> Any:
    return nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, outputs))


def targets(kind: str, rows: int = 32) -> Any:
    if kind == "classes":
        return torch.randint(CLASSES, (rows,))
    if kind == "ignored":
        return torch.where(torch.rand(rows) < 0.3, -100, torch.randint(CLASSES, (rows,)))
    if kind == "bits":
        return torch.randint(2, (rows, CLASSES)).float()
    return torch.randn(rows, CLASSES)


def train(
    loss_fn: Any,
    steps: int,
    *,
    kind: str = "classes",
    parts: int = 1,
    autocast: bool = False,
    scaler: Any = None,
    after: Callable[[int], None] | None = None,
    reduce: Callable[[Any], Any] = lambda loss: loss,
    shape: Callable[[Any, Any], tuple[Any, Any]] = lambda logits, wanted: (logits, wanted),
    evaluates: bool = True,
) -> Any:
    """An ordinary loop around a loss function that is given predictions and targets."""
    model = perceptron()
    optimizer = adam(model)
    inputs, wanted = torch.randn(32, 12), targets(kind)
    for step in range(steps):
        optimizer.zero_grad()
        for _ in range(parts):
            inputs, wanted = torch.randn(32, 12), targets(kind)
            around = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
            with around:
                loss = reduce(loss_fn(*shape(model(inputs), wanted))) / parts
            (scaler.scale(loss) if scaler is not None else loss).backward()
        if evaluates:
            with torch.no_grad():
                loss_fn(*shape(model(inputs), wanted))
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if after is not None:
            after(step)
    return model


# --- right ones -------------------------------------------------------------------------------------------


def focal(logits: Any, wanted: Any) -> Any:
    """The weight of an example is a constant to its gradient, as many write it."""
    each = functional.cross_entropy(logits, wanted, reduction="none")
    weight = (1 - torch.exp(-each)).detach() ** 2
    return (weight * each).mean()


def distillation(logits: Any, wanted: Any, teacher: Any) -> Any:
    with torch.no_grad():
        soft = (teacher / 2).softmax(-1)
    student = functional.log_softmax(logits / 2, -1)
    return functional.kl_div(student, soft, reduction="batchmean") + functional.cross_entropy(logits, wanted)


def triplet(rows: Any, wanted: Any) -> Any:
    """Hinges, and the hardest of the others."""
    apart = torch.cdist(rows, rows) + 1e-3
    same = wanted[:, None] == wanted[None, :]
    far = torch.where(same, apart, torch.zeros_like(apart)).max(1).values
    near = torch.where(same, torch.full_like(apart, 1e4), apart).min(1).values
    return functional.relu(far - near + 0.5).mean()


def kinked(predictions: Any, wanted: Any) -> Any:
    """Half of the differences lie on a kink."""
    wanted = torch.where(torch.rand_like(wanted) < 0.5, predictions.detach() + 1.0, wanted)
    return functional.huber_loss(predictions, wanted, delta=1.0) + functional.l1_loss(predictions, wanted)


def quantile(predictions: Any, wanted: Any) -> Any:
    apart = wanted - predictions
    return torch.maximum(0.9 * apart, -0.1 * apart).mean()


def hardest(logits: Any, wanted: Any) -> Any:
    return functional.cross_entropy(logits, wanted, reduction="none").topk(8).values.mean()


def clipped(logits: Any, wanted: Any) -> Any:
    """Of a policy: ratios to what it was, held between two bounds."""
    chances = logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0]
    ratio = (chances - chances.detach() + 0.1 * torch.randn_like(chances)).exp()
    better = torch.randn_like(ratio)
    return -torch.minimum(ratio * better, ratio.clamp(0.8, 1.2) * better).mean()


def contrastive(rows: Any, wanted: Any) -> Any:
    rows = functional.normalize(rows, dim=-1)
    return functional.cross_entropy(rows @ rows.flip(0).T / 0.2, torch.arange(len(rows)))


def noisy(logits: Any, wanted: Any) -> Any:
    return functional.cross_entropy(functional.dropout(logits, 0.2), wanted)


class RightFunction(torch.autograd.Function):
    """Cross entropy with a backward pass of its own, which is right."""

    @staticmethod
    def forward(context: Any, logits: Any, wanted: Any) -> Any:
        context.save_for_backward(logits, wanted)
        return functional.cross_entropy(logits, wanted)

    @staticmethod
    def backward(context: Any, came: Any) -> Any:
        return right_gradient(*context.saved_tensors) * came, None


def right_gradient(logits: Any, wanted: Any) -> Any:
    hot = functional.one_hot(wanted, logits.shape[-1])
    return (logits.softmax(-1) - hot) / len(wanted)


class Tempered(nn.Module):
    """A loss with a parameter and a buffer of its own, given a dictionary and a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.register_buffer("weight", torch.linspace(0.5, 1.5, CLASSES))

    def forward(self, batch: dict[str, Any], *, wanted: Any) -> dict[str, Any]:
        each = functional.cross_entropy(
            batch["logits"] * self.scale, wanted, weight=self.weight, reduction="none"
        )
        return {"loss": each.mean(), "each": each}


# --- marked sabotage: backward passes of a throw-away loss -------------------------------------------------


def a_class_scaled(gradient: Any, wanted: Any) -> Any:
    gradient = gradient.clone()
    gradient[wanted == 2] *= 3
    return gradient


def a_class_dropped(gradient: Any, wanted: Any) -> Any:
    gradient = gradient.clone()
    gradient[:, 1] = 0
    return gradient


def half_masked(gradient: Any, wanted: Any) -> Any:
    gradient = gradient.clone()
    gradient[::2] = 0
    return gradient


WRONG: dict[str, Wrong] = {
    "a class scaled": a_class_scaled,
    "a class dropped": a_class_dropped,
    "half masked": half_masked,
    "flipped": lambda gradient, wanted: -gradient,
    "zeroed": lambda gradient, wanted: gradient * 0,
    "scaled": lambda gradient, wanted: gradient * 1.1,
}


cross_entropy = functional.cross_entropy


class Crooked(torch.autograd.Function):
    """Cross entropy whose backward pass does what ``wrong`` says."""

    wrong: Wrong = staticmethod(lambda gradient, wanted: gradient)

    @staticmethod
    def forward(context: Any, logits: Any, wanted: Any) -> Any:
        context.save_for_backward(logits, wanted)
        return cross_entropy(logits, wanted)

    @staticmethod
    def backward(context: Any, came: Any) -> Any:
        logits, wanted = context.saved_tensors
        return Crooked.wrong(right_gradient(logits, wanted), wanted) * came, None


def plainly(logits: Any, wanted: Any) -> Any:
    """Looks its function up at each call, as programs do."""
    return functional.cross_entropy(logits, wanted)


def protected(loss_fn: Any, **more: Any) -> Any:
    return veracity.protect(loss_fn=loss_fn, **more)
