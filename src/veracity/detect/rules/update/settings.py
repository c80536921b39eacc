"""Which formula an optimizer declares, and with which values a step must have been computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TypeAlias, TypedDict

from ....core.contract import Hyper, TensorDeclaration
from ....core.errors import EvidenceError
from .adaptive import (
    AdadeltaSettings,
    AdagradSettings,
    AdamaxSettings,
    Adaptive,
    LionSettings,
    NadamSettings,
    RadamSettings,
    RmspropSettings,
)
from .factored import AdafactorSettings
from .formulas import AdamSettings, SgdSettings
from .reference.sampled import ReferenceSettings

Group: TypeAlias = Mapping[str, Hyper]
Settings: TypeAlias = "AdamSettings | SgdSettings | Adaptive | ReferenceSettings"

KINDS = {
    "torch.optim.adam.Adam": "Adam",
    "torch.optim.adamw.AdamW": "AdamW",
    "torch.optim.sgd.SGD": "SGD",
    "torch.optim.rmsprop.RMSprop": "RMSprop",
    "torch.optim.adagrad.Adagrad": "Adagrad",
    "torch.optim.adadelta.Adadelta": "Adadelta",
    "torch.optim.adamax.Adamax": "Adamax",
    "torch.optim.nadam.NAdam": "NAdam",
    "torch.optim.radam.RAdam": "RAdam",
    "torch.optim.Adafactor": "Adafactor",  # torch gives it this module
    "torch.optim._adafactor.Adafactor": "Adafactor",
}
"""Classes whose ``step`` is known by name."""

LION = "Lion"
"""Name of a formula that no class of torch has, and of the classes of others that may follow it."""

LEARNING_RATES = frozenset(
    {"lr", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr"}
)
"""Group entries that schedulers keep for themselves; the law *schedule* judges ``lr``."""

IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Flags that choose how torch computes the same formula."""


def settings_of(
    kind: str,
    declared: Group,
    in_force: Group,
    *,
    trust_all: bool = False,
    tensor: TensorDeclaration | None = None,
) -> Settings:
    """Settings of one group at one step, for ``tensor`` (Adafactor's formula depends on its shape).

    ``lr``, momentum (``betas[0]``) and ``weight_decay`` are taken from the group as it was at the call,
    because programs may schedule them (the laws *schedule* and ``update-hyper-drift`` watch them). All else
    never changes in an honest run and is taken from the declaration, or also from the group with
    ``trust_all``. Raises EvidenceError when a value is missing or not a usable number.
    """
    fixed = in_force if trust_all else declared
    lr = _number(in_force, "lr")
    if kind == "SGD":
        return SgdSettings(
            lr=lr,
            momentum=_number(in_force, "momentum", 0.0),
            dampening=_number(fixed, "dampening", 0.0),
            weight_decay=_number(in_force, "weight_decay", 0.0),
            nesterov=bool(fixed.get("nesterov")),
            maximize=bool(fixed.get("maximize")),
        )
    if kind in ("Adam", "AdamW"):
        beta1, beta2 = _betas(fixed, in_force)
        return AdamSettings(
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=_number(fixed, "eps"),
            weight_decay=_number(in_force, "weight_decay", 0.0),
            decoupled=kind == "AdamW" or bool(fixed.get("decoupled_weight_decay")),
            amsgrad=bool(fixed.get("amsgrad")),
            maximize=bool(fixed.get("maximize")),
            single_bias=_single(in_force),
        )
    if kind == "Adafactor":
        return _adafactor(fixed, in_force, tensor)
    build = _ADAPTIVE.get(kind)
    if build is None:
        raise EvidenceError(f"no formula is known for {kind[:80]}")
    return build(fixed, in_force)


class _Common(TypedDict):
    lr: float
    weight_decay: float
    decoupled: bool
    maximize: bool
    single: bool


def _common(fixed: Group, in_force: Group) -> _Common:
    """What all adaptive optimizers read alike, as arguments of their settings."""
    return {
        "lr": _number(in_force, "lr"),
        "weight_decay": _number(in_force, "weight_decay", 0.0),
        "decoupled": bool(fixed.get("decoupled_weight_decay")),
        "maximize": bool(fixed.get("maximize")),
        "single": _single(in_force),
    }


def _decoupled(fixed: Group, in_force: Group) -> _Common:
    common = _common(fixed, in_force)
    common["decoupled"] = True
    return common


