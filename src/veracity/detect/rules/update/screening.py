"""A first, fast pass over the sampled elements: which of them need a closer look.

The tolerances here are *smaller* than the bounds of ``formulas.py`` for every element, so whatever passes
here would pass there; what does not is judged there. Nearly all elements of an honest step pass, which is
what keeps a step of 512 elements near half a millisecond. Squares stand for absolute values because a
product is cheaper than a call. NaN fails every comparison and so is looked at closely.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from ....core.sample import Values
from .adaptive import SINGLE, Adaptive
from .formulas import AdamSettings, SgdSettings, bias_correction
from .rounding import Precision, value_of

Columns = Sequence[Values]

_LESS = 0.97


def adam_suspects(
    settings: AdamSettings, count: float, before: Columns, after: Columns, precision: Precision
) -> list[int]:
    """Positions whose values after the step are not plainly right; arrays as in ADAM_BEFORE, ADAM_AFTER.

    Raises ZeroDivisionError or ValueError where the formula has no value (the caller then looks at all).
    """
    near = _Near.of(settings, count, precision)
    plain = not settings.amsgrad and not settings.maximize and near.coupled == 0.0
    return (plain_adam_suspects if plain else any_adam_suspects)(settings, near, before, after)


@dataclass(frozen=True, slots=True)
class _Near:
    """What is the same for all elements of a tensor: factors of the formula, squared tolerances."""

    coupled: float
    kept: float
    size: float
    root_scale: float
    moment: float
    square: float
    param: float
    update: float

    @staticmethod
    def of(settings: AdamSettings, count: float, precision: Precision) -> _Near:
        decay, unit = settings.weight_decay, precision.unit
        return _Near(
            coupled=0.0 if settings.decoupled else decay,
            kept=1.0 - settings.lr * decay if settings.decoupled else 1.0,
            size=settings.lr / bias_correction(settings.beta1, count, 0.0)[0],
            root_scale=1.0 / sqrt(bias_correction(settings.beta2, count, 0.0)[0]),
            moment=(5.9 * unit) ** 2,
            square=5.9 * unit,
            param=((2.9 if settings.decoupled and decay else 1.4) * unit) ** 2,
            update=(18.0 * unit) ** 2,
        )


def plain_adam_suspects(settings: AdamSettings, near: _Near, before: Columns, after: Columns) -> list[int]:
    """What nearly every run uses, without the terms that are nothing then, in half the time."""
    beta1, beta2, eps = settings.beta1, settings.beta2, settings.eps
    weight1, weight2 = 1.0 - beta1, 1.0 - beta2
    kept, size, root_scale = near.kept, near.size, near.root_scale
    near_moment, near_square, near_param, near_update = near.moment, near.square, near.param, near.update
    suspects = []
    for at, param, grad, first, second, param_seen, first_seen, second_seen in zip(
        range(len(before[0])), *before[:4], *after[:3], strict=True
    ):
        first = beta1 * first + weight1 * grad
        second = beta2 * second + weight2 * grad * grad
        update = size * first / (sqrt(second) * root_scale + eps)
        apart = first_seen - first
        moved = param_seen - kept * param + update
        allowed = near_square * second
        if not (
            moved * moved <= near_param * param * param + near_update * update * update
            and apart * apart <= near_moment * first * first
            and -allowed <= second_seen - second <= allowed
        ):
            suspects.append(at)
    return suspects


def any_adam_suspects(settings: AdamSettings, near: _Near, before: Columns, after: Columns) -> list[int]:
    """All variants: coupled weight decay, ``amsgrad``, ``maximize``."""
    beta1, beta2, eps = settings.beta1, settings.beta2, settings.eps
    weight1, weight2 = 1.0 - beta1, 1.0 - beta2
    sign = -1.0 if settings.maximize else 1.0
    suspects = []
    if settings.amsgrad:
        highest_before, highest_after = before[4], after[3]
    else:
        # The maximum does not exist then; a maximum with -1 changes nothing.
        highest_before = array("d", [-1.0]) * len(before[0])
        highest_after = after[2]
    for at, param, grad, first, second, highest, param_seen, first_seen, second_seen, highest_seen in zip(
        range(len(before[0])), *before[:4], highest_before, *after[:3], highest_after, strict=True
    ):
        grad = sign * grad + near.coupled * param
        first = beta1 * first + weight1 * grad
        second = beta2 * second + weight2 * grad * grad
        if highest < second:
            highest = second
        update = near.size * first / (sqrt(highest) * near.root_scale + eps)
        apart = first_seen - first
        moved = param_seen - near.kept * param + update
        allowed = near.square * second
        if not (
            moved * moved <= near.param * param * param + near.update * update * update
            and apart * apart <= near.moment * first * first
            and -allowed <= second_seen - second <= allowed
            and -allowed <= highest_seen - highest <= allowed
        ):
            suspects.append(at)
    return suspects


def sgd_suspects(
    settings: SgdSettings, count: float, before: Columns, after: Columns, precision: Precision
) -> list[int]:
    """Positions whose values after the step are not plainly right; arrays as in SGD_BEFORE, SGD_AFTER."""
    momentum, lr, decay = settings.momentum, settings.lr, settings.weight_decay
    sign = -1.0 if settings.maximize else 1.0
    carried, weight = (0.0, 1.0) if count <= 1.0 else (momentum, 1.0 - settings.dampening)
    if not momentum:
        carried, weight = 0.0, 1.0
    ahead, own = (momentum, 1.0) if momentum and settings.nesterov else (1.0, 0.0)
    unit = precision.unit
    near = (unit if count <= 1.0 else 3.9 * unit) ** 2
    near_param = (1.4 * unit) ** 2
    near_update = (4.0 * unit) ** 2
    buffer_after = after[1] if momentum else before[2]
    suspects = []
    for at, param, grad, buffer, param_seen, buffer_seen in zip(
        range(len(before[0])), *before[:3], after[0], buffer_after, strict=True
    ):
        grad = sign * grad + decay * param
        buffer = carried * buffer + weight * grad
        update = lr * (own * grad + ahead * buffer)
        apart = buffer_seen - buffer if momentum else 0.0
        moved = param_seen - param + update
        if not (
            moved * moved <= near_param * param * param + near_update * update * update
            and apart * apart <= near * buffer * buffer
        ):
            suspects.append(at)
    return suspects


def adaptive_suspects(
    settings: Adaptive, count: float, before: Columns, after: Mapping[str, Values], precision: Precision
) -> list[int]:
    """Positions whose values after the step are not plainly right, for the optimizers of ``adaptive``.

    The tolerances are the errors that the formula's operations have in any case, whatever the values are.
    """
    unit = precision.unit
    param_near = _LESS * unit
    update_near = 0.0 if settings.weight_decay and settings.decoupled else param_near * settings.near[0]
    states = [
        (place, column, _LESS * near * (SINGLE if name in settings.scalars else unit))
        for place, (name, near) in enumerate(zip(settings.after, settings.near, strict=True))
        if place and (column := after.get(name)) is not None
    ]
    suspects = []
    for position, (values, param_seen) in enumerate(
        zip(zip(*before, strict=True), after["param"], strict=True)
    ):
        derived = settings.derive(count, values)
        param = value_of(derived[0])
        plain = abs(param_seen - param) <= param_near * abs(param) + update_near * abs(param - values[0])
        for place, column, tolerance in states:
            expected = value_of(derived[place])
            plain = plain and abs(column[position] - expected) <= tolerance * abs(expected)
        if not plain:
            suspects.append(position)
    return suspects
