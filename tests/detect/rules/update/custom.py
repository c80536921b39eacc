"""Optimizers that are not torch's, each in several orders of its operations, and their references.

An order is what the same formula becomes by other hands: in place, through ``lerp``, with weight decay in the
update or as a factor, over lists of tensors, or with float32 tensors for scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch

Own: TypeAlias = "dict[str, Any]"
"""The state of a tensor, or its group."""


class Custom(torch.optim.Optimizer):
    """What the classes below have in common: ``order`` chooses how the formula is written."""

    orders: tuple[str, ...] = ()

    def __init__(
        self, params: Iterable[torch.Tensor] | list[dict[str, object]], *, order: str, **hyper: object
    ) -> None:
        self.order = order
        super().__init__(params, hyper)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self.move(param, param.grad, self.state[param], group)

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        raise NotImplementedError


class Lion(Custom):
    orders = ("plain", "in place", "lerp", "wide")

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        lr, (first, second), decay = group["lr"], group["betas"], group["weight_decay"]
        if not state:
            state["exp_avg"] = torch.zeros_like(param)
        average = state["exp_avg"]
        if self.order == "plain":
            direction = (first * average + (1 - first) * grad).sign()
            param.copy_(param * (1 - lr * decay) - lr * direction)
            average.copy_(second * average + (1 - second) * grad)
        elif self.order == "in place":
            direction = average.clone().mul_(first).add_(grad, alpha=1 - first).sign_()
            param.mul_(1 - lr * decay).add_(direction, alpha=-lr)
            average.mul_(second).add_(grad, alpha=1 - second)
        elif self.order == "lerp":
            direction = average.lerp(grad, 1 - first).sign_()
            param.sub_(lr * (direction + decay * param))
            average.lerp_(grad, 1 - second)
        else:
            wide, slope = param.float(), grad.float()
            direction = torch.sign(average.float() * first + slope * (1 - first))
            param.copy_(wide.mul(1 - lr * decay).sub(direction.mul(lr)))
            average.copy_(average.float() * second + slope * (1 - second))


class SignMomentum(Custom):
    orders = ("plain", "in place")

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        lr, beta, decay = group["lr"], group["beta"], group["weight_decay"]
        if not state:
            state["momentum"] = torch.zeros_like(param)
        momentum = state["momentum"]
        if self.order == "plain":
            momentum.copy_(beta * momentum + (grad + decay * param))
            param.sub_(lr * momentum.sign())
        else:
            momentum.mul_(beta).add_(grad.add(param, alpha=decay))
            param.add_(momentum.sign(), alpha=-lr)


class Adamlike(Custom):
    orders = ("plain", "in place", "lerp", "tensors", "lists")

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        lr, (first, second), eps = group["lr"], group["betas"], group["eps"]
        decay = group["weight_decay"]
        if not state:
            state.update(
                step=torch.tensor(0.0) if self.order == "tensors" else 0,
                mean=torch.zeros_like(param),
                square=torch.zeros_like(param),
            )
        state["step"] += 1
        mean, square, count = state["mean"], state["square"], state["step"]
        bias1, bias2 = (1 - first**count, 1 - second**count) if group["correct"] else (1, 1)
        if self.order == "plain":
            mean.copy_(first * mean + (1 - first) * grad)
            square.copy_(second * square + (1 - second) * grad * grad)
            param.sub_(lr * ((mean / bias1) / ((square / bias2).sqrt() + eps) + decay * param))
        elif self.order == "in place":
            mean.mul_(first).add_(grad, alpha=1 - first)
            square.mul_(second).addcmul_(grad, grad, value=1 - second)
            root = square.sqrt().div_(bias2**0.5).add_(eps)
            param.mul_(1 - lr * decay).addcdiv_(mean, root, value=-lr / bias1)
        elif self.order == "lerp":
            mean.lerp_(grad, 1 - first)
            square.lerp_(grad.square(), 1 - second)
            param.add_(param * -(lr * decay)).sub_(mean.div(square.div(bias2).sqrt_() + eps).mul_(lr / bias1))
        elif self.order == "tensors":
            mean.mul_(first).add_(grad * (1 - torch.tensor(first)))
            square.mul_(torch.tensor(second)).addcmul_(grad, grad * (1 - torch.tensor(second)))
            size = torch.tensor(lr) / bias1
            param.mul_(1 - torch.tensor(lr) * decay)
            param.sub_(size * mean / (square.sqrt() / torch.as_tensor(bias2).sqrt() + eps))
        else:
            torch._foreach_mul_([mean, square], [first, second])
            torch._foreach_add_([mean], [grad], alpha=1 - first)
            torch._foreach_addcmul_([square], [grad], [grad], 1 - second)
            roots = torch._foreach_sqrt([square])
            torch._foreach_div_(roots, bias2**0.5)
            torch._foreach_add_(roots, eps)
            torch._foreach_mul_([param], 1 - lr * decay)
            torch._foreach_addcdiv_([param], [mean], roots, -lr / bias1)


class Clipped(Custom):
    orders = ("plain", "in place")

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        lr, momentum, limit = group["lr"], group["momentum"], group["limit"]
        if not state:
            state["velocity"] = -lr * grad  # begins with the gradient, not with nothing
            return
        velocity = state["velocity"]
        if self.order == "plain":
            velocity.copy_(momentum * velocity - lr * grad)
            param.add_(velocity if limit is None else velocity.clamp(-limit, limit))
        else:
            velocity.mul_(momentum).sub_(grad, alpha=lr)
            param.copy_(param + (velocity if limit is None else torch.clip(velocity, -limit, limit)))
