"""The way from a loss to its function, read before each backward pass; and what the rule says of programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from tests.guard.conftest import Guarded
from veracity.core.finding import Finding
from veracity.core.observation import BackwardRoot, Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.loss_scaled import LossScaled

STEPS = 24
MSE = "MseLossBackward0"
Pass = Callable[[Tensor, int], object]


def train(
    run: Pass, *, batches: int = 1, steps: int = STEPS, scaler: torch.amp.GradScaler | None = None
) -> list[Tensor]:
    torch.manual_seed(3)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        for _ in range(batches):
            run(nn.functional.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 3)), step)
        if scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
    return list(model.parameters())


def judge(guarded: Guarded) -> list[tuple[Severity, int | None]]:
    assert guarded.session.shield.failures == {}
    detector = LossScaled()
    found: list[Finding] = []
    for one in guarded.seen(Observation):
        if isinstance(one, detector.takes):
            found += detector.observe(one)
    found += detector.finish()
    return [(one.severity, one.first_step) for one in found]


def seen(guarded: Guarded) -> tuple[list[str], str, list[list[int | float | None]]]:
    """The last way that was told, and the last step's passes."""
    assert guarded.session.shield.failures == {}
    root = guarded.seen(BackwardRoot)[-1]
    return root.nodes, root.base, guarded.seen(StepRecord)[-1].roots


WAYS: dict[str, tuple[Callable[[Tensor], Tensor], Sequence[str], str, float | None]] = {
    "plain": (lambda loss: loss, [], MSE, 1.0),
    "times": (lambda loss: loss * 0.25, ["MulBackward0"], MSE, 0.25),
    "times from the left": (lambda loss: torch.tensor(3) * loss, ["MulBackward0"], MSE, 3.0),
    "divided": (lambda loss: loss / 4, ["DivBackward0"], MSE, 0.25),
    "turned": (lambda loss: -loss, ["NegBackward0"], MSE, -1.0),
    "several": (
        lambda loss: (loss / 4 * 2).double() * 0.5,
        ["MulBackward0"] * 2 + ["DivBackward0"],
        MSE,
        0.25,
    ),
    "added to nothing": (lambda loss: 0 + loss.view(1).sum() - 1, [], MSE, 1.0),
    "taken from a constant": (lambda loss: 2 * loss.detach() - loss, ["SubBackward0"], MSE, -1.0),
    "taken from a number": (lambda loss: 1 - loss, ["RsubBackward1"], MSE, -1.0),
    "added to a constant": (lambda loss: loss.detach() + loss, [], MSE, 1.0),
    "partly constant": (lambda loss: 0.4 * loss.detach() + 0.6 * loss, ["MulBackward0"], MSE, 0.6),
    "half of it added": (lambda loss: torch.add(loss.detach(), loss, alpha=0.5), ["AddBackward0"], MSE, 0.5),
    "half of it taken": (lambda loss: torch.rsub(loss, 1.0, alpha=0.5), ["RsubBackward1"], MSE, -0.5),
    "a divisor": (lambda loss: torch.tensor(1.0).div(loss), [], "DivBackward0", 1.0),
    "two losses": (lambda loss: (loss + loss.square()) * 2, ["MulBackward0"], "AddBackward0", 2.0),
    "a mean": (lambda loss: torch.stack([loss, loss]).mean(), [], "MeanBackward0", 1.0),
    "a sum": (lambda loss: torch.stack([loss, loss]).sum(), [], "SumBackward0", 1.0),
    "a product": (lambda loss: loss * loss.sqrt(), [], "MulBackward0", 1.0),
}


@pytest.mark.parametrize("name", WAYS)
def test_factors_from_the_root_on(guarded: Guarded, name: str) -> None:
    change, nodes, base, factor = WAYS[name]
    train(lambda loss, step: change(loss).backward(), steps=2)
    assert seen(guarded) == (nodes, base, [[0, 1, factor]])
    assert [one.root for one in guarded.seen(BackwardRoot)] == [0]


