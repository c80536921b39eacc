"""The schedules of ``transformers.optimization`` as functions of the position, re-derived.

They are LambdaLR schedulers around functions of that module with their arguments bound by name. A function is
known here by its name *and* the names of its arguments; those listed have had the same meaning from version
4.30 to 5.24, and one with other arguments is not derived. Each gives the rate as a share of the base rate:
a warm-up, linear but for one, then the fall that its name says. The cosine is that of Loshchilov and Hutter,
"SGDR: Stochastic Gradient Descent with Warm Restarts", 2017; warm-up, stable phase and decay are from Hu et
al., "MiniCPM", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, isfinite, pi, sqrt

from ....core.contract import RateFunction
from ....core.errors import EvidenceError

_HOME = "transformers.optimization."
_SHAPES = ("linear", "cosine", "1-sqrt")

Number = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Warmup:
    """One function with its arguments: ``number`` by name, ``shapes`` of a warm-up and a decay by name."""

    kind: str
    number: Number
    shapes: Mapping[str, str]

    def at(self, position: int) -> float:
        """The share at ``position``; raises ArithmeticError or ValueError where the function has none."""
        number = self.number
        if self.kind == "stable":
            return _stable(position, number, self.shapes)
        if self.kind == "cosine from one":
            return _cosine_from_one(position, number)
        warm = number.get("num_warmup_steps", 0.0)
        if position < warm:
            return position / max(1.0, warm)
        return _FALLS[self.kind](position, number)


def warmup_of(function: RateFunction) -> Warmup:
    """The formula of ``function``; raises EvidenceError with the reason when none is known."""
    known = _KNOWN.get((function.name, frozenset(function.arguments)))
    if known is None:
        raise EvidenceError(f"LambdaLR calls {function.name[:120]}, a function without a known formula")
    number: dict[str, float] = {}
    shapes: dict[str, str] = {}
    for name, value in function.arguments.items():
        if name in ("warmup_type", "decay_type"):
            if value not in _SHAPES:
                raise EvidenceError(f"argument {name} of the schedule could not be read")
            shapes[name] = str(value)
        elif name == "warmup_lr_rate" and value is None:
            continue  # the warm-up begins at its first fraction
        elif isinstance(value, (int, float)) and isfinite(value):
            number[name] = float(value)
        else:
            raise EvidenceError(f"argument {name} of the schedule could not be read")
    return Warmup(known, number, shapes)


def _progress(position: int, number: Number) -> float:
    """How much of the time after the warm-up is over."""
    warm = number["num_warmup_steps"]
    return (position - warm) / max(1.0, number["num_training_steps"] - warm)


def _constant(position: int, number: Number) -> float:
    return 1.0


def _linear(position: int, number: Number) -> float:
    total = number["num_training_steps"]
    return max(0.0, (total - position) / max(1.0, total - number["num_warmup_steps"]))


def _cosine(position: int, number: Number) -> float:
    share = (1.0 + cos(2.0 * pi * number["num_cycles"] * _progress(position, number))) / 2.0
    least = number.get("min_lr_rate", 0.0)
    return max(0.0, share * (1.0 - least) + least)


def _restarts(position: int, number: Number) -> float:
    progress = _progress(position, number)
    if progress >= 1.0:
        return 0.0
    return max(0.0, (1.0 + cos(pi * (number["num_cycles"] * progress % 1.0))) / 2.0)


def _polynomial(position: int, number: Number) -> float:
    total, warm, start = number["num_training_steps"], number["num_warmup_steps"], number["lr_init"]
    end = number["lr_end"]
    if position > total:
        return end / start
    remaining = 1.0 - (position - warm) / (total - warm)
    return float(((start - end) * remaining ** number["power"] + end) / start)


def _inverse_root(position: int, number: Number) -> float:
    scale = number["timescale"]
    return 1.0 / sqrt((position + scale - number["num_warmup_steps"]) / scale)


def _cosine_from_one(position: int, number: Number) -> float:
    """Both its parts count positions from 1, and the warm-up may begin at a share of its own."""
    warm, first = number["num_warmup_steps"], number.get("warmup_lr_rate")
    if position < warm:
        if first is None:
            return (position + 1.0) / max(1.0, warm)
        return first + (1.0 - first) * position / max(1.0, warm - 1.0)
    return _cosine(position + 1, number)


def _stable(position: int, number: Number, shapes: Mapping[str, str]) -> float:
    warm, steady = number["num_warmup_steps"], number["num_stable_steps"]
    falls, least = number["num_decay_steps"], number["min_lr_ratio"]
    if warm <= position < warm + steady:
        return 1.0
    if position >= warm + steady + falls:
        return least
    if position < warm:
        done = position / max(1.0, warm)
        share = {"linear": done, "cosine": (1.0 - cos(pi * done)) / 2.0, "1-sqrt": 1.0 - sqrt(1.0 - done)}[
            shapes["warmup_type"]
        ]
    else:
        done = (position - warm - steady) / max(1.0, falls)
        wave = (1.0 + cos(2.0 * pi * number["num_cycles"] * done)) / 2.0
        share = {"linear": 1.0 - done, "cosine": wave, "1-sqrt": 1.0 - sqrt(done)}[shapes["decay_type"]]
    return max(0.0, share * (1.0 - least) + least)


_FALLS: dict[str, Callable[[int, Number], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "restarts": _restarts,
    "polynomial": _polynomial,
    "inverse root": _inverse_root,
}

_WARM, _TOTAL = "num_warmup_steps", "num_training_steps"
_PHASES = (_WARM, "num_stable_steps", "num_decay_steps", "warmup_type", "decay_type", "min_lr_ratio")


def _entry(name: str, *arguments: str) -> tuple[str, frozenset[str]]:
    return _HOME + name, frozenset(arguments)


_KNOWN = {
    _entry("_get_constant_lambda"): "constant",
    _entry("_get_constant_schedule_with_warmup_lr_lambda", _WARM): "constant",
    _entry("_get_linear_schedule_with_warmup_lr_lambda", _WARM, _TOTAL): "linear",
    _entry("_get_cosine_schedule_with_warmup_lr_lambda", _WARM, _TOTAL, "num_cycles"): "cosine",
    _entry(
        "_get_cosine_schedule_with_warmup_lr_lambda", _WARM, _TOTAL, "num_cycles", "min_lr_rate"
    ): "cosine",
    _entry(
        "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda", _WARM, _TOTAL, "num_cycles"
    ): "restarts",
    _entry(
        "_get_polynomial_decay_schedule_with_warmup_lr_lambda", _WARM, _TOTAL, "lr_end", "power", "lr_init"
    ): "polynomial",
    _entry("_get_inverse_sqrt_schedule_lr_lambda", _WARM, "timescale"): "inverse root",
    _entry(
        "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda",
        _WARM, _TOTAL, "num_cycles", "min_lr_rate", "warmup_lr_rate",
    ): "cosine from one",
    _entry("_get_wsd_scheduler_lambda", *_PHASES, "num_cycles"): "stable",
}  # fmt: skip
