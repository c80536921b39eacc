"""Modes and running statistics at each step, of real modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from tests.guard.conftest import Guarded
from veracity.core.finding import Finding
from veracity.core.observation import Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.buffers_written import BuffersWritten
from veracity.detect.rules.randomness.dropout_stopped import DropoutStopped
from veracity.detect.rules.randomness.evaluation_mode import EvaluationMode
from veracity.guard.schedule import Schedule

STEPS = 16


class Own(nn.Module):
    """Dropout by its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = nn.functional.dropout(self.inner(x), 0.5, self.training)
        return result


def norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))


def train(
    model: nn.Module, before: Callable[[nn.Module, int], object], after: Callable[..., object] | None = None
) -> None:
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(STEPS):
        before(model, step)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        if after is not None:
            after(model, step)
        optimizer.step()


def found(guarded: Guarded) -> list[Finding]:
    detectors = (EvaluationMode(), BuffersWritten(), DropoutStopped())
    assert guarded.session.shield.failures == {}
    return [
        finding
        for record in guarded.seen(Observation)
        for one in detectors
        for finding in one.observe(record)
    ]


@pytest.mark.parametrize(
    "make",
    [Own, norm, lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4))],
    ids=["own", "norm", "dropout"],
)
def test_a_step_in_evaluation_mode_is_found(guarded: Guarded, make: Callable[[], nn.Module]) -> None:
    train(make(), lambda model, step: model.train(step != 12))
    assert [(one.rule, one.first_step) for one in found(guarded)] == [("randomness-evaluation-mode", 12)]


def test_the_mode_within_a_wrapper_is_what_counts(guarded: Guarded) -> None:
    """A script goes on to call the model it has wrapped by its own name."""
    model = Own()
    train(nn.DataParallel(model), lambda _, step: model.train(step != 12))
    assert [(one.rule, one.first_step) for one in found(guarded)] == [("randomness-evaluation-mode", 12)]
    assert [step.settings for step in guarded.seen(StepRecord) if step.settings] == []


def test_a_wrapper_whose_mode_alone_is_set_is_no_finding(guarded: Guarded) -> None:
    model = Own()

    def evaluate_within(whole: nn.Module, step: int) -> None:
        whole.eval()
        model.train()

    train(nn.DataParallel(model), evaluate_within)
    assert found(guarded) == []
    assert all(step.training for step in guarded.seen(StepRecord))


@pytest.mark.parametrize(("times", "severity"), [(0.1, Severity.NOTE), (0.9, Severity.WARNING)])
def test_a_phase_in_evaluation_mode_at_a_rate_of_its_own_is_a_note(
    guarded: Guarded, times: float, severity: Severity
) -> None:
    """A second phase with the batch statistics as they are, in a program without a loader."""
    model = norm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(STEPS):
        if step == 12:
            model.eval()
            optimizer.param_groups[0]["lr"] *= times
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    assert [(one.severity, one.first_step) for one in found(guarded)] == [(severity, 12)]


def evaluate(model: nn.Module, step: int) -> None:
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))
    model.train()


CLEAN_MODES: dict[str, Callable[[nn.Module, int], object]] = {
    "evaluation in between": evaluate,
    "evaluation mode from the start": lambda model, step: model.eval(),
    "now and then from the start": lambda model, step: model.train(step % 3 > 0),
    "one layer frozen": lambda model, step: next(iter(model.children())).eval() if step == 12 else None,
}


@pytest.mark.parametrize("name", CLEAN_MODES)
def test_what_programs_do_with_modes_is_no_finding(guarded: Guarded, name: str) -> None:
    train(Own(), CLEAN_MODES[name])
    assert found(guarded) == []


def test_a_mode_that_changes_nothing_is_not_told(guarded: Guarded) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4), nn.Dropout(0.0))
    train(model, lambda model, step: model.train(step < 12))
    assert {step.training for step in guarded.seen(StepRecord)} == {None}


@torch.no_grad()
def exchange(model: nn.Module, step: int) -> None:
    """Averaged statistics in for an evaluation, and out again."""
    for buffer in list(model.buffers())[:2]:
        kept = buffer.clone()
        buffer.copy_(kept * 0.9)
        buffer.copy_(kept)


WRITES: dict[str, Callable[[nn.Module, int], object]] = {
    "add": lambda model, step: model[1].running_mean.add_(0.1),
    "scale the variance": lambda model, step: model[1].running_var.mul_(2),
    "copy": lambda model, step: next(model.buffers()).copy_(torch.ones(4)),
}


@pytest.mark.parametrize("name", WRITES)
def test_statistics_written_in_mid_run_are_found(guarded: Guarded, name: str) -> None:
    train(norm(), lambda model, step: WRITES[name](model, step) if step == 12 else None)
    assert [(one.rule, one.first_step, one.subject) for one in found(guarded)] == [
        ("continuity-buffers-written", 12, "1")
    ]


UNCOUNTED: dict[str, Callable[[nn.Module, int], object]] = {
    "data": lambda model, step: model[1].running_mean.data.add_(0.1),
    "exchanged": lambda model, step: setattr(
        model[1].running_var, "data", model[1].running_var.detach() * 1.5
    ),
    "numpy": lambda model, step: model[1].running_mean.numpy().__iadd__(0.1),
}


