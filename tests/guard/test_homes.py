"""Parameters that are exchanged in their modules, by programs and by what should not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from tests.guard.conftest import Guarded
from veracity.core.observation import Observation
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.parameter_exchanged import ParameterExchanged

STEPS = 20
Optimizers = list[torch.optim.Optimizer]
Change = Callable[["Net", int, Optimizers], object]


class Net(nn.Module):
    """Words in and out by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.words.weight
        self.more: nn.Module = nn.Identity()
        self.kept: list[nn.Parameter] = []

    def forward(self, words: Tensor) -> Tensor:
        result: Tensor = nn.functional.cross_entropy(
            self.head(self.more(self.inner(self.words(words)))), words
        )
        return result


def train(change: Change) -> None:
    torch.manual_seed(1)
    net = Net()
    optimizers: Optimizers = [torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)]
    for step in range(STEPS):
        change(net, step, optimizers)
        net.zero_grad()
        net(torch.randint(9, (8,))).backward()
        for optimizer in optimizers:
            optimizer.step()


def judged(guarded: Guarded) -> list[tuple[Severity, int | None, str]]:
    assert guarded.session.shield.failures == {}
    detector = ParameterExchanged()
    found = [finding for record in guarded.seen(Observation) for finding in detector.observe(record)]
    return [(one.severity, one.first_step, one.subject) for one in (*found, *detector.finish())]


def _again(parameter: Tensor, *, trained: bool = True) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone(), requires_grad=trained)


def _cut_apart(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.head.weight = _again(net.head.weight)


def _left_standing(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.inner.weight = _again(net.inner.weight)


def _loaded_by_assignment(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        state = {name: value.clone() for name, value in net.inner.state_dict().items()}
        net.inner.load_state_dict(state, assign=True)


PLANTED: dict[Change, str] = {
    _cut_apart: "head.weight", _left_standing: "inner.weight", _loaded_by_assignment: "inner.bias",
}  # fmt: skip


@pytest.mark.parametrize("change", PLANTED)
def test_an_exchanged_parameter_is_found(guarded: Guarded, change: Change) -> None:
    train(change)
    assert judged(guarded) == [(Severity.WARNING, 12, PLANTED[change])]


def _averages_for_an_evaluation(net: Net, step: int, optimizers: Optimizers) -> None:
    if step % 5 == 4:
        kept, net.inner.weight = net.inner.weight, _again(net.inner.weight)
        net(torch.randint(9, (8,))).backward()
        net.inner.weight = kept


def _frozen(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.inner.weight = _again(net.inner.weight, trained=False)


def _grown(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.more = nn.Linear(4, 4)
        optimizers[0].add_param_group({"params": list(net.more.parameters())})


def _under_a_new_optimizer(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.inner.weight = _again(net.inner.weight)
        optimizers[:] = [torch.optim.SGD(net.parameters(), lr=0.01)]


def _under_a_second_one(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.inner.weight = _again(net.inner.weight)
        optimizers.append(torch.optim.SGD([net.inner.weight], lr=0.01))


def _added_as_a_group(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.inner.weight = _again(net.inner.weight)
        optimizers[0].add_param_group({"params": [net.inner.weight]})


def _pruned(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 8:
        prune.l1_unstructured(net.inner, "weight", 0.25)
    if step == 14:
        prune.remove(net.inner, "weight")


def _tried_for_one_step(net: Net, step: int, optimizers: Optimizers) -> None:
    if step == 12:
        net.kept = [net.inner.weight]
        net.inner.weight = _again(net.inner.weight)
    elif step == 13:
        net.inner.weight = net.kept.pop()


@pytest.mark.parametrize(
    "change",
    [
        _averages_for_an_evaluation, _frozen, _grown, _under_a_new_optimizer, _under_a_second_one,
        _added_as_a_group, _pruned, _tried_for_one_step,
    ],
)  # fmt: skip
def test_what_programs_do_with_their_parameters(guarded: Guarded, change: Change) -> None:
    train(change)
    assert judged(guarded) == []


def test_what_begins_with_a_pass_is_a_note(guarded: Guarded) -> None:
    loader = torch.utils.data.DataLoader(torch.zeros(4), batch_size=2)

    def change(net: Net, step: int, optimizers: Optimizers) -> None:
        if step == 12:
            iter(loader)
        _cut_apart(net, step, optimizers)

    train(change)
    assert judged(guarded) == [(Severity.NOTE, 12, "head.weight")]
