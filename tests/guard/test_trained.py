"""Forward functions of what is trained, exchanged while it trains: seen by the guard, judged by the rule."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.core.finding import Finding
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.code.function_swapped import FunctionSwapped
from veracity.guard import functions, trained
from veracity.guard.functions import Functions

LOOK = Functions.look
STEPS = 24
AT = (14, 15, 18)
ELSEWHERE = "/job/helpers.py"
Change = Callable[["Net", int], object]


class Block(nn.Module):
    """A layer of the program's own, beside torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.bend = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mixed(x)

    def mixed(self, x: Tensor) -> Tensor:
        result: Tensor = self.bend(self.inner(x))
        return result


class Net(nn.Module):
    """Two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Block(), Block()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x)).square().mean()
        return result


def elsewhere(function: Callable[..., object]) -> Any:
    """The same function as if it came from a file of helpers."""
    code = function.__code__.replace(co_filename=ELSEWHERE)
    return types.FunctionType(code, {"torch": torch, "abs": abs})


@elsewhere
def planted(self: Any, x: Tensor) -> Tensor:
    return 0.5 * self.inner(x)


@elsewhere
def planted_bend(self: Any, x: Tensor) -> Tensor:
    return x.abs()


@elsewhere
def planted_relu(x: Tensor, inplace: bool = False) -> Tensor:
    return x.abs()


@elsewhere
def planted_call(self: Any, x: Tensor) -> Any:
    return self.forward(x)


@pytest.fixture
def watched(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """A guard that looks at functions, which that of the other tests does not."""
    monkeypatch.setattr(Functions, "look", LOOK)
    return guarded


def train(change: Change, within: Change = lambda net, step: None, steps: int = STEPS) -> Net:
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for step in range(steps):
        change(net, step)
        optimizer.zero_grad()
        loss = net(torch.randn(8, 4))
        loss.backward()
        within(net, step)
        optimizer.step()
    return net


def judged(guarded: Guarded) -> list[Finding]:
    """What the rule says where every file defines what was seen of it."""
    assert guarded.session.shield.failures == {}
    detector, origin = FunctionSwapped(), Origin("guard", Trust.SELF_REPORT, 7, 0, -1, 1)
    files: dict[str, dict[str, str]] = {}
    looks = guarded.seen(seen.FunctionsSeen)
    for one in (one for look in looks for one in look.functions):
        files.setdefault(one.path, {})[f"{one.name} {one.code}"] = one.code
    found: list[Finding] = []
    for path, defined in files.items():
        vouched = "site-packages" in path
        expected = seen.FunctionsExpected(origin, path, vouched, "torch" if vouched else "", defined)
        found += detector.observe(expected)
    found += [finding for look in looks for finding in detector.observe(look)]
    return [*found, *detector.finish()]


def told(guarded: Guarded) -> list[tuple[Severity, int | None, str]]:
    return [(one.severity, one.first_step, one.subject) for one in judged(guarded)]


def at_some(owner: Callable[[Net], Any], name: str, function: object) -> tuple[Change, Change]:
    """``function`` stands in the owner's ``name`` at the steps :data:`AT`; and what takes it back."""
    kept: list[object] = []

    def put(net: Net, step: int) -> None:
        if step in AT:
            kept.append(vars(owner(net)).get(name))
            setattr(owner(net), name, function)

    def back(net: Net, step: int) -> None:
        if not kept:
            return
        before = kept.pop()
        if before is None:
            delattr(owner(net), name)
        else:
            setattr(owner(net), name, before)

    return put, back


@elsewhere
def planted_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.addmm(bias, x, weight.t(), alpha=0.9)


@elsewhere
def planted_shadow(self: Any, other: Any) -> Any:
    return torch.mul(self, other)


