"""Tensors that leave their group or their optimizer in real programs, and what is no such thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from tests.guard.test_held import judged
from veracity.core.finding import Finding
from veracity.core.observation import OptimizerDeclared
from veracity.core.rule import Severity
from veracity.detect.rules.continuity.weights_changed import WeightsChanged
from veracity.detect.rules.update.hyper_drift import HyperDrift
from veracity.detect.rules.update.not_declared import UpdateNotDeclared
from veracity.detect.rules.update.parameters_regrouped import Regrouped

torch = pytest.importorskip("torch")
Change = Callable[[Any, Any], None]
Build = Callable[[Any], Any]
AT = 12


def model() -> Any:
    torch.manual_seed(1)
    layers = [torch.nn.Linear(8, 8) for _ in range(3)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 2))


def grouped(net: Any) -> Any:
    """Matrices with weight decay, biases without, each with a beta of its own."""
    matrices = [one for one in net.parameters() if one.ndim > 1]
    biases = [one for one in net.parameters() if one.ndim == 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": 0.1, "betas": (0.9, 0.95)},
            {"params": biases, "weight_decay": 0.0, "betas": (0.9, 0.99)},
        ],
        lr=1e-3,
    )


def layered(net: Any) -> Any:
    """A group for each layer, no two of which have the same settings."""
    groups = [
        {"params": list(layer.parameters()), "weight_decay": 0.01 * number, "eps": 1e-8 * (1 + number)}
        for number, layer in enumerate(net)
    ]
    return torch.optim.AdamW(groups, lr=1e-3)


def trained(
    guarded: Guarded, change: Change, build: Build = grouped, at: int = AT, *, passes: bool = False
) -> list[Finding]:
    """Twenty steps, with ``change`` before one of them; ``passes``: a pass over a loader begins there."""
    net = model()
    optimizer = build(net)
    loader = torch.utils.data.DataLoader(torch.randn(80, 8), batch_size=4)
    batches = iter(loader)
    for step in range(20):
        if step == at:
            change(net, optimizer)
            batches = iter(loader) if passes else batches
        batch = next(batches)
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()
    return judged(guarded, Regrouped(), HyperDrift(), UpdateNotDeclared(), WeightsChanged())


def take_out(net: Any, optimizer: Any) -> None:
    """Planted: a tensor that is trained no more."""
    group = optimizer.param_groups[0]
    group["params"] = [one for one in group["params"] if one is not net[1].weight]


def to_the_other_group(net: Any, optimizer: Any) -> None:
    take_out(net, optimizer)
    optimizer.param_groups[1]["params"].append(net[1].weight)


def to_a_new_group(net: Any, optimizer: Any) -> None:
    take_out(net, optimizer)
    optimizer.add_param_group({"params": [net[1].weight], "weight_decay": 1.0})


def into_one_group(net: Any, optimizer: Any) -> None:
    optimizer.param_groups[0]["params"] += optimizer.param_groups.pop()["params"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (take_out, "(1.weight) are in no group any more"),
        (to_the_other_group, "(1.weight) went to another group"),
        (to_a_new_group, "(1.weight) went to another group"),
        (into_one_group, "(0.bias, 1.bias, 2.bias, 3.bias) went to another group"),
    ],
)
def test_tensors_that_leave_their_group_are_a_warning(guarded: Guarded, change: Change, words: str) -> None:
    (finding,) = trained(guarded, change)
    assert (finding.rule, finding.first_step) == ("update-parameters-regrouped", AT)
    assert finding.severity is Severity.WARNING
    assert words in finding.message


def test_tensors_that_leave_as_a_pass_begins_are_a_note(guarded: Guarded) -> None:
    (finding,) = trained(guarded, take_out, passes=True)
    assert (finding.severity, finding.first_step) == (Severity.NOTE, AT)


def layer_by_layer(net: Any, optimizer: Any) -> None:
    """As programs do that train a layer no longer: its group goes, and those behind it move up."""
    del optimizer.param_groups[1]


def test_a_whole_group_that_leaves_is_a_note_and_the_others_keep_their_settings(guarded: Guarded) -> None:
    (finding,) = trained(guarded, layer_by_layer, layered)
    assert (finding.rule, finding.severity) == ("update-parameters-regrouped", Severity.NOTE)
    assert "with all that was in theirs" in finding.message


def frozen(net: Any, optimizer: Any) -> None:
    for one in net[1].parameters():
        one.requires_grad_(False)
    for group in optimizer.param_groups:
        group["params"] = [one for one in group["params"] if one.requires_grad]


def exchanged(net: Any, optimizer: Any) -> None:
    """As programs do that grow a model: a tensor of another size in the old one's place."""
    old = net[1]
    net[1] = torch.nn.Linear(8, 8)
    new = {id(old.weight): net[1].weight, id(old.bias): net[1].bias}
    for group in optimizer.param_groups:
        group["params"] = [new.get(id(one), one) for one in group["params"]]


def grown(net: Any, optimizer: Any) -> None:
    extra = torch.nn.Linear(2, 2)
    net.append(extra)
    optimizer.add_param_group({"params": list(extra.parameters()), "weight_decay": 0.5, "betas": (0.5, 0.9)})


def turned_round(net: Any, optimizer: Any) -> None:
    optimizer.param_groups.reverse()


@pytest.mark.parametrize("change", [frozen, exchanged, grown, turned_round])
@pytest.mark.parametrize("build", [grouped, layered])
def test_what_programs_do_with_their_groups_is_not_told(
    guarded: Guarded, change: Change, build: Build
) -> None:
    assert trained(guarded, change, build) == []


def test_tensors_that_another_optimizer_takes_over_are_not_told(guarded: Guarded) -> None:
    kept: list[Any] = []

    def handed_over(net: Any, optimizer: Any) -> None:
        kept.append(torch.optim.SGD([net[1].weight], lr=1e-3))
        take_out(net, optimizer)

    assert trained(guarded, handed_over) == []


def test_a_program_that_regroups_early_is_not_followed(guarded: Guarded) -> None:
    assert trained(guarded, take_out, at=4) == []


def test_the_guard_says_where_each_tensor_was(guarded: Guarded) -> None:
    trained(guarded, to_a_new_group)
    first, again = guarded.seen(OptimizerDeclared)
    assert (first.was, first.left) == ([], [])
    assert (again.was, again.left) == ([0, 0, 0, 1, 1, 1, 1, 0], [])
