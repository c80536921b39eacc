"""What a wrong update amounts to, in words, when a simple hypothesis reproduces it.

A hypothesis is the declared formula with one departure. It is named only if it gives every value that
deviates, in every sampled tensor that deviates, within twice the rounding bound. A constant factor is
fitted on the one element that determines it best and must then hold for all others. Hypotheses are tried
from the most specific to the most general; the first that fits is named, because several can agree at one
step (at the first step of Adam, for instance, a missing bias correction is a constant factor).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import TypeAlias

from .formulas import AdamSettings, SgdSettings
from .judgement import ARITHMETIC, Case, expected_element
from .settings import Settings

Change: TypeAlias = "Callable[[Settings], Settings]"

_SLACK = 2.0


def diagnose(kind: str, cases: Sequence[Case], in_force: Sequence[Settings]) -> str:
    """The words of the first hypothesis that reproduces all of ``cases``, empty when none does.

    ``in_force`` are the settings of each case if the parameter group were believed instead of the
    declaration.
    """
    if not cases:
        return ""
    wrong = frozenset(item.name for case in cases for item in case.deviations if item.kind == ARITHMETIC)
    if not wrong:
        return ""
    if any(case.settings != trusted for case, trusted in zip(cases, in_force, strict=True)) and all(
        _reproduces(case, trusted, wrong) for case, trusted in zip(cases, in_force, strict=True)
    ):
        return f"{kind} with {_changed(cases, in_force)} as set in its parameter group later"
    if "param" in wrong and all(_unmoved(case) for case in cases):
        return "no update at all: the parameters are as before the step"
    for words, change in _departures(kind, cases):
        changed = [change(case.settings) for case in cases]
        if any(new != case.settings for new, case in zip(changed, cases, strict=True)) and all(
            _reproduces(case, new, wrong) for case, new in zip(cases, changed, strict=True)
        ):
            return words
    for words, name, zero in _factors(kind, cases, wrong):
        fitted = _fit(cases, name, zero)
        if fitted is None:
            continue
        factor, error = fitted
        if all(_reproduces_scaled(case, zero, factor, error, wrong) for case in cases):
            return words.format(factor=f"{factor:.6g}" if abs(factor) > error else "0")
    return ""


def _departures(kind: str, cases: Sequence[Case]) -> Iterator[tuple[str, Change]]:
    """Named departures from the declared formula, most specific first."""
    yield f"{kind} without bias correction of exp_avg", _with(first_corrected=False)
    yield f"{kind} without bias correction of exp_avg_sq", _with(second_corrected=False)
    yield (
        f"{kind} without bias correction of exp_avg and exp_avg_sq",
        _with(first_corrected=False, second_corrected=False),
    )
    yield f"{kind} with the gradient's sign flipped", _with(grad_scale=-1.0)
    yield f"{kind} with the sign of the step flipped: it moves the wrong way", _with(step_scale=-1.0)
    yield f"{kind} without weight decay", _with(weight_decay=0.0)
    yield f"{kind} with weight decay coupled into the gradient", _with(decoupled=False)
    yield f"{kind} with weight decay decoupled from the gradient", _with(decoupled=True)
    if isinstance(cases[0].settings, AdamSettings):
        yield f"{kind} with the two betas swapped", _swap_betas
        yield f"{kind} with eps inside the square root", _with(eps_in_root=True)
        yield f"{kind} with eps added before the bias correction", _with(eps_before_correction=True)
        yield f"{kind} without eps", _with(eps=0.0)
        yield f"{kind} with amsgrad ignored", _with(amsgrad=False)
        yield f"{kind} without momentum (beta1 = 0)", _with(beta1=0.0)
    elif isinstance(cases[0].settings, SgdSettings):
        yield f"{kind} without momentum", _with(momentum=0.0, nesterov=False)
        yield f"{kind} with Nesterov's momentum ignored", _with(nesterov=False)
        yield f"{kind} with Nesterov's momentum, which was not declared", _with(nesterov=True)
        yield f"{kind} with dampening ignored", _with(dampening=0.0)
    else:
        yield from _of_adaptive(kind)


def _of_adaptive(kind: str) -> Iterator[tuple[str, Change]]:
    """Departures of the other optimizers; those that a formula has no term for change nothing."""
    yield f"{kind} with the two betas swapped", _swap_betas
    yield f"{kind} without rectification", _with(rectified=False)
    yield f"{kind} without Nesterov's look ahead", _with(looks_ahead=False)
    yield f"{kind} with the mean of the gradient ignored (not centred)", _with(centered=False)
    yield f"{kind} without momentum", _with(momentum=0.0)
    yield f"{kind} without momentum (beta1 = 0)", _with(beta1=0.0)
    yield f"{kind} with eps inside the square root", _with(eps_in_root=True)
    yield f"{kind} without eps", _with(eps=0.0)
    yield f"{kind} without decay of the learning rate", _with(lr_decay=0.0)
    yield f"{kind} without accumulation: only the last gradient's square counts", _with(accumulates=False)


def _factors(kind: str, cases: Sequence[Case], wrong: frozenset[str]) -> Iterator[tuple[str, str, Change]]:
    """Constant factors: the words, the field to fit on, and the settings that stand for a factor of zero."""
    on = _linear_in_gradient(cases)
    if on in wrong:
        yield f"{kind} with the gradient scaled by {{factor}}", on, _with(grad_scale=0.0)
    yield f"{kind} with the learning rate scaled by {{factor}}", "param", _with(lr=0.0)
    yield (
        f"{kind} with the step scaled by {{factor}}, weight decay not",
        "param",
        _with(step_scale=0.0),
    )


def _linear_in_gradient(cases: Sequence[Case]) -> str:
    """The field that a scaled gradient is read from: a first moment, or without one what SGD leaves."""
    settings = cases[0].settings
    if not isinstance(settings, SgdSettings):
        return next((name for name in ("exp_avg", "grad_avg") if name in settings.state()), "")
    return "momentum_buffer" if all("momentum_buffer" in case.after for case in cases) else "param"


def _with(**values: float | bool) -> Change:
    """A change of the named settings; those that the optimizer does not have are left alone."""

    def change(settings: Settings) -> Settings:
        known = {name: value for name, value in values.items() if hasattr(settings, name)}
        return replace(settings, **known)  # type: ignore[arg-type]

    return change


def _swap_betas(settings: Settings) -> Settings:
    if isinstance(settings, AdamSettings):
        return replace(settings, beta1=settings.beta2, beta2=settings.beta1)
    betas = getattr(settings, "beta1", None), getattr(settings, "beta2", None)
    return settings if None in betas else replace(settings, beta1=betas[1], beta2=betas[0])  # type: ignore[call-arg]


def _between(settings: Settings, zero: Settings, factor: float) -> Settings:
    """``settings`` with the quantity that ``zero`` sets to nought multiplied by ``factor``."""
    for name in ("grad_scale", "lr", "step_scale"):
        if getattr(settings, name) != getattr(zero, name):
            return replace(settings, **{name: getattr(settings, name) * factor})
    return settings


def _fit(cases: Sequence[Case], name: str, zero: Change) -> tuple[float, float] | None:
    """Factor and its error from the element where ``name`` depends on it most clearly; None without one.

    ``name`` is an affine function of the factor, so two evaluations determine it.
    """
    best: tuple[float, float] | None = None
    for case in cases:
        column = case.after.get(name)
        if column is None:
            return None
        index = case.fields.index(name)
        nought = zero(case.settings)
        for position in range(case.sample.count):
            low, _ = expected_element(nought, case, position)[index]
            high, bound = expected_element(case.settings, case, position)[index]
            reach = high - low
            if bound == inf or not reach or not isfinite(column[position]):
                continue
            error = bound / abs(reach)
            if best is None or error < best[1]:
                best = (column[position] - low) / reach, error
    return best


def _reproduces_scaled(case: Case, zero: Change, factor: float, error: float, wrong: frozenset[str]) -> bool:
    nought = zero(case.settings)
    if nought == case.settings:
        return False
    return _reproduces(
        case,
        _between(case.settings, nought, factor),
        wrong,
        around=(
            _between(case.settings, nought, factor - error),
            _between(case.settings, nought, factor + error),
        ),
    )


def _reproduces(
    case: Case,
    settings: Settings,
    wrong: frozenset[str],
    around: tuple[Settings, Settings] | None = None,
) -> bool:
    """Whether ``settings`` give all values of the fields in ``wrong``, at least where the case deviates.

    ``around`` are the settings at both ends of a fitted factor's error.
    """
    deviating = {(item.name, item.position) for item in case.deviations}
    for position in range(case.sample.count):
        pairs = expected_element(settings, case, position)
        spread = (0.0,) * len(pairs)
        if around is not None:
            ends = [expected_element(end, case, position) for end in around]
            spread = tuple(abs(one[0] - other[0]) for one, other in zip(*ends, strict=True))
        for name, (expected, bound), extra in zip(case.fields, pairs, spread, strict=False):
            column = case.after.get(name)
            if name not in wrong or column is None:
                continue
            if isinstance(settings, SgdSettings) and name == "momentum_buffer" and bound == inf:
                expected, bound = case.before[2][position], 0.0  # a buffer that is not used stays as it is
            if bound == inf:
                if (name, position) in deviating:
                    return False
                continue
            if not abs(column[position] - expected) <= _SLACK * bound + extra:
                return False
    return True


def _unmoved(case: Case) -> bool:
    was = case.sample.before["param"]
    return case.after["param"].tobytes() == was.tobytes()


def _changed(cases: Sequence[Case], in_force: Sequence[Settings]) -> str:
    """The first setting that differs, in words: ``maximize=True (declared False)``."""
    for case, trusted in zip(cases, in_force, strict=True):
        for name in type(trusted).__dataclass_fields__:
            was, now = getattr(case.settings, name), getattr(trusted, name)
            if was != now:
                return f"{name}={now} (declared {was})"
    return "other values"
