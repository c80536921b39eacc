"""What a gradient was multiplied with between its backward pass and the step, as the calls in between say."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, cast

from .rerun import NotRepeatableError

if TYPE_CHECKING:
    import torch

    from ..gradients import Event, Passed

EPSILON = 1e-6


def factor_of(passed: Passed, parameter: torch.Tensor) -> float:
    """The product of all factors on the gradient of ``parameter``.

    Raises NotRepeatableError where they are not known, or where clipping by value changed single elements.
    """
    if not passed.whole:
        raise NotRepeatableError(
            "gradients were changed between backward passes", lasting=False, counts=False
        )
    if passed.touched or id(parameter) in passed.written:
        raise NotRepeatableError(
            "gradients were changed after the backward pass, which is not this law's matter",
            lasting=False,
            counts=False,
        )
    factor = 1.0
    for event in passed.events:
        if event.concerned is None or id(parameter) in event.concerned:
            factor *= _factor(event, parameter)
    if not isfinite(factor) or not factor:
        raise NotRepeatableError(
            "the gradients were multiplied with no finite number", lasting=False, counts=False
        )
    return factor


def _factor(event: Event, parameter: torch.Tensor) -> float:
    """Norm: ``torch.nn.utils.clip_grads_with_norm_``. Unscaling: ``GradScaler.unscale_``."""
    limit = float(cast("float", event.limit))
    if event.kind == "unscale":
        return 1 / limit if limit else 0.0
    if event.kind == "norm":
        if event.norm is None:
            raise NotRepeatableError("the norm that was clipped by could not be read", lasting=False)
        return min(1.0, limit / (float(cast("float", event.norm)) + EPSILON))
    if _reaches(parameter.grad, limit):
        raise NotRepeatableError("the gradient was clipped element by element", lasting=False, counts=False)
    return 1.0


def _reaches(gradient: torch.Tensor | None, limit: float) -> bool:
    """Whether an element is as large as the limit, as the gradient's dtype rounds it."""
    import torch

    if gradient is None or not gradient.numel():
        return False
    largest = float(gradient.detach().abs().max())
    return largest >= limit * (1 - torch.finfo(gradient.dtype).eps)
