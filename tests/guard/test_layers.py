"""Settings of real layers, set by programs and by what should not: read by the guard, judged by the rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from tests.guard.conftest import Guarded
from veracity.core.observation import Observation
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.layer_altered import LayerAltered

STEPS = 24
AT = (14, 15, 18)
Change = Callable[["Net", int], object]


class Net(nn.Module):
    """Some of torch's layers, and one of the program's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.cut = nn.Conv1d(4, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)
        self.bend = nn.GELU()
        self.drop = nn.Dropout(0.1)
        self.batch = nn.BatchNorm1d(4)

    def forward(self, words: Tensor) -> Tensor:
        x = self.cut(self.words(words).transpose(1, 2)).transpose(1, 2)
        result: Tensor = self.batch(self.drop(self.bend(self.norm(x))).mean(1)).square().mean()
        return result


def train(change: Change) -> Net:
    torch.manual_seed(1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for step in range(STEPS):
        change(net, step)
        optimizer.zero_grad()
        net(torch.randint(9, (8, 5))).backward()
        optimizer.step()
    return net


def judged(guarded: Guarded) -> list[tuple[Severity, int | None, str]]:
    assert guarded.session.shield.failures == {}
    detector = LayerAltered()
    found = [finding for record in guarded.seen(Observation) for finding in detector.observe(record)]
    return [(one.severity, one.first_step, one.subject) for one in (*found, *detector.finish())]


def at_some(layer: str, setting: str, value: object) -> Change:
    """The setting is ``value`` at the steps :data:`AT`, and what it was at all others."""
    kept: dict[str, Any] = {}

    def change(net: Net, step: int) -> None:
        module = getattr(net, layer)
        kept.setdefault(setting, getattr(module, setting))
        setattr(module, setting, value if step in AT else kept[setting])

    return change


@pytest.mark.parametrize(
    ("layer", "setting", "value"),
    [
        ("norm", "eps", 0.5), ("batch", "eps", 0.5), ("words", "padding_idx", 3), ("words", "max_norm", 0.5),
        ("words", "scale_grad_by_freq", True), ("bend", "approximate", "tanh"),
    ],
)  # fmt: skip
def test_a_setting_that_is_another_for_a_few_steps(
    guarded: Guarded, layer: str, setting: str, value: object
) -> None:
    train(at_some(layer, setting, value))
    assert judged(guarded) == [(Severity.WARNING, 14, f"{layer}: {setting}")]


def _annealed(net: Net, step: int) -> None:
    net.drop.p = 0.1 * (1 - step / STEPS)


def _momentum_annealed_from_the_middle_on(net: Net, step: int) -> None:
    net.batch.momentum = 0.1 / max(1, step - 11)


def _evaluated_with_another(net: Net, step: int) -> None:
    if step % 7 == 6:
        net.eval()
        net.norm.eps = 1e-3
        with torch.no_grad():
            net(torch.randint(9, (8, 5)))
        net.norm.eps = 1e-5
        net.train()


def _always_in_turns(net: Net, step: int) -> None:
    net.norm.eps = 1e-5 if step % 2 else 1e-6


def _marks_of_its_own(net: Net, step: int) -> None:
    net.norm.seen = step
    net.words.owner = "first" if step in AT else "second"


def _another_layer(net: Net, step: int) -> None:
    if step == 14:
        net.bend = nn.GELU("tanh")


def _same_value_anew(net: Net, step: int) -> None:
    net.norm.eps = float("1e-5")
    net.cut.padding = (net.cut.kernel_size[0] // 2,)


@pytest.mark.parametrize(
    "change",
    [
        _annealed, _momentum_annealed_from_the_middle_on, _evaluated_with_another, _always_in_turns,
        _marks_of_its_own, _another_layer, _same_value_anew,
    ],
)  # fmt: skip
def test_what_programs_do_with_their_layers(guarded: Guarded, change: Change) -> None:
    train(change)
    assert [one for one in judged(guarded) if one[0] is not Severity.NOTE] == []


@pytest.mark.parametrize(("layer", "setting", "value"), [("drop", "p", 0.0), ("batch", "momentum", 0.0)])
def test_what_is_switched_off_for_a_step_is_a_note(
    guarded: Guarded, layer: str, setting: str, value: object
) -> None:
    train(at_some(layer, setting, value))
    assert judged(guarded) == [(Severity.NOTE, 14, f"{layer}: {setting}")]


@pytest.mark.parametrize("at", [(14, 15, 18), range(14, STEPS)])
@pytest.mark.parametrize("layer", ["drop", "batch"])
def test_the_mode_of_a_single_layer_is_a_note(guarded: Guarded, layer: str, at: Sequence[int]) -> None:
    train(lambda net, step: getattr(net, layer).train(step not in at))
    assert judged(guarded) == [(Severity.NOTE, 14, f"{layer}: mode")]


@pytest.mark.parametrize("layer", ["norm", "bend", "words"])
def test_a_mode_that_changes_nothing_is_not_told(guarded: Guarded, layer: str) -> None:
    train(lambda net, step: getattr(net, layer).train(step < 14))
    assert judged(guarded) == []


def test_a_mode_that_all_layers_are_in_is_not_told(guarded: Guarded) -> None:
    train(lambda net, step: net.train(step not in AT))
    assert judged(guarded) == []


def test_layers_that_are_frozen_from_the_start_are_not_told(guarded: Guarded) -> None:
    def change(net: Net, step: int) -> None:
        net.eval()
        net.train()
        net.batch.eval()

    train(change)
    assert judged(guarded) == []


@pytest.mark.parametrize("at", [14, STEPS - 2])
def test_what_stays_is_a_note(guarded: Guarded, at: int) -> None:
    def change(net: Net, step: int) -> None:
        net.norm.eps = 1e-3 if step >= at else 1e-5

    train(change)
    assert judged(guarded) == [(Severity.NOTE, at, "norm: eps")]


def test_what_begins_with_a_pass_is_a_note(guarded: Guarded) -> None:
    loader = torch.utils.data.DataLoader(torch.zeros(4), batch_size=2)

    def change(net: Net, step: int) -> None:
        if step == 14:
            iter(loader)
        net.norm.eps = 1e-3 if step == 14 else 1e-5

    train(change)
    assert judged(guarded) == [(Severity.NOTE, 14, "norm: eps")]


def test_a_setting_that_is_taken_away(guarded: Guarded) -> None:
    def change(net: Net, step: int) -> None:
        if step == 14:
            del net.drop.inplace
            net.drop.inplace = False
            del net.cut.dilation
            net.cut.dilation = (1,)
            del net.batch.affine  # nothing needs it any more

    train(change)
    assert judged(guarded) == []
