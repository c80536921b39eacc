"""Gradients written where no sampled element shows it: as torch counts the writes.

A write of the same values stands for one that the samples do not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.gradient_loops import a_loop, clip, judged
from veracity.core import observation as seen

pytest.importorskip("torch")

import torch

AT = 12
Between = Callable[[int, Any], None]

# --- sabotage, marked ---------------------------------------------------------------------------------


def masked(n: int, model: Any) -> None:
    if n == AT:
        model[0].weight.grad.mul_(1.0)  # a planted write


def masked_from_then_on(n: int, model: Any) -> None:
    if n >= AT:
        model[0].weight.grad.mul_(1.0)  # a planted write


def exchanged(n: int, model: Any) -> None:
    if n == AT:
        model[0].weight.grad = model[0].weight.grad * 1.0  # a planted exchange


def masked_and_clipped(n: int, model: Any) -> None:
    masked(n, model)
    clip(n, model)


def clipped_and_masked(n: int, model: Any) -> None:
    clip(n, model)
    masked(n, model)


@pytest.mark.parametrize(
    "between", [masked, masked_from_then_on, exchanged, masked_and_clipped, clipped_and_masked]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_tensor_written_among_others_is_a_warning(guarded: Guarded, between: Between, dtype: Any) -> None:
    a_loop(dtype, between=between).run()
    result = judged(guarded)
    assert result.all == [("gradient-written", "warning", AT)]
    assert "0.weight" in result.findings[0].message


# --- what programs do ---------------------------------------------------------------------------------


def always(n: int, model: Any) -> None:
    model[0].weight.grad[0] *= 1.0


def own_clipping(n: int, model: Any) -> None:
    if n in (11, 14):
        for parameter in model.parameters():
            parameter.grad.mul_(0.5)


def layer_by_layer(n: int, model: Any) -> None:
    if n in (11, 14):
        model[0 if n == 11 else 2].weight.grad.mul_(0.5 if n == 11 else 0.4)


def clipping_of_one(n: int, model: Any) -> None:
    if n >= AT:
        torch.nn.utils.clip_grad_norm_(model[0].weight, 1e6)


def bounded_where_it_is_large(n: int, model: Any) -> None:
    for parameter in model.parameters():
        limit = 0.02
        if parameter.grad.abs().max() > limit:
            parameter.grad.clamp_(-limit, limit)


def cleared_where_it_is_not_finite(n: int, model: Any) -> None:
    for parameter in model.parameters():
        if n == AT and parameter is model[0].weight:
            parameter.grad.fill_(float("nan"))
        if not torch.isfinite(parameter.grad).all():
            parameter.grad.nan_to_num_(0.0)


def frozen(n: int, model: Any) -> None:
    if n >= AT:
        model[0].weight.grad = None


def seldom_but_at_first(n: int, model: Any) -> None:
    if n in (3, 7, 12):
        model[n % 2 * 2].weight.grad.mul_(1.0)


@pytest.mark.parametrize(
    "between",
    [
        always,
        own_clipping,
        layer_by_layer,
        clipping_of_one,
        bounded_where_it_is_large,
        cleared_where_it_is_not_finite,
        frozen,
        seldom_but_at_first,
    ],
)
def test_what_programs_do_is_not_told_as_a_write(guarded: Guarded, between: Between) -> None:
    a_loop(between=between).run(20)
    assert [one for one in judged(guarded).all if one[0] == "gradient-written"] == []


def test_all_tensors_written_alike_are_a_note(guarded: Guarded) -> None:
    def noisy(n: int, model: Any) -> None:
        for parameter in model.parameters() if n >= AT else ():
            parameter.grad.mul_(1.0)

    a_loop(between=noisy).run()
    assert judged(guarded).all == [("gradient-written", "note", AT)]


def test_writes_that_cannot_be_counted_are_not_told(guarded: Guarded) -> None:
    def uncounted(n: int, model: Any) -> None:
        with torch.inference_mode():
            model[0].weight.grad = torch.ones_like(model[0].weight)

    a_loop(between=uncounted).run(4)
    assert judged(guarded).findings == []
    assert all(step.gradients.written is None for step in guarded.seen(seen.StepRecord))
