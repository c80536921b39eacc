"""Whatever a narrow format makes of a formula lies within the error that is carried along with it."""

from __future__ import annotations

import struct
from math import inf, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.detect.rules.update.rounding import (
    PRECISIONS,
    Number,
    Rounded,
    at_least,
    larger,
    mix,
    positive,
    root,
    sign_of,
    size_of,
)

SINGLE = PRECISIONS["float32"]
plain = st.floats(-1e4, 1e4, allow_nan=False, width=32)


def single(value: float) -> float:
    found: float = struct.unpack("f", struct.pack("f", value))[0]
    return found


def exact(value: float) -> Rounded:
    return Rounded(value, 0.0, SINGLE)


def within(number: Number, found: float) -> bool:
    assert isinstance(number, Rounded)
    return abs(found - number.value) <= number.error


@settings(max_examples=examples(500))
@given(plain, plain, plain, st.floats(1e-6, 1.0))
def test_each_operation_bounds_its_rounding(one: float, other: float, third: float, scalar: float) -> None:
    left, right = exact(one), exact(other)
    assert within(left + right, single(one + other))
    assert within(left - scalar, single(one - single(scalar)))
    assert within(scalar - left, single(single(scalar) - one))
    assert within(left * right, single(one * other))
    assert within(scalar * left, single(single(scalar) * one))
    assert within(root(size_of(left)), single(sqrt(abs(one))))
    for weight in (scalar, 1.0 - scalar):
        forward = single(one + single(single(weight) * single(other - one)))
        backward = single(other - single(single(other - one) * single(1.0 - single(weight))))
        assert within(mix(left, right, weight), forward if weight < 0.5 else backward)
    chained = (left * right + third) * (left - right)
    product = single(single(one * other) + third)
    assert within(chained, single(product * single(one - other)))
    if other:
        assert within(left / right, single(one / other))
        assert within(scalar / right, single(single(scalar) / other))
        quotient = single(single(one + third) / other)
        assert within((left + third) / right, quotient)


def test_what_is_not_determined_says_so() -> None:
    near = Rounded(1e-3, 1e-3, SINGLE)
    assert isinstance(one := exact(1.0) / near, Rounded)
    assert one.error == inf
    assert isinstance(sign := sign_of(near), Rounded)
    assert sign.error == inf
    assert isinstance(under := positive(near), Rounded)
    assert under.error == inf
    assert (exact(1e30) * exact(1e30)).error == inf
    assert (Rounded(0.0, inf, SINGLE) * 0.0).error == inf
    assert isinstance(negative := root(exact(-1.0)), Rounded)
    assert negative.error == inf


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (mix(2.0, 4.0, 0.25), 2.5), (larger(2.0, 4.0), 4.0), (at_least(2.0, 3.0), 3.0), (size_of(-2.0), 2.0),
        (sign_of(-2.0), -1.0), (sign_of(0.0), 0.0), (root(9.0), 3.0), (positive(-1.0), -1.0),
    ],
)  # fmt: skip
def test_on_floats_they_are_the_plain_operations(number: Number, value: float) -> None:
    assert number == value
