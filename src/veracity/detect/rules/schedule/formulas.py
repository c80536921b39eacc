"""Learning rates of torch's schedulers as functions of their position, re-derived.

The position counts a scheduler's steps, 0 as constructed. Each formula is the one that torch's
documentation gives for the class; cosine annealing and its restarts are from Loshchilov and Hutter, "SGDR:
Stochastic Gradient Descent with Warm Restarts", 2017 (equation 5); the cyclical policy from Smith,
"Cyclical Learning Rates for Training Neural Networks", 2017; the one-cycle policy from Smith and Topin,
"Super-Convergence", 2018. The functions that LambdaLR is often given are in ``warmups.py``.

torch computes most of these by recursion from the rate in the group. ``at`` is the closed form; it differs
from the recursion by its accumulated rounding only, which for n steps is of the order of ``n * 2**-53`` of
the base rate (for cosine annealing up to ``T_max**2 * 2**-53`` near its minimum). ``advance`` is one step
of the recursion, needed where several schedulers move the same rate.

Rates are per optimizer step, positions are whole numbers. All functions are pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, floor, isfinite, pi

from ....core.contract import Hyper, SchedulerDeclaration
from ....core.errors import EvidenceError
from .warmups import Warmup, warmup_of

PREFIX = "torch.optim.lr_scheduler."
MAX_MILESTONES = 256
ABSOLUTE = frozenset({"CosineAnnealingWarmRestarts", "OneCycleLR", "CyclicLR", "LambdaLR"})
"""Kinds that set the rate without regard to the one before."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scheduler that contains no others: its class, numbers by torch's names, and rates per group.

    ``milestones`` are sorted, with repetitions. ``peaks`` and ``lowest`` are ``max_lr`` and
    ``min_lr`` per group where there are any, ``ends`` the last positions of a one-cycle policy's phases,
    ``functions`` those that LambdaLR calls, per group.
    """

    kind: str
    numbers: Mapping[str, float]
    base_lrs: Sequence[float]
    milestones: Sequence[float] = ()
    peaks: Sequence[float] = ()
    lowest: Sequence[float] = ()
    ends: Sequence[float] = ()
    mode: str = ""
    functions: Sequence[Warmup] = ()

    def at(self, position: int) -> list[float]:
        """The rate of each group at ``position``; raises ArithmeticError where the formula has none."""
        return [self._at(position, base, group) for group, base in enumerate(self.base_lrs)]

    def advance(self, position: int, lrs: Sequence[float]) -> list[float]:
        """The rates after the step that reaches ``position``, from the rates ``lrs`` before it."""
        if self.kind in ABSOLUTE:
            return self.at(position)
        if self.kind == "CosineAnnealingLR":
            return [
                self._cosine_step(position, lr, base) for lr, base in zip(lrs, self.base_lrs, strict=True)
            ]
        factor = self._factor(position)
        return [lr * factor for lr in lrs]

    def begin(self, lrs: Sequence[float]) -> list[float]:
        """The rates after construction at position 0, from the rates ``lrs`` before it."""
        if self.kind in ABSOLUTE:
            return self.at(0)
        factor = self._share(0)
        return [lr * factor for lr in lrs]

    def _at(self, position: int, base: float, group: int) -> float:
        number = self.numbers
        if self.kind == "CosineAnnealingLR":
            eta_min = number["eta_min"]
            return eta_min + (base - eta_min) * (1.0 + cos(pi * position / number["T_max"])) / 2.0
        if self.kind == "CosineAnnealingWarmRestarts":
            return self._restarts(position, base)
        if self.kind == "OneCycleLR":
            return self._one_cycle(position, base, self.peaks[group], self.lowest[group])
        if self.kind == "CyclicLR":
            return self._cyclic(position, base, self.peaks[group])
        if self.kind == "LambdaLR":
            return base * self.functions[group].at(position)
        return base * self._share(position)

    def _share(self, position: int) -> float:
        """The rate as a share of the base rate, for the kinds that are products."""
        number = self.numbers
        if self.kind == "StepLR":
            return float(number["gamma"] ** (position // number["step_size"]))
        if self.kind == "MultiStepLR":
            return float(number["gamma"] ** bisect_right(self.milestones, position))
        if self.kind == "ExponentialLR":
            return float(number["gamma"] ** position)
        if self.kind == "ConstantLR":
            return number["factor"] if position < number["total_iters"] else 1.0
        if self.kind == "LinearLR":
            start, end, total = number["start_factor"], number["end_factor"], number["total_iters"]
            return start + (end - start) * min(position, total) / total
        if self.kind == "PolynomialLR":
            total = number["total_iters"]
            return float((1.0 - min(position, total) / total) ** number["power"])
        return 1.0  # cosine annealing begins at the rate it finds

    def _factor(self, position: int) -> float:
        """What one step multiplies the rate by; a share that was 0 stays 0."""
        before = self._share(position - 1)
        return self._share(position) / before if before else 1.0

    def _cosine_step(self, position: int, lr: float, base: float) -> float:
        period, eta_min = self.numbers["T_max"], self.numbers["eta_min"]
        if (position - 1 - period) % (2.0 * period) == 0.0:  # leaving the minimum: nothing to multiply
            return lr + (base - eta_min) * (1.0 - cos(pi / period)) / 2.0
        ahead = 1.0 + cos(pi * position / period)
        behind = 1.0 + cos(pi * (position - 1) / period)
        return ahead / behind * (lr - eta_min) + eta_min

    def _restarts(self, position: int, base: float) -> float:
        length, grows, eta_min = self.numbers["T_0"], self.numbers["T_mult"], self.numbers["eta_min"]
        inside = float(position)
        if grows == 1.0:
            inside %= length
        else:
            while inside >= length:
                inside -= length
                length *= grows
        return eta_min + (base - eta_min) * (1.0 + cos(pi * inside / length)) / 2.0

    def _one_cycle(self, position: int, start: float, peak: float, lowest: float) -> float:
        rates = (start, peak, start, lowest) if len(self.ends) == 3 else (start, peak, lowest)
        phase = next((at for at, end in enumerate(self.ends) if position <= end), len(self.ends) - 1)
        begin = self.ends[phase - 1] if phase else 0.0
        high, low = rates[phase], rates[phase + 1]
        done = (position - begin) / (self.ends[phase] - begin)
        if self.mode == "linear":
            return high + (low - high) * done
        return low + (high - low) / 2.0 * (1.0 + cos(pi * done))

    def _cyclic(self, position: int, base: float, peak: float) -> float:
        up, down = self.numbers["step_size_up"], self.numbers["step_size_down"]
        total = up + down
        cycle = floor(1.0 + position / total)
        inside = 1.0 + position / total - cycle
        share = up / total
        height = inside / share if inside <= share else (inside - 1.0) / (share - 1.0)
        scale = 1.0
        if self.mode == "triangular2":
            scale = 0.5 ** (cycle - 1)
        elif self.mode == "exp_range":
            scale = self.numbers["gamma"] ** position
        return base + (peak - base) * height * scale


_NUMBERS: dict[str, tuple[str, ...]] = {
    "StepLR": ("step_size", "gamma"),
    "MultiStepLR": ("gamma",),
    "ConstantLR": ("factor", "total_iters"),
    "LinearLR": ("start_factor", "end_factor", "total_iters"),
    "ExponentialLR": ("gamma",),
    "PolynomialLR": ("total_iters", "power"),
    "CosineAnnealingLR": ("T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": ("T_0", "T_mult", "eta_min"),
    "OneCycleLR": (),
    "CyclicLR": ("gamma",),
}
"""What each kind needs. No default is assumed: a value that was not recorded may not be torch's default."""