def _rmsprop(fixed: Group, in_force: Group) -> Adaptive:
    return RmspropSettings(
        alpha=_number(fixed, "alpha"),
        eps=_number(fixed, "eps"),
        momentum=_number(in_force, "momentum", 0.0),
        centered=bool(fixed.get("centered")),
        **_common(fixed, in_force),
    )


def _adagrad(fixed: Group, in_force: Group) -> Adaptive:
    return AdagradSettings(
        lr_decay=_number(fixed, "lr_decay", 0.0),
        eps=_number(fixed, "eps"),
        start=_number(fixed, "initial_accumulator_value", 0.0),
        **_common(fixed, in_force),
    )


def _adadelta(fixed: Group, in_force: Group) -> Adaptive:
    return AdadeltaSettings(rho=_number(fixed, "rho"), eps=_number(fixed, "eps"), **_common(fixed, in_force))


def _adamax(fixed: Group, in_force: Group) -> Adaptive:
    beta1, beta2 = _betas(fixed, in_force)
    return AdamaxSettings(beta1=beta1, beta2=beta2, eps=_number(fixed, "eps"), **_common(fixed, in_force))


def _nadam(fixed: Group, in_force: Group) -> Adaptive:
    beta1, beta2 = _betas(fixed, in_force)
    return NadamSettings(
        beta1=beta1,
        beta2=beta2,
        eps=_number(fixed, "eps"),
        momentum_decay=_number(fixed, "momentum_decay"),
        **_common(fixed, in_force),
    )


def _radam(fixed: Group, in_force: Group) -> Adaptive:
    beta1, beta2 = _betas(fixed, in_force)
    return RadamSettings(beta1=beta1, beta2=beta2, eps=_number(fixed, "eps"), **_common(fixed, in_force))


def _lion(fixed: Group, in_force: Group) -> Adaptive:
    beta1, beta2 = _betas(fixed, in_force)
    return LionSettings(beta1=beta1, beta2=beta2, **_decoupled(fixed, in_force))


def _adafactor(fixed: Group, in_force: Group, tensor: TensorDeclaration | None) -> Adaptive:
    if tensor is None:
        raise EvidenceError("the shape of the tensor is not known")
    eps = fixed.get("eps")
    if not isinstance(eps, (list, tuple)) or len(eps) != 2:
        raise EvidenceError("hyper-parameter eps is not a pair that could be read")
    first = _EPSILONS.get(tensor.dtype) if eps[0] is None else eps[0]
    matrix = len(tensor.shape) > 1
    return AdafactorSettings(
        beta2_decay=_number(fixed, "beta2_decay"),
        eps1=_number({"eps[0]": first}, "eps[0]"),
        eps2=_number({"eps[1]": eps[1]}, "eps[1]"),
        threshold=_number(fixed, "d"),
        rows=tensor.shape[-2] if matrix else 0,
        columns=tensor.shape[-1] if matrix else 0,
        numel=tensor.numel,
        **_decoupled(fixed, in_force),
    )


_ADAPTIVE: dict[str, Callable[[Group, Group], Adaptive]] = {
    "RMSprop": _rmsprop,
    "Adagrad": _adagrad,
    "Adadelta": _adadelta,
    "Adamax": _adamax,
    "NAdam": _nadam,
    "RAdam": _radam,
    LION: _lion,
}

_EPSILONS: dict[str, float] = {
    "float64": 2.0**-52,
    "float32": 2.0**-23,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
}
"""``torch.finfo(dtype).eps``: what Adafactor takes for an ``eps1`` of None."""


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


def _single(group: Group) -> bool:
    """Whether torch computes scalars as float32 tensors."""
    return bool(group.get("capturable")) or bool(group.get("differentiable"))


def _betas(fixed: Group, in_force: Group) -> tuple[float, float]:
    """The first one from the group, the second from the declaration."""
    return _pair_of_betas(in_force)[0], _pair_of_betas(fixed)[1]


def _pair_of_betas(group: Group) -> tuple[float, float]:
    betas = group.get("betas")
    if not isinstance(betas, (list, tuple)) or len(betas) != 2:
        raise EvidenceError("hyper-parameter betas is not a pair that could be read")
    first, second = betas
    if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        raise EvidenceError("hyper-parameter betas is not a pair that could be read")
    if not (0.0 <= first < 1.0 and 0.0 <= second < 1.0):
        raise EvidenceError("hyper-parameter betas lies outside [0, 1)")
    return float(first), float(second)
