"""What a reference gives, in floats and with bounds: errors hold, and what rounding decides is left open."""

from __future__ import annotations

from array import array
from math import exp, inf, isfinite, log, nan, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.contract import Hyper
from veracity.core.errors import EvidenceError
from veracity.detect.rules.update.reference.evaluation import evaluate, power
from veracity.detect.rules.update.reference.function import parse
from veracity.detect.rules.update.rounding import PRECISIONS, Number, Rounded, value_of

SINGLE = PRECISIONS["float32"]


def single(value: float) -> float:
    return array("f", [value])[0]


def result(text: str, hypers: dict[str, Hyper], *, exact: bool = False, count: float = 3.0) -> Number:
    """``param`` after a step from ``param`` = 0.5 and ``grad`` = -2, by the expression ``text``."""
    names = "".join(f", {name}" for name in hypers)
    lines = text if "return" in text else f"    return {{'param': {text}}}"
    (reference,) = parse(f"def Own(param, grad, *, step{names}):\n{lines}\n")
    columns: dict[str, list[Number]] = {"param": [0.5, 1.0], "grad": [-2.0, 1.0]}
    if not exact:
        columns = {
            name: [Rounded(value_of(value), 0.0, SINGLE) for value in column]
            for name, column in columns.items()
        }
    found = evaluate(reference, hypers, count, columns, None if exact else SINGLE).at("param", 0)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("param - lr * grad", 0.7),
        ("-param / grad", 0.25),
        ("betas[1] ** step", 0.99**3),
        ("(1 - betas[0]) * param", 0.05),
        ("min(param, 3, grad) + max(0, param)", -1.5),
        ("abs(grad) + sign(grad) + sign(0 * param)", 1.0),
        ("sqrt(param) + exp(param) + log(param)", sqrt(0.5) + exp(0.5) + log(0.5)),
        ("grad ** 2 + grad ** 3 + param ** 0.5 + param ** -1", 4 - 8 + sqrt(0.5) + 2),
        ("2 ** param", sqrt(2)),
        ("param if grad > 0 else grad", -2.0),
        ("param if grad < 0 and (param == 0.5 or missing) else grad", 0.5),
        ("param if not grad < 0 or missing else grad", -2.0),
        ("param if nothing is None and lr is not None else grad", 0.5),
        ("param if betas[0] == 0.9 and step >= 3 else grad", 0.5),
        ("lr if fast else 1 - lr", 0.1),
        (
            "    if fast:\n        x = lr\n    else:\n        x = 2 * lr\n    return {'param': x * param}",
            0.05,
        ),
        ("    if lr > 1:\n        return {'param': 1}\n    y = param\n    return {'param': y * y}", 0.25),
    ],
)
def test_expressions(text: str, expected: float) -> None:
    hypers: dict[str, Hyper] = {"lr": 0.1, "betas": [0.9, 0.99], "fast": True, "nothing": None, "missing": 0}
    plain = result(text, hypers, exact=True)
    assert plain == pytest.approx(expected)
    bounded = result(text, hypers)
    assert isinstance(bounded, Rounded)
    assert bounded.value == pytest.approx(expected)
    assert bounded.error < 1e-5


@pytest.mark.parametrize(
    "text",
    [
        "sign(param * 3 - 1.5)",
        "1 if param * 3 > 1.5 else 2",
        "1 if not param * 3 > 1.5 and grad < 0 else 2",
        "sqrt(param * 3 - 1.5)",
        "log(param * 3 - 1.5)",
        "grad / (param * 3 - 1.5)",
        "(param * 3 - 1.5) ** -1",
        "(param * 3 - 1.5) ** 0.5",
        "grad ** 0.5",
        "sqrt(grad)",
        "log(grad)",
        "exp(param * 9e9)",
        "param * 1e30 * 1e30",
        "(param * 1e30) ** 64",
        "9.0 ** lr",
        "param ** lr",
        "param / 0",
        "0 ** -1 * param",
    ],
)
def test_what_is_not_determined(text: str) -> None:
    found = result(text, {"lr": 9.0**9})
    assert isinstance(found, Rounded)
    assert found.error == inf or found.value == 0.0


@pytest.mark.parametrize(
    ("text", "hypers"),
    [
        ("lr * param", {"lr": "fast"}),
        ("lr * param", {"lr": None}),
        ("lr * param", {"lr": nan}),
        ("lr * param", {"lr": 10**400}),
        ("lr[2] * param", {"lr": [1.0, 2.0]}),
        ("lr[0] * param", {"lr": 1.0}),
        ("lr[0] * param", {"lr": ["x"]}),
        ("param if lr * 3 - lr * 2 - lr > 0 else grad", {"lr": 0.1}),
        ("    if lr * 3 - lr * 2 - lr > 0:\n        return {'param': 1}\n    return {}", {"lr": 0.1}),
    ],
)
def test_what_a_group_does_not_have(text: str, hypers: dict[str, Hyper]) -> None:
    with pytest.raises(EvidenceError):
        result(text, hypers)


def test_a_default_is_taken_where_the_group_has_no_entry() -> None:
    (reference,) = parse("def Own(param, grad, *, lr, decay=0.5):\n    return {'param': decay * lr * param}")
    columns: dict[str, list[Number]] = {"param": [4.0], "grad": [0.0]}
    assert evaluate(reference, {"lr": 1.0}, 1.0, columns).at("param", 0) == 2.0
    assert evaluate(reference, {"lr": 1.0, "decay": 1.0}, 1.0, columns).at("param", 0) == 4.0
    with pytest.raises(EvidenceError, match="lr"):
        evaluate(reference, {}, 1.0, columns)


@settings(max_examples=examples(400))
@given(
    st.floats(2.0**-20, 2.0**20),
    st.one_of(st.integers(-8, 400).map(float), st.floats(-4.0, 4.0)),
    st.floats(-1.0, 1.0),
)
def test_the_bound_of_a_power_holds(base: float, exponent: float, within: float) -> None:
    """For any base within the error of the one that is known, computed in float32 by products or at once."""
    base = single(base)
    error = abs(base) * 2.0**-22
    bound = power(Rounded(base, error, SINGLE), Rounded(exponent, 0.0, SINGLE))
    assert isinstance(bound, Rounded)
    if bound.error == inf:
        return
    other = single(base + within * error)
    found = single(other**exponent)
    assert abs(found - bound.value) <= bound.error
    if exponent == int(exponent) and 0 < exponent <= 64:
        product = 1.0
        for _ in range(int(exponent)):
            product = single(product * other)
        assert not isfinite(product) or abs(product - bound.value) <= bound.error


@settings(max_examples=examples(200))
@given(st.floats(0.5, 0.9999), st.integers(1, 10**6))
def test_a_bias_correction_by_a_float32_beta_is_within_its_error(beta: float, count: int) -> None:
    bound = result("1 - beta ** step", {"beta": beta}, count=float(count))
    assert isinstance(bound, Rounded)
    found = single(1.0 - single(single(beta) ** count))
    assert abs(found - bound.value) <= bound.error
    assert bound.error < 1e-3 or count > 10**4