_POSITIVE = frozenset({"step_size", "total_iters", "T_max", "T_0", "T_mult"})


def leaf_of(declaration: SchedulerDeclaration) -> Leaf:
    """The formula that ``declaration`` names; raises EvidenceError with the reason when there is none."""
    kind = declaration.class_name.removeprefix(PREFIX)
    if declaration.unreadable:
        raise EvidenceError(f"{kind[:80]}: {declaration.unreadable[:160]}")
    if declaration.class_name == PREFIX + "LambdaLR" and declaration.functions:
        return _called(declaration)
    if kind in ("LambdaLR", "MultiplicativeLR"):
        raise EvidenceError(f"{kind} calls a function of the program; declare its rates in contract.toml")
    if kind == "ReduceLROnPlateau":
        raise EvidenceError("ReduceLROnPlateau depends on a metric of the program")
    if not declaration.class_name.startswith(PREFIX) or kind not in _NUMBERS:
        raise EvidenceError(f"no formula is known for scheduler class {declaration.class_name[:120]}")
    given, bases = declaration.parameters, declaration.base_lrs
    numbers = {name: _number(given, name) for name in _NUMBERS[kind]}
    if kind == "OneCycleLR":
        return _one_cycle(given, bases)
    if kind == "CyclicLR":
        return _cyclic(given, bases, numbers)
    for name in _POSITIVE & numbers.keys():
        if numbers[name] <= 0.0 or (name == "T_mult" and numbers[name] % 1.0):
            raise EvidenceError(f"{kind} with {name} of {numbers[name]:g} has no formula")
    milestones = sorted(_list(given.get("milestones"))) if kind == "MultiStepLR" else []
    if len(milestones) >= MAX_MILESTONES:
        raise EvidenceError("MultiStepLR has more milestones than are recorded")
    return Leaf(kind, numbers, bases, milestones)