OWNERS: dict[str, tuple[Callable[[Net], Any], str, object]] = {
    "tests.guard.test_trained.Block.forward": (lambda net: Block, "forward", planted),
    "tests.guard.test_trained.Block.mixed": (lambda net: Block, "mixed", planted),
    "torch.nn.modules.activation.GELU.forward": (lambda net: nn.GELU, "forward", planted_bend),
    "torch.nn.modules.module.Module.__call__": (lambda net: nn.Module, "__call__", planted_call),
    "torch.nn.functional.relu": (lambda net: nn.functional, "relu", planted_relu),
    "torch.nn.functional.linear": (lambda net: nn.functional, "linear", planted_linear),
    "torch.tanh": (lambda net: torch, "tanh", planted_bend),
    "torch.Tensor.mul": (lambda net: torch.Tensor, "mul", planted_shadow),
    "torch.nn.functional.silu": (lambda net: nn.functional, "silu", functools.partial(abs)),
    "torch.sigmoid": (lambda net: torch, "sigmoid", torch.tanh),
    "torch.nn.modules.activation.GELU.__call__": (lambda net: nn.GELU, "__call__", planted_call),
}


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("long", [True, False])
def test_a_forward_that_is_another_for_some_steps(watched: Guarded, name: str, long: bool) -> None:
    owner, key, function = OWNERS[name]
    put, back = at_some(owner, key, function)

    def after(net: Net, step: int) -> None:
        back(net, step)
        put(net, step)

    try:
        # Taken back before the step that it served, or only when the next one begins.
        train(after if long else put, (lambda net, step: None) if long else back)
    finally:
        back(Net(), 0)
    assert told(watched) == [(Severity.ERROR, 14, name)]


def test_a_forward_of_one_module_alone(watched: Guarded) -> None:
    def change(net: Net, step: int) -> None:
        if step == 14:
            net.second.forward = types.MethodType(planted, net.second)  # type: ignore[method-assign]

    train(change)
    name = "tests.guard.test_trained.Block().forward (1: second)"
    assert told(watched) == [(Severity.ERROR, 14, name)]


def _put_on_before_the_first_step(net: Net, step: int) -> None:
    if step == 0:
        net.first.forward = types.MethodType(planted, net.first)  # type: ignore[method-assign]


def _taken_off_again(net: Net, step: int) -> None:
    _put_on_before_the_first_step(net, step)
    if step == 14:
        del net.first.forward


def _its_own_put_on_itself(net: Net, step: int) -> None:
    if step == 14:
        net.first.forward = net.first.forward  # type: ignore[method-assign]


def _each_step_anew(net: Net, step: int) -> None:
    net.first.forward = types.MethodType(planted, net.first)  # type: ignore[method-assign]


def _an_attribute_of_another_name(net: Net, step: int) -> None:
    net.first.forwards = planted
    Block.seen = step


def _a_new_layer(net: Net, step: int) -> None:
    if step == 14:
        net.first.bend = nn.SiLU()


@pytest.mark.parametrize(
    "change",
    [
        _put_on_before_the_first_step, _taken_off_again, _its_own_put_on_itself, _each_step_anew,
        _an_attribute_of_another_name, _a_new_layer,
    ],
)  # fmt: skip
def test_what_programs_do_with_their_modules(watched: Guarded, change: Change) -> None:
    train(change)
    assert told(watched) == []


def another(self: Any, x: Tensor) -> Tensor:
    result: Tensor = self.mixed(x)
    return result


def test_another_function_of_the_same_file_is_a_note(watched: Guarded) -> None:
    kept = Block.forward

    def change(net: Net, step: int) -> None:
        Block.forward = another if step >= 14 else kept  # type: ignore[method-assign]

    try:
        train(change)
    finally:
        Block.forward = kept  # type: ignore[method-assign]
    assert told(watched) == [(Severity.NOTE, 14, "tests.guard.test_trained.Block.forward")]


def test_classes_of_one_name_are_not_taken_for_each_other(watched: Guarded) -> None:
    def made(factor: float) -> nn.Module:
        forwards = {1.0: lambda self, x: x, 2.0: lambda self, x: x + x}
        return type("Made", (nn.Module,), {"forward": forwards[factor]})()

    def change(net: Net, step: int) -> None:
        if step == 0:
            net.one, net.two = made(1.0), made(2.0)
        if step == 14:
            net.first.forward = types.MethodType(planted, net.first)  # type: ignore[method-assign]

    train(change)
    assert [subject for _, _, subject in told(watched)] == [
        "tests.guard.test_trained.Block().forward (1: first)"
    ]


@pytest.mark.parametrize("bound", ["MAX_MODULES", "MAX_KINDS"])
def test_what_is_not_followed_is_a_gap(watched: Guarded, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(trained, bound, 2)
    train(lambda net, step: None)
    (gap,) = watched.seen(seen.Gap)
    assert gap.what.endswith("of the model are not watched")


def test_exchanges_without_end_become_a_gap(watched: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "MAX_ALARMS", 6)

    def change(net: Net, step: int) -> None:
        net.first.forward = types.MethodType(  # type: ignore[method-assign]
            types.FunctionType(planted.__code__.replace(co_firstlineno=step + 1), {}), net.first
        )

    train(change, steps=80)
    (gap,) = watched.seen(seen.Gap)
    assert "exchanged 6 times" in gap.what
