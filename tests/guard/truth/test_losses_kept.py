"""Protected loss functions that cannot be called again, or must not be; and losses of other shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from tests.guard.conftest import Guarded
from tests.guard.truth import losses
from tests.guard.truth.losses import CLASSES, protected, train
from tests.guard.truth.programs import adam
from tests.guard.truth.test_losses import STEPS, checked, judged
from veracity.core import observation as seen

__all__ = ["checked"]


class Queue:
    """Keeps the last targets, as losses with negatives of earlier steps do."""

    def __init__(self) -> None:
        self.queue = torch.zeros(64)
        self.scale = 1.0

    def __call__(self, logits: Any, wanted: Any) -> Any:
        self.queue[:32] = logits[:, 0].detach()
        return functional.cross_entropy(logits, wanted) + 0.01 * (logits[:, 0] * self.queue[:32]).mean()


def keeping(how: str) -> Any:
    kept: list[float] = []
    own = torch.Generator().manual_seed(1)
    norm = nn.BatchNorm1d(CLASSES)
    count = 0

    def loss_fn(logits: Any, wanted: Any) -> Any:
        nonlocal count
        if how == "list":
            kept.append(1.0)
        elif how == "counter":
            count += 1
        elif how == "generator":
            logits = logits + torch.rand(1, generator=own)
        elif how == "normalisation":
            logits = norm(logits)
        return functional.cross_entropy(logits, wanted)

    return Queue() if how == "queue" else loss_fn


@pytest.mark.parametrize("how", ["list", "counter", "generator", "normalisation", "queue"])
def test_what_keeps_something_is_not_called_again(
    checked: Guarded, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def run(guard: Any) -> list[Any]:
        torch.manual_seed(9)
        return [*train(guard(keeping(how)), STEPS).state_dict().values()]

    with_checks = run(protected)
    found, coverage = judged(checked)
    assert found == []
    assert (coverage.checked, list(coverage.reasons)) == (0, [KEEPS])
    without = run(lambda loss_fn: loss_fn)
    assert all(torch.equal(one, other) for one, other in zip(with_checks, without, strict=True))


KEEPS = "the loss function keeps something from call to call"


def test_a_function_that_trains_is_not_called_again(checked: Guarded) -> None:
    model = losses.perceptron()
    optimizer = adam(model)

    def part(inputs: Any, wanted: Any) -> Any:
        loss = functional.cross_entropy(model(inputs), wanted)
        loss.backward()
        return loss * 0.5

    step = protected(part)
    for _ in range(STEPS):
        optimizer.zero_grad()
        step(torch.randn(32, 12, requires_grad=True), losses.targets("classes")).detach()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert list(coverage.reasons) == ["the loss function runs a backward pass itself"]


def rewound() -> Any:
    """The loss of a step, once only; nothing that the function around it names tells of it."""
    memory: set[float] = set()

    def inner(logits: Any, wanted: Any) -> Any:
        number = float(logits.detach().sum())
        assert number not in memory
        memory.add(number)
        return functional.cross_entropy(logits, wanted)

    return [inner].__getitem__(0)


def opaque(logits: Any, wanted: Any) -> Any:
    return functional.cross_entropy(logits.values, wanted)


class Holder:
    def __init__(self, values: Any) -> None:
        self.values = values


def partly(loss_fn: Any) -> None:
    model = losses.perceptron()
    optimizer = adam(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_fn(model(torch.randn(32, 12)), losses.targets("classes"))
        loss.backward(inputs=list(model[2].parameters()))
        optimizer.step()


REASONS: dict[str, tuple[Callable[[], object], str]] = {
    "in place": (
        lambda: train(
            protected(lambda given, wanted: functional.cross_entropy(given.div_(2), wanted)), STEPS
        ),
        "changed in place",
    ),
    "compiled": (
        lambda: train(protected(torch.compile(nn.CrossEntropyLoss(), backend="eager")), STEPS),
        "compiled",
    ),
    "identity": (
        lambda: train(protected(lambda given, wanted: given), STEPS, reduce=lambda one: one.square().mean()),
        "returns what it was given",
    ),
    "an object that hides its tensors": (
        lambda: train(protected(opaque), STEPS, shape=lambda given, wanted: (Holder(given), wanted)),
        "no tensor with a gradient",
    ),
    "not finite": (
        lambda: train(protected(nn.CrossEntropyLoss()), STEPS, reduce=lambda loss: loss * float("inf")),
        "not finite",
    ),
    "a part of the graph": (lambda: partly(protected(nn.CrossEntropyLoss())), "no gradient came back"),
    "unused": (
        lambda: train(
            lambda given, wanted: protected(losses.plainly)(given, wanted).detach() + given.mean(), STEPS
        ),
        "no gradient came back",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_cannot_be_checked_is_a_reason(checked: Guarded, name: str) -> None:
    program, reason = REASONS[name]
    program()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked == 0
    assert any(reason in why for why in coverage.reasons), coverage.reasons


def test_what_raises_when_it_is_called_again_is_left_alone(checked: Guarded) -> None:
    def once(logits: Any, wanted: Any) -> Any:
        return inner(logits, wanted)

    inner = rewound()
    train(protected(once), STEPS, evaluates=False)
    found, coverage = judged(checked)
    assert (found, coverage.checked) == ([], 0)
    assert any("AssertionError" in why or KEEPS in why for why in coverage.reasons), coverage.reasons


# --- other shapes -----------------------------------------------------------------------------------------


def test_a_loss_with_parameters_is_given_a_dictionary(checked: Guarded) -> None:
    loss_fn = protected(losses.Tempered())
    model = losses.perceptron()
    optimizer = torch.optim.Adam([*model.parameters(), *loss_fn.parameters()], lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        result = loss_fn({"logits": model(torch.randn(32, 12))}, wanted=losses.targets("classes"))
        result["loss"].backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS // 2, coverage.reasons
    names = {record.input_name for record in checked.seen(seen.LossChecked) if record.trials}
    assert names == {"input 0.logits"}


def test_each_of_several_inputs_and_losses_is_drawn(checked: Guarded) -> None:
    student, teacher, scale = losses.perceptron(), losses.perceptron(), nn.Parameter(torch.ones(CLASSES))
    both = [protected(losses.distillation), protected(nn.MSELoss())]
    optimizer = torch.optim.Adam([*student.parameters(), *teacher.parameters(), scale], lr=1e-3)
    for _ in range(3 * STEPS):
        optimizer.zero_grad()
        inputs = torch.randn(32, 12)
        taught = teacher(inputs)
        loss = both[0](student(inputs), losses.targets("classes"), teacher=taught)
        (loss + both[1](taught, scale.expand(32, CLASSES))).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS, coverage.reasons
    tried = {(one.name, one.input_name) for one in checked.seen(seen.LossChecked) if one.trials}
    assert tried == {
        ("distillation", "input 0"),
        ("distillation", "teacher"),
        ("MSELoss", "input 0"),
        ("MSELoss", "input 1"),
    }


def test_a_loss_within_a_module_that_is_checked_itself(checked: Guarded) -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.loss_fn = losses.perceptron(), protected(nn.CrossEntropyLoss())
            self.function = protected(losses.focal)

        def forward(self, inputs: Any, wanted: Any) -> Any:
            logits = self.body(inputs)
            return self.loss_fn(logits, wanted) + self.function(logits, wanted)

    model = Whole()
    optimizer = adam(model)
    for _ in range(2 * STEPS):
        optimizer.zero_grad()
        model(torch.randn(32, 12), losses.targets("classes")).backward()
        optimizer.step()
    found, coverage = judged(checked)
    assert found == []
    assert coverage.checked >= STEPS, coverage.reasons
    assert sum(bool(one.trials) for one in checked.seen(seen.GradientChecked)) >= STEPS
    assert not model.loss_fn._forward_hooks or len(model.loss_fn._forward_hooks) == 1


def test_two_optimizers_that_take_turns(checked: Guarded) -> None:
    maker, critic = losses.perceptron(12), losses.perceptron(1)
    loss_fn = protected(nn.BCEWithLogitsLoss())
    of_maker, of_critic = adam(maker), adam(critic)
    for _ in range(STEPS):
        made, found = maker(torch.randn(8, 12)), torch.randn(8, 12)
        of_critic.zero_grad()
        loss_fn(critic(found), torch.ones(8, 1)).backward()
        loss_fn(critic(made.detach()), torch.zeros(8, 1)).backward()
        of_critic.step()
        of_maker.zero_grad()
        loss_fn(critic(made), torch.ones(8, 1)).backward()
        of_maker.step()
    findings, coverage = judged(checked)
    assert findings == []
    assert coverage.checked >= STEPS // 2, coverage.reasons


def test_an_optimizer_that_evaluates_more_than_once(checked: Guarded) -> None:
    model, loss_fn = losses.perceptron(), protected(nn.CrossEntropyLoss())
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    inputs, wanted = torch.randn(32, 12), losses.targets("classes")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), wanted)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    assert judged(checked)[0] == []
