"""Weights written between two steps where no swept element shows it: as torch counts the writes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.gradient_loops import a_model
from veracity.core import observation as seen
from veracity.core.finding import Finding
from veracity.detect.rules.continuity.weights_written import WeightsWritten

pytest.importorskip("torch")

import torch

AT = 12
STEPS = 20
Part = Callable[[int, Any], None]


def nothing(n: int, model: Any) -> None:
    pass


def train(model: Any, before: Part = nothing, between: Part = nothing, after: Part = nothing) -> None:
    """Parts run before the forward pass, between backward pass and step, and after the step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(5)
    for n in range(STEPS):
        optimizer.zero_grad()
        before(n, model)
        model(torch.randn(8, 6)).square().mean().backward()
        between(n, model)
        optimizer.step()
        after(n, model)


def judged(guarded: Guarded) -> list[Finding]:
    assert guarded.session.shield.failures == {}
    detector = WeightsWritten()
    everything = [one for one in guarded.seen(seen.Observation) if isinstance(one, detector.takes)]
    return [*(finding for one in everything for finding in detector.observe(one)), *detector.finish()]


# --- sabotage, marked ---------------------------------------------------------------------------------


@torch.no_grad()
def one_element(n: int, model: Any) -> None:
    if n == AT:
        model[2].weight.view(-1)[3] += 0.0  # a planted write


@torch.no_grad()
def into_one(n: int, model: Any) -> None:
    if n >= AT:
        model[2].weight.mul_(1.0)  # a planted write


@pytest.mark.parametrize("parts", [{"before": one_element}, {"between": one_element}, {"before": into_one}])
def test_one_tensor_written_among_others_is_a_warning(guarded: Guarded, parts: dict[str, Part]) -> None:
    train(a_model(), **parts)
    (found,) = judged(guarded)
    assert (found.rule, found.severity.value, found.first_step) == (WeightsWritten.rule.id, "warning", AT)
    assert found.subject == "weights of 2.weight"


def test_a_tensor_exchanged_for_the_forward_pass_and_put_back_is_a_warning(guarded: Guarded) -> None:
    kept = {}

    @torch.no_grad()
    def out(n: int, model: Any) -> None:
        if n == AT:
            kept["weight"] = model[2].weight.clone()
            model[2].weight.mul_(1.5)  # a planted exchange

    @torch.no_grad()
    def back(n: int, model: Any) -> None:
        if n == AT:
            model[2].weight.copy_(kept["weight"])

    train(a_model(), out, back)
    assert [(one.severity.value, one.first_step) for one in judged(guarded)] == [("warning", AT)]


# --- what programs do ---------------------------------------------------------------------------------


@torch.no_grad()
def padding(n: int, model: Any) -> None:
    model[0].weight[0].zero_()


@torch.no_grad()
def bounded(n: int, model: Any) -> None:
    for parameter in model.parameters():
        parameter.clamp_(-0.5, 0.5)


@torch.no_grad()
def all_at_once(n: int, model: Any) -> None:
    if n == AT:
        for parameter in model.parameters():
            parameter.mul_(1.0)


def evaluated_with(some: int) -> Part:
    """An average of the first parameters is put in for an evaluation, and out again."""

    @torch.no_grad()
    def evaluate(n: int, model: Any) -> None:
        if n % 13 == AT:
            kept = copy.deepcopy(list(model.parameters()))
            for parameter in list(model.parameters())[:some]:
                parameter.copy_(parameter * 0.9)
            model(torch.ones(2, 6))
            for parameter, value in list(zip(model.parameters(), kept, strict=True))[:some]:
                parameter.copy_(value)

    return evaluate


def loaded(n: int, model: Any) -> None:
    if n == AT:
        model[2].load_state_dict(model[2].state_dict())


@torch.no_grad()
def where_it_is_large(n: int, model: Any) -> None:
    for parameter in model.parameters():
        if parameter.abs().max() > 0.41:
            parameter.clamp_(-0.41, 0.41)


@pytest.mark.parametrize(
    "after",
    [padding, bounded, all_at_once, evaluated_with(6), evaluated_with(4), loaded, where_it_is_large],
)
def test_what_programs_do_is_no_finding(guarded: Guarded, after: Part) -> None:
    train(a_model(), after=after)
    assert judged(guarded) == []


def test_weights_moved_uphill_and_put_back_at_each_step_are_no_finding(guarded: Guarded) -> None:
    model = a_model()

    @torch.no_grad()
    def uphill(n: int, model: Any) -> None:
        model[0].weight.add_(0.01)

    @torch.no_grad()
    def back(n: int, model: Any) -> None:
        model[0].weight.sub_(0.01)

    train(model, uphill, back)
    assert judged(guarded) == []


def test_an_embedding_that_bounds_its_rows_is_no_finding(guarded: Guarded) -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(9, 4, max_norm=1.0), torch.nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for n in range(STEPS):
        optimizer.zero_grad()
        model(torch.tensor([n % 9, 2])).square().mean().backward()
        optimizer.step()
    assert judged(guarded) == []


def test_a_hook_that_writes_after_its_first_ten_steps_is_told_by_another_rule(guarded: Guarded) -> None:
    model = a_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.no_grad()
    def hook(*_: object) -> None:
        if guarded.session.last_step >= AT:
            model[0].weight.mul_(0.5)

    optimizer.register_step_post_hook(hook)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(torch.ones(8, 6)).square().mean().backward()
        optimizer.step()
    assert judged(guarded) == []


def test_the_writes_of_an_optimizer_that_shares_parameters_are_its_own(guarded: Guarded) -> None:
    model = a_model()
    one = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.SGD(model[2].parameters(), lr=0.1)
    for n in range(2 * STEPS):
        for optimizer in (one, other) if n % 13 == AT else (one,):
            optimizer.zero_grad()
            model(torch.ones(8, 6)).square().mean().backward()
            optimizer.step()
    assert judged(guarded) == []


def test_writes_that_cannot_be_counted_are_not_told(guarded: Guarded) -> None:
    with torch.inference_mode():
        parameter = torch.nn.Parameter(torch.ones(4), requires_grad=False)
    other = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([parameter, other], lr=0.1)
    for _ in range(3):
        other.square().sum().backward()
        optimizer.step()
    assert [step.written for step in guarded.seen(seen.StepRecord)] == [None] * 3
    assert guarded.session.shield.failures == {}