@pytest.fixture
def always_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is looked at closely, however long the looks before it took."""
    monkeypatch.setattr(Schedule, "probability", property(lambda _: 1.0))


@pytest.mark.parametrize(("name", "at"), [("data", 12), ("data", 11), ("exchanged", 12), ("numpy", 12)])
def test_writes_that_torch_does_not_count_are_found(guarded: Guarded, name: str, at: int) -> None:
    """Planted before a forward pass, or behind the backward pass of the step before."""

    def act(model: nn.Module, step: int) -> None:
        if step == at:
            UNCOUNTED[name](model, step)

    def nothing(model: nn.Module, step: int) -> None:
        """Leave it as it is."""

    train(norm(), *((act, nothing) if at == 12 else (nothing, act)))
    assert [(one.rule, one.first_step, one.subject) for one in found(guarded)] == [
        ("continuity-buffers-written", 12, "1")
    ]


def logged(model: nn.Module, step: int) -> None:
    """A pass in training mode for a log, which moves the statistics and has no backward pass."""
    if step % 3 == 0:
        with torch.no_grad():
            model(torch.randn(8, 4))


def slower(model: nn.Module, step: int) -> None:
    model[1].momentum = 0.1 * 0.5 ** (step // 4)


@pytest.mark.parametrize(
    "before",
    [logged, slower, lambda model, step: setattr(model[1], "momentum", None), UNCOUNTED["data"]],
    ids=["pass for a log", "momentum by steps", "cumulative", "always by data"],
)
def test_what_moves_statistics_by_the_programs_own_rules_is_no_finding(
    guarded: Guarded, before: Callable[[nn.Module, int], object]
) -> None:
    train(norm(), before)
    assert found(guarded) == []


@pytest.mark.usefixtures("always_close")
def test_a_graph_that_is_kept_for_a_second_pass_is_no_finding(guarded: Guarded) -> None:
    model = norm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for step in range(20):
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward(retain_graph=True)
        if step > 14:
            logged(model, 0)
        loss.backward()
        optimizer.step()
    assert found(guarded) == []
    assert any(step.followed for step in guarded.seen(StepRecord))


CLEAN_WRITES: dict[str, Callable[[nn.Module, int], object]] = {
    "nothing": lambda model, step: None,
    "exchanged and back": lambda model, step: exchange(model, step) if step == 12 else None,
    "always": WRITES["add"],
    "every third step": lambda model, step: WRITES["add"](model, step) if step % 3 == 0 else None,
    "reset": lambda model, step: model[1].reset_running_stats() if step == 12 else None,
    "loaded": lambda model, step: model.load_state_dict(norm().state_dict()) if step == 12 else None,
    "evaluated": evaluate,
}


@pytest.mark.parametrize("name", CLEAN_WRITES)
def test_what_programs_do_with_statistics_is_no_finding(guarded: Guarded, name: str) -> None:
    train(norm(), CLEAN_WRITES[name])
    assert found(guarded) == []


def test_a_new_pass_makes_both_a_note(guarded: Guarded) -> None:
    loader = torch.utils.data.DataLoader(torch.zeros(4), batch_size=2)

    def change(model: nn.Module, step: int) -> None:
        if step == 12:
            iter(loader)
            model.eval()
            WRITES["add"](model, step)

    train(norm(), change)
    assert [one.severity for one in found(guarded)] == [Severity.NOTE] * 2


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 4))


INPUTS = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def drawn_or_not(before: Callable[[nn.Module, int], object]) -> None:
    """As ``train``, but nothing except dropout draws."""
    model = dropping()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(24):
        before(model, step)
        optimizer.zero_grad()
        model(INPUTS).square().mean().backward()
        optimizer.step()


def test_dropout_that_draws_no_more_is_found(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = (torch.arange(32).reshape(8, 4) % 3 > 0) / 0.7

    def exchange(model: nn.Module, step: int) -> None:
        if step == 14:
            monkeypatch.setattr(nn.functional, "dropout", lambda value, *_: value * mask)

    drawn_or_not(exchange)
    assert [(one.rule, one.severity, one.first_step) for one in found(guarded)] == [
        ("randomness-dropout-stopped", Severity.WARNING, 14)
    ]


def set_to_zero(model: nn.Module, step: int) -> None:
    if step == 14:
        model[1].p = 0.0


CLEAN_DROPOUT: dict[str, Callable[[nn.Module, int], object]] = {
    "draws": lambda model, step: None,
    "set to zero": set_to_zero,
    "frozen layer": lambda model, step: model[1].eval() if step == 14 else None,
    "evaluated": evaluate,
}


@pytest.mark.parametrize("name", CLEAN_DROPOUT)
def test_what_programs_do_with_dropout_is_no_finding(guarded: Guarded, name: str) -> None:
    drawn_or_not(CLEAN_DROPOUT[name])
    assert found(guarded) == []


def test_two_optimizers_of_one_pass_are_no_pause(guarded: Guarded) -> None:
    model = dropping()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.01) for part in (model[0], model)]
    for _ in range(20):
        model(INPUTS).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert [one for one in found(guarded) if one.rule == "randomness-dropout-stopped"] == []
