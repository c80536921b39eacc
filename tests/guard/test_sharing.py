"""Two optimizers on the same parameters, in real programs: who is a second one, and who is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.test_held import judged
from veracity.core.finding import Finding
from veracity.core.observation import StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.weights_changed import WeightsChanged
from veracity.detect.rules.update.not_declared import UpdateNotDeclared
from veracity.detect.rules.update.second_optimizer import SecondOptimizer

torch = pytest.importorskip("torch")
Program = Callable[[], None]


def model() -> Any:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))


def backward(net: Any) -> None:
    net.zero_grad()
    net(torch.randn(4, 8)).square().mean().backward()


def found_in(guarded: Guarded) -> list[Finding]:
    return judged(guarded, SecondOptimizer(), UpdateNotDeclared(), WeightsChanged())


def built_in_mid_run(guarded: Guarded, due: Callable[[int], bool], steps: int = 40, row: int = 1) -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for step in range(steps):
        backward(net)
        optimizer.step()
        for _ in range(row if due(step) else 0):
            torch.optim.SGD(net.parameters(), lr=1e-3).step()


@pytest.mark.parametrize("every", [4, 14])
def test_one_built_in_mid_run_that_steps_in_between_is_a_warning(guarded: Guarded, every: int) -> None:
    built_in_mid_run(guarded, lambda step: step >= 12 and step % every == every - 1)
    found = found_in(guarded)
    assert {one.rule for one in found} == {"update-second-optimizer"}
    assert [one.severity for one in found] == [Severity.NOTE, Severity.WARNING]
    assert "AdamW" in found[1].message
    assert "SGD" in found[1].message
    assert "on 4 of them" in found[1].message


def test_one_step_of_another_one_is_a_note(guarded: Guarded) -> None:
    built_in_mid_run(guarded, lambda step: step == 20)
    assert [one.severity for one in found_in(guarded)] == [Severity.NOTE]


def kept_in_mid_run() -> None:
    net = model()
    optimizers: list[Any] = [torch.optim.AdamW(net.parameters(), lr=1e-3)]
    for step in range(40):
        if step == 15:
            optimizers.append(torch.optim.SGD(net[2].parameters(), lr=1e-3))
        backward(net)
        for optimizer in optimizers:
            optimizer.step()


def test_one_object_that_stays_beside_the_first_is_a_warning(guarded: Guarded) -> None:
    kept_in_mid_run()
    found = found_in(guarded)
    assert [one.severity for one in found] == [Severity.NOTE, Severity.WARNING]
    assert "on 2 of them" in found[1].message


def adversarial() -> None:
    """A generator and a critic; the second one is optimized after a while only."""
    nets = model(), model()
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for net in nets]
    for step in range(50):
        for number, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            if number == 0 or step > 20:
                backward(net)
                optimizer.step()


def held_by_both() -> None:
    """Both optimizers hold all parameters, and each time only a part has gradients."""
    net = model()
    optimizers = [torch.optim.SGD(net.parameters(), lr=1e-3) for _ in range(2)]
    for step in range(50):
        net.zero_grad(set_to_none=True)
        part = net[0] if step % 2 and step > 20 else net[2]
        part(torch.randn(4, part.in_features)).square().mean().backward()
        optimizers[step % 2 if step > 20 else 0].step()


def a_task_each() -> None:
    net = model()
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for _ in range(2)]
    for _ in range(30):
        for optimizer in optimizers:
            backward(net)
            optimizer.step()


def phases() -> None:
    """Adam, then L-BFGS for good."""
    net = model()
    first = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(20):
        backward(net)
        first.step()
    second = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=2)
    data = torch.randn(4, 8)

    def closure() -> Any:
        net.zero_grad()
        loss = net(data).square().mean()
        loss.backward()
        return loss

    for _ in range(20):
        second.step(closure)


def rows() -> None:
    """Phases of an own optimizer each, again and again."""
    net = model()
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3)]
    for phase in range(6):
        if phase == 1:
            optimizers.append(torch.optim.SGD(net.parameters(), lr=1e-3))
        for _ in range(15):
            backward(net)
            optimizers[phase % 2].step()


def anew() -> None:
    """A new optimizer every epoch."""
    net = model()
    for _ in range(4):
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        for _ in range(12):
            backward(net)
            optimizer.step()


def inner_loops() -> None:
    """A fresh inner optimizer for each outer step, from the beginning."""
    net = model()
    outer = torch.optim.SGD(net.parameters(), lr=1e-2)
    for _ in range(25):
        inner = torch.optim.SGD(net.parameters(), lr=1e-2)
        for _ in range(2):
            backward(net)
            inner.step()
        backward(net)
        outer.step()


def wrapped_late() -> None:
    """A wrapper that steps the optimizer within its own step, from the middle of the run on."""
    kind: Any = torch.optim.Optimizer

    class Wrapper(kind):
        def __init__(self, base: Any) -> None:
            super().__init__(base.param_groups, {})
            self.base = base

        def step(self, closure: Any = None) -> None:
            self.base.step()

    net = model()
    base = torch.optim.Adam(net.parameters(), lr=1e-3)
    optimizer: Any = base
    for step in range(50):
        if step == 20:
            optimizer = Wrapper(base)
        backward(net)
        optimizer.step()


def unfrozen() -> None:
    """The head first, then the body by an optimizer of its own."""
    net = model()
    optimizers = [torch.optim.Adam(net[2].parameters(), lr=1e-3)]
    for step in range(40):
        if step == 15:
            optimizers.append(torch.optim.Adam(net[0].parameters(), lr=1e-4))
        backward(net)
        for optimizer in optimizers:
            optimizer.step()


CLEAN = [adversarial, held_by_both, a_task_each, phases, rows, anew, inner_loops, wrapped_late, unfrozen]


@pytest.mark.parametrize("program", CLEAN)
def test_programs_with_several_optimizers_are_not_accused(guarded: Guarded, program: Program) -> None:
    program()
    assert [one for one in found_in(guarded) if one.severity is not Severity.NOTE] == []
    assert [one for one in found_in(guarded) if one.rule == "update-second-optimizer"] == []
    assert guarded.session.shield.failures == {}


def test_one_built_early_that_joins_late_is_a_note(guarded: Guarded) -> None:
    net = model()
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3) for _ in range(2)]
    for step in range(50):
        for optimizer in optimizers if step > 20 else optimizers[:1]:
            backward(net)
            optimizer.step()
    assert [one.severity for one in found_in(guarded)] == [Severity.NOTE]


def test_one_optimizer_alone_has_nobody_to_name(guarded: Guarded) -> None:
    built_in_mid_run(guarded, lambda step: False, steps=5)
    assert [record.shared for record in guarded.seen(StepRecord)] == [[]] * 5


class Wrapper(torch.optim.Optimizer):  # type: ignore[name-defined]
    """Looks for the steepest point around the weights, goes back times ``by``, and has another one step."""

    param_groups: list[dict[str, Any]]

    def __init__(self, parameters: Any, by: float) -> None:
        super().__init__(parameters, {"rho": 0.05})
        self.inner = torch.optim.SGD(self.param_groups, lr=0.1, momentum=0.9)
        self.param_groups = self.inner.param_groups
        self.by = by

    @torch.no_grad()
    def first_step(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["old"] = parameter.data.clone()
            parameter.add_(parameter.grad, alpha=0.05)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.data = self.state[parameter]["old"] * self.by
        self.inner.step()
        self.zero_grad()


def wrapped(by: Callable[[int], float]) -> None:
    net = model()
    optimizer = Wrapper(net.parameters(), 1.0)
    for step in range(40):
        optimizer.by = by(step)
        backward(net)
        optimizer.first_step()
        net(torch.randn(4, 8)).square().mean().backward()
        optimizer.second_step()


def test_a_wrapper_that_never_steps_itself_is_clean(guarded: Guarded) -> None:
    wrapped(lambda step: 1.0)
    assert found_in(guarded) == []


@pytest.mark.parametrize("first", [0, 20])
def test_a_wrapper_that_puts_other_weights_back_is_found(guarded: Guarded, first: int) -> None:
    wrapped(lambda step: 1.01 if step == first else 1.0)
    found = found_in(guarded)
    assert [(one.rule, one.first_step) for one in found] == [("continuity-weights-changed", first)]
