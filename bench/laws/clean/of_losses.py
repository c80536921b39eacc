"""Clean programs that weigh, scale and leave out losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .settings import LONGER, setting

STEPS = 30 * LONGER


def short_last_windows(seed: int) -> None:
    """The last batches of an epoch make a smaller step, each of them counted for more."""
    here = setting(seed)
    every = here.draw.choice((3, 5, 7))
    for _ in range(4):
        window: list[tuple[Tensor, Tensor]] = []
        for number, (inputs, targets) in enumerate(here.loader):
            window.append((inputs.to(here.dtype), targets))
            if len(window) == every or number + 1 == len(here.loader):
                here.optimizer.zero_grad()
                for batch in window:
                    (here.loss(batch) / len(window)).backward()
                here.optimizer.step()
                window = []


def scaled_by_hand_and_doubled(seed: int) -> None:
    """A loss scale of the script's own, halved now and then and doubled again soon after."""
    here = setting(seed, plain=True)
    scale = 2.0**10
    for number, batch in enumerate(here.batches(STEPS)):
        scale *= {12: 0.5, 14: 2.0, 19: 2.0, 24: 0.5}.get(number, 1.0)
        here.optimizer.zero_grad()
        (here.loss(batch) * scale).backward()
        for parameter in here.model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(scale)
        here.optimizer.step()


def weighted_losses(seed: int) -> None:
    """The loss has a weight: one for each batch, one that is annealed, or one for each of two tasks."""
    here = setting(seed)
    kind = here.draw.choice(("batch", "annealed", "tasks", "words"))
    for number, batch in enumerate(here.batches(STEPS)):
        weight = {
            "batch": float(torch.rand(())),
            "annealed": min(1.0, 2.0 - number / 15),
            "tasks": (1.0, 0.3, 0.3)[number % 3],
            "words": 1 / (256 - (number in (17, 22))),
        }[kind]
        here.optimizer.zero_grad()
        (here.loss(batch) * weight).backward()
        here.optimizer.step()


def penalised_now_and_then(seed: int) -> None:
    """A penalty comes seldom, or a batch with a large loss is taken for less, or for nothing."""
    here = setting(seed, plain=True)
    kind = here.draw.choice(("penalty", "less", "nothing"))
    losses: list[float] = []
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        logits = here.model(inputs) * (-6 if number in (15, 21) else 1)
        loss = F.cross_entropy(logits, targets)
        if kind == "penalty" and number % 16 == 15:
            (0.1 * logits.square().mean()).backward(retain_graph=True)
        if number > 12 and loss.item() > 1.5 * max(losses):
            loss = loss * {"less": 0.1, "nothing": 0.0}.get(kind, 1.0)
        losses = [*losses, loss.item()][-8:]
        loss.backward()
        here.optimizer.step()


def batches_passed_over(seed: int) -> None:
    """Batches without any item of a kind are left out; a window is of as many as are left."""
    here = setting(seed)
    every, done = here.draw.choice((1, 2, 3)), 0
    for number, batch in enumerate(here.batches(2 * STEPS)):
        if number in (23, 37, 38):
            continue
        (here.loss(batch) / every).backward()
        done += 1
        if done % every == 0:
            here.optimizer.step()
            here.optimizer.zero_grad()


PROGRAMS = (
    short_last_windows, scaled_by_hand_and_doubled, weighted_losses, penalised_now_and_then,
    batches_passed_over,
)  # fmt: skip