def _called(declaration: SchedulerDeclaration) -> Leaf:
    """LambdaLR around functions whose formula is known: one for all groups, or one for each."""
    bases, functions = declaration.base_lrs, declaration.functions
    if len(functions) not in (1, len(bases)):
        raise EvidenceError("the functions of LambdaLR and the parameter groups differ in number")
    known = [warmup_of(function) for function in functions]
    return Leaf("LambdaLR", {}, bases, functions=known * len(bases) if len(known) == 1 else known)


def _one_cycle(given: Mapping[str, Hyper], bases: Sequence[float]) -> Leaf:
    """OneCycleLR from its arguments, or from what it keeps of them.

    It keeps the last position of each phase (here ``phase_ends``) and ``max_lr`` and ``min_lr`` per group.
    """
    mode = given.get("anneal_strategy")
    if mode not in ("cos", "linear"):
        raise EvidenceError("scheduler parameter anneal_strategy could not be read")
    peaks = _per_group(given.get("max_lr"), len(bases))
    if "phase_ends" in given:
        ends = _list(given["phase_ends"])
        lowest = _per_group(given.get("min_lr"), len(bases))
    else:
        total = given.get("total_steps")
        if total is None:
            total = _number(given, "epochs") * _number(given, "steps_per_epoch")
        steps = _number({"total_steps": total}, "total_steps")
        rises = _number(given, "pct_start")
        ends = [rises * steps - 1.0, steps - 1.0]
        if _number(given, "three_phase"):
            ends.insert(1, 2.0 * rises * steps - 2.0)
        divisor = _number(given, "final_div_factor")
        if not divisor:
            raise EvidenceError("OneCycleLR with final_div_factor of 0 has no formula")
        lowest = [base / divisor for base in bases]
    if len(ends) not in (2, 3):
        raise EvidenceError("the phases of OneCycleLR could not be read")
    return Leaf("OneCycleLR", {}, bases, peaks=peaks, lowest=lowest, ends=ends, mode=str(mode))


def _cyclic(given: Mapping[str, Hyper], bases: Sequence[float], numbers: dict[str, float]) -> Leaf:
    """CyclicLR from its arguments, or from what it keeps of them: ``total_size`` and ``step_ratio``."""
    mode = given.get("mode")
    if given.get("scale_fn", "") is not None or mode not in ("triangular", "triangular2", "exp_range"):
        raise EvidenceError("CyclicLR may scale its cycles by a function of the program")
    if "total_size" in given:
        total = _number(given, "total_size")
        up = total * _number(given, "step_ratio")
        down = total - up
    else:
        up = down = _number(given, "step_size_up")
        if given.get("step_size_down") is not None:
            down = _number(given, "step_size_down")
    if up <= 0.0 or down <= 0.0:
        raise EvidenceError("CyclicLR with a half cycle of no steps has no formula")
    peaks = _per_group(given["max_lrs"] if "max_lrs" in given else given.get("max_lr"), len(bases))
    sizes = {"step_size_up": up, "step_size_down": down}
    return Leaf("CyclicLR", {**numbers, **sizes}, bases, peaks=peaks, mode=str(mode))


def _per_group(value: Hyper, groups: int) -> list[float]:
    peaks = _list(value if isinstance(value, list) else [value])
    if len(peaks) not in (1, groups):
        raise EvidenceError("the rates of a scheduler and the parameter groups differ in number")
    return peaks * groups if len(peaks) == 1 else peaks


def _list(value: Hyper) -> list[float]:
    if not isinstance(value, list):
        raise EvidenceError("a list of scheduler parameters could not be read")
    return [_number({"item": item}, "item") for item in value]


def _number(given: Mapping[str, Hyper], name: str) -> float:
    value = given.get(name)
    if not isinstance(value, (int, float)) or not isfinite(value):
        raise EvidenceError(f"scheduler parameter {name} could not be read")
    return float(value)


def same_rates(left: Sequence[float], right: Sequence[float]) -> bool:
    """Equal up to the rounding of a float32 tensor."""
    return len(left) == len(right) and all(
        abs(a - b) <= 2.0**-22 * max(abs(a), abs(b)) for a, b in zip(left, right, strict=True)
    )
