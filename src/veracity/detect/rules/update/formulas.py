"""One element of one optimizer step, re-derived, and how far honest rounding can move it.

Sources. Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1. AMSGrad:
Reddi et al., "On the Convergence of Adam and Beyond", 2018. AdamW: Loshchilov and Hutter, "Decoupled
Weight Decay Regularization", 2019, algorithm 2. SGD: Sutskever et al., "On the importance of
initialization and momentum in deep learning", 2013, in the form that torch documents (``v = mu v + (1 -
dampening) g``; ``p -= lr v``).

**Arithmetic.** Everything is computed in float64 from the values before the step. Each returned bound is a
first-order forward error bound (Higham, "Accuracy and Stability of Numerical Algorithms", chapters 2-3) of
the same formula in the tensor's own number format with unit roundoff ``u``: every intermediate of
magnitude ``x`` contributes ``u |x|`` for each rounding that any of torch's implementations (loop, foreach,
fused, capturable) makes there, scalars included, and these are carried through to the result. Products are
counted twice over (``2u``) to leave room for compilers that use approximate division; the rounding of the
parameter itself, which decides how much a low-precision format hides, is counted 1.5 times. No part of a
bound is proportional to the learning rate alone.

All functions are pure. Values are unitless model quantities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar, TypeAlias

from .rounding import PRECISIONS, Precision

Pairs: TypeAlias = "tuple[tuple[float, float], ...]"
"""``(expected, bound)`` per field; a bound of ``inf`` says that the element cannot be checked there."""

ADAM_BEFORE = ("param", "grad", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
ADAM_AFTER = ("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
SGD_BEFORE = ("param", "grad", "momentum_buffer")
SGD_AFTER = ("param", "momentum_buffer")

__all__ = [
    "ADAM_AFTER", "ADAM_BEFORE", "PRECISIONS", "SGD_AFTER", "SGD_BEFORE", "AdamSettings", "Pairs",
    "Precision", "SgdSettings", "adam_element", "bias_correction", "sgd_element",
]  # fmt: skip

# A denominator known less well than this says nothing about the quotient.
_WORST_DENOMINATOR = 0.25


@dataclass(frozen=True, slots=True)
class AdamSettings:
    """Hyper-parameters of one group of Adam or AdamW, by torch's names.

    ``decoupled``: weight decay acts on the parameter and not through the gradient. ``single_bias``: the bias
    corrections are float32 tensors (capturable, differentiable) instead of Python floats. The fields from
    ``first_corrected`` on are departures that only a diagnosis tries. ``unscaled``: the gradient was divided
    by a loss scale within the step.
    """

    before: ClassVar[tuple[str, ...]] = ADAM_BEFORE
    after: ClassVar[tuple[str, ...]] = ADAM_AFTER
    counted: ClassVar[bool] = True

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool
    amsgrad: bool
    maximize: bool
    single_bias: bool = False
    unscaled: bool = False
    first_corrected: bool = True
    second_corrected: bool = True
    eps_in_root: bool = False
    eps_before_correction: bool = False
    grad_scale: float = 1.0
    step_scale: float = 1.0

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        return ADAM_AFTER[1:] if self.amsgrad else ADAM_AFTER[1:3]

    def initial(self, name: str) -> float:
        """What a state begins with."""
        return 0.0


@dataclass(frozen=True, slots=True)
class SgdSettings:
    """Hyper-parameters of one group of SGD; ``decoupled`` and the scales are tried by a diagnosis only."""

    before: ClassVar[tuple[str, ...]] = SGD_BEFORE
    after: ClassVar[tuple[str, ...]] = SGD_AFTER
    counted: ClassVar[bool] = False

    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool
    maximize: bool
    unscaled: bool = False
    decoupled: bool = False
    grad_scale: float = 1.0
    step_scale: float = 1.0

    def state(self) -> tuple[str, ...]:
        """Names of the state that a step leaves behind."""
        return SGD_AFTER[1:] if self.momentum else ()

    def initial(self, name: str) -> float:
        """What a state begins with."""
        return 0.0


def bias_correction(beta: float, count: float, unit: float) -> tuple[float, float]:
    """``1 - beta ** count`` and its relative error when computed with unit roundoff ``unit``.

    The power carries ``count`` roundings of beta; the subtraction from one magnifies them.
    """
    power = beta**count
    value = 1.0 - power
    return value, unit * (count * power + 4.0) / value


def adam_element(
    settings: AdamSettings, count: float, values: Sequence[float], precision: Precision
) -> Pairs:
    """Parameter, both moments and the maximum after step ``count`` (from 1), from ``values`` before.

    ``values`` are in the order of ADAM_BEFORE, the result in that of ADAM_AFTER.
    """
    param, grad, first, second, highest = values
    unit, floor = precision.unit, precision.floor
    twice = 2.0 * unit
    grad = grad * (-settings.grad_scale if settings.maximize else settings.grad_scale)
    grad_error = twice * abs(grad) if settings.unscaled else 0.0
    decay = settings.weight_decay
    if decay and not settings.decoupled:
        grad += decay * param
        grad_error += twice * (2.0 * abs(decay * param) + abs(grad)) + floor * abs(param)
    weight1, weight2 = 1.0 - settings.beta1, 1.0 - settings.beta2
    first_after = settings.beta1 * first + weight1 * grad
    first_error = 3.0 * twice * (abs(first) + weight1 * abs(grad)) + weight1 * grad_error
    first_error += floor * (1.0 + abs(first) + abs(grad))
    square = weight2 * grad * grad
    second_after = settings.beta2 * second + square
    second_error = (
        3.0 * twice * (settings.beta2 * abs(second) + square)
        + weight2 * grad_error * (2.0 * abs(grad) + grad_error)
        + floor * (1.0 + abs(second) + grad * grad)
    )
    highest_after = max(highest, second_after)
    under_root = highest_after if settings.amsgrad else second_after
    denominator, denominator_error = _denominator(settings, count, under_root, second_error, precision)
    size, size_error = settings.lr * settings.step_scale, 0.0
    if settings.first_corrected:
        bias, size_error = bias_correction(settings.beta1, count, _bias_unit(settings))
        size /= bias
    kept = (1.0 - settings.lr * decay) * param if decay and settings.decoupled else param
    if settings.single_bias and size:
        # This form divides the denominator by the step size first, which can leave a narrow format's range.
        denominator_error += floor * abs(size)
        if not denominator < abs(size) * precision.largest / 2.0:
            denominator_error = inf
    lowest = denominator - denominator_error
    if not lowest > (1.0 - _WORST_DENOMINATOR) * denominator:
        param_after, param_error = kept, inf
    else:
        update = size * first_after / denominator
        relative = denominator_error / denominator
        param_after = kept - update
        param_error = (
            abs(size) * (first_error + (abs(first_after) + first_error) * relative) / lowest
            + abs(update) * (3.0 * twice + size_error)
            + 1.5 * unit * (abs(param_after) + (2.0 * abs(param) if decay and settings.decoupled else 0.0))
            + floor * (1.0 + abs(param) + (1.0 + abs(first_after)) / lowest)
        )
    return (
        (param_after, param_error),
        (first_after, first_error),
        (second_after, second_error),
        (highest_after, second_error),
    )


def _denominator(
    settings: AdamSettings, count: float, under_root: float, error: float, precision: Precision
) -> tuple[float, float]:
    """``sqrt(v) / sqrt(1 - beta2 ** t) + eps`` and its error; an error of inf when v is not a square."""
    if not 0.0 <= under_root < inf:
        return 1.0, inf
    bias, bias_error = 1.0, 0.0
    if settings.second_corrected:
        bias, bias_error = bias_correction(settings.beta2, count, _bias_unit(settings))
    scale = sqrt(bias)
    root = sqrt(under_root)
    root_error = sqrt(under_root + error) - sqrt(max(under_root - error, 0.0))
    if settings.eps_in_root:
        value = sqrt(under_root / bias + settings.eps)
    elif settings.eps_before_correction:
        value = (root + settings.eps) / scale
    else:
        value = root / scale + settings.eps
    rounding = 6.0 * precision.unit * value
    return value, root_error / scale + rounding + root / scale * bias_error + precision.floor


def _bias_unit(settings: AdamSettings) -> float:
    return 2.0**-24 if settings.single_bias else 2.0**-53


def sgd_element(settings: SgdSettings, count: float, values: Sequence[float], precision: Precision) -> Pairs:
    """Parameter and momentum buffer after a step, from ``values`` in the order of SGD_BEFORE.

    ``count`` of at most 1 says that the buffer did not exist: it then starts as the gradient itself.
    """
    param, grad, buffer = values
    unit, floor = precision.unit, precision.floor
    twice = 2.0 * unit
    grad = grad * (-settings.grad_scale if settings.maximize else settings.grad_scale)
    grad_error = twice * abs(grad) if settings.unscaled else 0.0
    decay = settings.weight_decay
    if decay and not settings.decoupled:
        grad += decay * param
        grad_error += twice * (2.0 * abs(decay * param) + abs(grad)) + floor * abs(param)
    direction, direction_error = grad, grad_error
    buffer_after, buffer_error = buffer, inf
    momentum = settings.momentum
    if momentum:
        if count <= 1.0:
            buffer_after, buffer_error = grad, grad_error + unit * abs(grad) + floor
        else:
            weight = 1.0 - settings.dampening
            buffer_after = momentum * buffer + weight * grad
            buffer_error = (
                2.0 * twice * (abs(momentum * buffer) + abs(weight * grad))
                + abs(weight) * grad_error
                + floor * (1.0 + abs(buffer) + abs(grad))
            )
        direction, direction_error = buffer_after, buffer_error
        if settings.nesterov:
            direction = grad + momentum * buffer_after
            direction_error = (
                grad_error
                + momentum * buffer_error
                + 2.0 * twice * (abs(momentum * buffer_after) + abs(grad))
                + floor * abs(buffer_after)
            )
    lr = settings.lr
    kept = (1.0 - lr * decay) * param if decay and settings.decoupled else param
    update = settings.step_scale * lr * direction
    param_after = kept - update
    param_error = (
        abs(settings.step_scale * lr) * direction_error
        + 3.0 * twice * abs(update)
        + 1.5 * unit * (abs(param_after) + (2.0 * abs(param) if settings.decoupled else 0.0))
        + floor * (1.0 + abs(direction))
    )
    return ((param_after, param_error), (buffer_after, buffer_error))
