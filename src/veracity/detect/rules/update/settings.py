"""Which formula an optimizer declares, and with which values a step must have been computed."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from ....core.contract import Hyper
from ....core.errors import EvidenceError
from .formulas import AdamSettings, Settings, SgdSettings

KINDS = {
    "torch.optim.adam.Adam": "Adam",
    "torch.optim.adamw.AdamW": "AdamW",
    "torch.optim.sgd.SGD": "SGD",
}
"""Classes whose ``step`` is known by name. A subclass, even with the same ``step``, is not one of them."""

LEARNING_RATES = frozenset(
    {"lr", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr"}
)
"""Group entries that schedulers keep for themselves; the law *schedule* judges ``lr``."""

IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Flags that choose how torch computes the same formula."""


def settings_of(
    kind: str, declared: Mapping[str, Hyper], in_force: Mapping[str, Hyper], *, trust_all: bool = False
) -> Settings:
    """Settings of one group at one step.

    ``lr``, momentum (``betas[0]``) and ``weight_decay`` are taken from the group as it was at the call,
    because programs may schedule them (the laws *schedule* and ``update-hyper-drift`` watch them). All else
    never changes in an honest run and is taken from the declaration, or also from the group with
    ``trust_all``. Raises EvidenceError when a value is missing or not a usable number.
    """
    fixed = in_force if trust_all else declared
    lr = _number(in_force, "lr")
    decay = _number(in_force, "weight_decay", 0.0)
    maximize = bool(fixed.get("maximize"))
    if kind == "SGD":
        return SgdSettings(
            lr=lr,
            momentum=_number(in_force, "momentum", 0.0),
            dampening=_number(fixed, "dampening", 0.0),
            weight_decay=decay,
            nesterov=bool(fixed.get("nesterov")),
            maximize=maximize,
        )
    beta1, _ = _betas(in_force)
    _, beta2 = _betas(fixed)
    decoupled = kind == "AdamW" or bool(fixed.get("decoupled_weight_decay"))
    return AdamSettings(
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=_number(fixed, "eps"),
        weight_decay=decay,
        decoupled=decoupled,
        amsgrad=bool(fixed.get("amsgrad")),
        maximize=maximize,
        single_bias=bool(in_force.get("capturable")) or bool(in_force.get("differentiable")),
    )


def first_difference(
    declared: Mapping[str, Hyper], in_force: Mapping[str, Hyper], ignored: frozenset[str]
) -> tuple[str, Hyper, Hyper] | None:
    """First entry, by name, that differs between declaration and group: ``(key, declared, in force)``.

    Entries that only one side has are passed over: schedulers add some of their own.
    """
    for key in sorted(declared.keys() & in_force.keys() - ignored):
        was, now = declared[key], in_force[key]
        if was == now or (was != was and now != now):  # NaN equals NaN here
            continue
        return key, was, now
    return None


def _number(group: Mapping[str, Hyper], key: str, default: float | None = None) -> float:
    value = group.get(key, default)
    if not isinstance(value, (int, float)) or not isfinite(value):
        raise EvidenceError(f"hyper-parameter {key} is not a number that could be read")
    return float(value)


def _betas(group: Mapping[str, Hyper]) -> tuple[float, float]:
    betas = group.get("betas")
    if not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise EvidenceError("hyper-parameter betas is not a pair that could be read")
    first, second = betas
    if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        raise EvidenceError("hyper-parameter betas is not a pair that could be read")
    if not (0.0 <= first < 1.0 and 0.0 <= second < 1.0):
        raise EvidenceError("hyper-parameter betas lies outside [0, 1)")
    return float(first), float(second)
