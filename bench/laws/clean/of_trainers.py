"""Programs that do what well-known trainers do beside their schedules, scalers and steps."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedules
from torch.utils.data import DataLoader, Dataset

from .settings import CLASSES, LONGER, data, gradients, setting, train

STEPS = 60 * LONGER


def warming_up_by_hand(seed: int) -> None:
    """The script sets the rates of its first steps over a scheduler that is stepped each epoch."""
    here = setting(seed, plain=True)
    schedule = schedules.CosineAnnealingLR(here.optimizer, T_max=20)
    bases = [group["lr"] for group in here.optimizer.param_groups]
    length, each = here.draw.choice((5, 12, 30)), here.draw.choice((8, 15))
    short = here.draw.random() < 0.5
    for number, batch in enumerate(here.batches(STEPS)):
        if number < length:
            for group, base in zip(here.optimizer.param_groups, bases, strict=True):
                group["lr"] = base * (number + (not short)) / length
        train(here, batch)
        if number % each == each - 1:
            schedule.step()


def warming_up_each_group(seed: int) -> None:
    """Detectors' warm-up: weights from zero, biases from far above, momentum too; an average beside."""
    here = setting(seed, plain=True)
    every = list(here.model.named_parameters())
    biases = [one for name, one in every if "bias" in name]
    others = [one for name, one in every if "bias" not in name]
    optimizer = torch.optim.SGD(biases, lr=0.01, momentum=0.9, nesterov=True)
    optimizer.add_param_group({"params": others, "weight_decay": 5e-4})
    schedule = schedules.LambdaLR(optimizer, lambda epoch: 1 - 0.9 * epoch / 20)
    average, warm, each = copy.deepcopy(here.model).eval(), 20, 15
    for number, batch in enumerate(here.batches(STEPS)):
        if number <= warm:
            share = number / warm
            for group, begin in zip(optimizer.param_groups, (0.1, 0.0), strict=True):
                group["lr"] = begin + share * (group["initial_lr"] * 0.955 - begin)
                group["momentum"] = 0.8 + 0.1 * share
        optimizer.zero_grad()
        here.loss(batch).backward()
        nn.utils.clip_grad_norm_(here.model.parameters(), 10.0)
        optimizer.step()
        with torch.no_grad():
            for kept, now in zip(average.parameters(), here.model.parameters(), strict=True):
                kept.lerp_(now, 0.05)
        if number % each == each - 1:
            schedule.step()


def scaler_not_enabled(seed: int) -> None:
    """A GradScaler that is there for another precision: it is called, and does nothing."""
    here = setting(seed, plain=True)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for batch in here.batches(STEPS):
        for group in here.optimizer.param_groups:
            group["lr"] = 1e-3
        scaler.scale(here.loss(batch)).backward()
        scaler.unscale_(here.optimizer)
        nn.utils.clip_grad_norm_(here.model.parameters(), 1.0)
        scaler.step(here.optimizer)
        scaler.update()
        here.optimizer.zero_grad(set_to_none=True)


def batches_counted_by_the_schedule(seed: int) -> None:
    """Batches whose loss is not a number are passed over; the schedule counts them all the same."""
    here = setting(seed, plain=True)
    length = max(STEPS, 60)
    schedule = schedules.LinearLR(here.optimizer, 0.3, 1.0, total_iters=length)
    odd = {here.draw.randrange(15, length) for _ in range(3)}
    for number, batch in enumerate(here.batches(STEPS)):
        loss = here.loss(batch) * (float("nan") if number in odd else 1.0)
        here.optimizer.zero_grad()
        if torch.isfinite(loss):
            loss.backward()
            here.optimizer.step()
        schedule.step()


def spikes_cleared(seed: int) -> None:
    """Gradients far above the usual are cleared, and the step is made all the same."""
    here = setting(seed, plain=True)
    to_none = here.draw.random() < 0.5
    odd = {here.draw.randrange(20, max(STEPS, 40)) for _ in range(3)}
    usual = 0.0
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss((inputs * (40 if number in odd else 1), targets)).backward()
        norm = float(torch.stack([one.norm() for one in gradients(here.model)]).norm())
        if number > 10 and norm > 4 * usual:
            here.optimizer.zero_grad(set_to_none=to_none)
        else:
            usual = max(usual, norm) if number <= 10 else 0.95 * usual + 0.05 * norm
        here.optimizer.step()


class _Soft(Dataset[tuple[Tensor, ...]]):
    """Items with soft labels that are kept, and the numbers of the items."""

    def __init__(self, seed: int) -> None:
        self.inputs, targets = data(seed).tensors
        self.labels = F.one_hot(targets, CLASSES).float()

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.inputs[index], self.labels[index], torch.tensor(index)


def labels_renewed(seed: int) -> None:
    """From the third pass on the labels that are kept move, batch by batch, to what the model predicts."""
    here = setting(seed, plain=True)
    kept = _Soft(seed)
    loader = DataLoader(kept, 32, shuffle=True)
    for turn in range(4 * LONGER):
        for inputs, labels, items in loader:
            here.optimizer.zero_grad()
            logits = here.model(inputs)
            F.cross_entropy(logits, labels).backward()
            here.optimizer.step()
            if turn >= 2:
                kept.labels[items] = 0.9 * kept.labels[items] + 0.1 * logits.detach().softmax(1)


def second_phase(seed: int) -> None:
    """No loader: after a while the model goes on in evaluation mode, at a tenth of the rate."""
    here = setting(seed, plain=True)
    inputs, targets = data(seed).tensors
    for number in range(STEPS):
        if number == STEPS // 2:
            here.model.eval()
            for group in here.optimizer.param_groups:
                group["lr"] *= 0.1
        chosen = torch.randint(len(inputs), (16,))
        train(here, (inputs[chosen], targets[chosen]))


class _Sharpness(torch.optim.Optimizer):
    """Steps of its own have other names; what it wraps makes the only real one."""

    param_groups: list[dict[str, Any]]

    def __init__(self, parameters: list[Tensor], rate: float, momentum: float) -> None:
        super().__init__(parameters, {"rho": 0.05})
        self.inner = torch.optim.SGD(self.param_groups, lr=rate, momentum=momentum)
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def climb(self) -> None:
        """To where the loss is largest nearby."""
        held = [one for group in self.param_groups for one in group["params"] if one.grad is not None]
        norm = torch.stack([one.grad.norm() for one in held]).norm()
        for one in held:
            self.state[one]["old"] = one.data.clone()
            one.add_(one.grad, alpha=float(0.05 / (norm + 1e-12)))
        self.zero_grad()

    @torch.no_grad()
    def descend(self) -> None:
        """Back, and a step by the gradient from up there."""
        for one in (one for group in self.param_groups for one in group["params"] if one.grad is not None):
            one.data = self.state[one]["old"]
        self.inner.step()
        self.zero_grad()


def sharpness_by_a_wrapper(seed: int) -> None:
    """Sharpness-aware minimisation by an optimizer that wraps another one and never steps itself."""
    here = setting(seed, plain=True)
    optimizer = _Sharpness(list(here.model.parameters()), 0.05, here.draw.choice((0.0, 0.9)))
    for batch in here.batches(STEPS):
        here.loss(batch).backward()
        optimizer.climb()
        here.loss(batch).backward()
        optimizer.descend()


PROGRAMS = (
    warming_up_by_hand, warming_up_each_group, scaler_not_enabled, batches_counted_by_the_schedule,
    spikes_cleared, labels_renewed, second_phase, sharpness_by_a_wrapper,
)  # fmt: skip