def test_where_backward_is_called(guarded: Guarded) -> None:
    train(lambda loss, step: loss.backward(), steps=2)
    root = guarded.seen(BackwardRoot)[0]
    here = test_where_backward_is_called.__code__
    assert (root.path, root.line) == (here.co_filename, here.co_firstlineno + 1)
    assert root.via_line == train.__code__.co_firstlineno + 9


GIVEN: dict[str, Pass] = {
    "a gradient": lambda loss, step: loss.backward(torch.tensor(0.5)),
    "by name": lambda loss, step: loss.backward(gradient=torch.tensor(0.5)),
    "by torch.autograd": lambda loss, step: torch.autograd.backward([loss], [torch.tensor(0.5)]),
    "all by name": lambda loss, step: torch.autograd.backward(tensors=loss, grad_tensors=torch.tensor(0.5)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_gradient_that_backward_is_given(guarded: Guarded, name: str) -> None:
    train(GIVEN[name], steps=2)
    assert seen(guarded) == (["gradient"], MSE, [[0, 1, 0.5]])


def test_passes_alike_stand_together(guarded: Guarded) -> None:
    train(lambda loss, step: (loss / 3).backward(), batches=3, steps=2)
    assert guarded.seen(StepRecord)[-1].roots == [[0, 3, pytest.approx(1 / 3)]]


def test_what_has_no_one_root_is_not_known(guarded: Guarded) -> None:
    train(lambda loss, step: torch.autograd.backward([loss, loss * 2]), steps=2)
    assert guarded.seen(StepRecord)[-1].roots == [[-1, 1, None]]
    assert guarded.session.shield.failures == {}


def test_packed_numbers_are_left_packed(guarded: Guarded) -> None:
    packed: list[Tensor] = []

    def unpack(tensor: Tensor) -> Tensor:
        packed.append(tensor)
        return tensor

    def scaled(loss: Tensor, step: int) -> None:
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            weighted = loss * torch.tensor(0.5)
        packed.clear()
        weighted.backward()
        assert len(packed) == 1

    train(scaled, steps=2)
    assert seen(guarded) == (["MulBackward0"], MSE, [[0, 1, None]])


def test_the_scale_of_a_grad_scaler_is_left_out(guarded: Guarded) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    train(lambda loss, step: scaler.scale(loss / 2).backward(), batches=2, scaler=scaler)
    assert {str(one.roots) for one in guarded.seen(StepRecord)} == {"[[0, 2, 0.5]]"}
    assert judge(guarded) == []


def test_a_disabled_scaler_has_none(guarded: Guarded) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    train(lambda loss, step: scaler.scale(loss).backward(), scaler=scaler, steps=2)
    assert seen(guarded) == ([], MSE, [[0, 1, 1.0]])


def test_ways_without_end_are_not_told(guarded: Guarded) -> None:
    def deeper(loss: Tensor, step: int) -> None:
        for _ in range(step):
            loss = loss * 1.5
        loss.backward()

    train(deeper, steps=16)
    assert all(len(one.nodes) <= 8 for one in guarded.seen(BackwardRoot))
    assert judge(guarded) == []


# --- what the rule says -----------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0.98, 0.5, -1.0])
def test_a_loss_scaled_at_some_steps(guarded: Guarded, times: float) -> None:
    train(lambda loss, step: (loss * times if step in (14, 17, 18) else loss).backward())
    assert judge(guarded) == [(Severity.WARNING, 14)]


def test_one_micro_batch_scaled_under_a_grad_scaler(guarded: Guarded) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    passes: list[int] = []

    def scaled(loss: Tensor, step: int) -> None:
        passes.append(step)
        odd = step == 14 and len(passes) % 2 == 0
        scaler.scale((loss * 0.95 if odd else loss) / 2).backward()

    train(scaled, batches=2, scaler=scaler)
    assert judge(guarded) == [(Severity.WARNING, 14)]


def test_backward_exchanged_in_memory(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(loss: Tensor, step: int) -> None:
        if step == 14:
            kept = torch.Tensor.backward
            monkeypatch.setattr(torch.Tensor, "backward", lambda one, *rest: kept(one * 0.95, *rest))
        loss.backward()

    train(run)
    assert judge(guarded) == [(Severity.WARNING, 14)]


def _uphill(loss: Tensor, step: int) -> None:
    (2 * loss.detach() - loss if step in (14, 17) else loss).backward()


def _twice(loss: Tensor, step: int) -> None:
    if step in (14, 17):
        loss.backward(retain_graph=True)
    loss.backward()


def _a_part_again(loss: Tensor, step: int) -> None:
    for one in (loss, loss * 0.25)[: 1 + (step in (14, 17))]:
        one.backward(retain_graph=True)


@pytest.mark.parametrize("run", [_uphill, _twice, _a_part_again])
def test_other_ways_to_a_factor(guarded: Guarded, run: Pass) -> None:
    train(run)
    assert judge(guarded) == [(Severity.WARNING, 14)]


def test_a_backward_in_memory_that_runs_twice(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = torch.Tensor.backward

    def twice(loss: Tensor) -> None:
        kept(loss, retain_graph=True)
        kept(loss)

    def run(loss: Tensor, step: int) -> None:
        if step == 14:
            monkeypatch.setattr(torch.Tensor, "backward", twice)
        loss.backward()

    train(run)
    assert judge(guarded) == [(Severity.WARNING, 14)]


def _always_twice(loss: Tensor, step: int) -> None:
    loss.backward(retain_graph=True)
    loss.backward()


def _always_uphill(loss: Tensor, step: int) -> None:
    (1 - loss).backward()


def _baseline_taken(loss: Tensor, step: int) -> None:
    (loss - step).backward()


@pytest.mark.parametrize("run", [_always_twice, _always_uphill, _baseline_taken])
def test_what_a_program_does_at_each_step(guarded: Guarded, run: Pass) -> None:
    train(run)
    assert judge(guarded) == []


def test_a_look_at_gradients_that_are_thrown_away(guarded: Guarded) -> None:
    torch.manual_seed(3)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 3))
        if step % 7 == 6:
            loss.backward(retain_graph=True)
            optimizer.zero_grad(set_to_none=step == 13)
        loss.backward()
        optimizer.step()
    assert judge(guarded) == []


def test_one_loss_brought_back_to_some_tensors_and_then_to_others(guarded: Guarded) -> None:
    torch.manual_seed(3)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(8, 4)), torch.randn(8, 3))
        if step in (14, 17):
            loss.backward(retain_graph=True, inputs=[model.weight])
            loss.backward(inputs=[model.bias])
        else:
            loss.backward()
        optimizer.step()
    assert judge(guarded) == []


def test_two_losses_of_one_batch_are_two(guarded: Guarded) -> None:
    def both(loss: Tensor, step: int) -> None:
        loss.backward(retain_graph=True)
        loss.exp().backward()

    train(both)
    assert {str(one.roots) for one in guarded.seen(StepRecord)} == {"[[0, 1, 1.0], [1, 1, 1.0]]"}
    assert judge(guarded) == []


def by_hand(scales: dict[int, float]) -> None:
    """A loss scale of the program's own, divided out before the step."""
    torch.manual_seed(3)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scale = 1024.0
    for step in range(STEPS):
        scale = scales.get(step, scale)
        optimizer.zero_grad()
        (model(torch.randn(8, 4)).square().mean() * scale).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.div_(scale)
        optimizer.step()


def test_a_loss_scale_by_hand(guarded: Guarded) -> None:
    by_hand({14: 512.0, 15: 1024.0, 18: 2048.0, 20: 700.0, 21: 1024.0})
    assert judge(guarded) == []


def test_a_closure_is_not_judged(guarded: Guarded) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    for step in range(16):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = model(torch.ones(8, 4)).square().mean() * (1 + (step == 13))
            loss.backward()
            return loss

        optimizer.step(closure)
    assert judge(guarded) == []
