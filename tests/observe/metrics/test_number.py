"""What printed numbers stand for."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.metrics.number import reading, single


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2.3457", 2.34565, 2.34575),
        ("-0.10", -0.105, -0.095),
        ("3", 2.5, 3.5),
        ("1e3", 500.0, 1500.0),
        ("2.50e-3", 0.002495, 0.002505),
        (" .5 ", 0.45, 0.55),
    ],
)
def test_half_a_unit_of_the_last_digit(text: str, low: float, high: float) -> None:
    found = reading(text)
    assert found is not None
    assert found == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "loss", "1.2.3", "0x10", "1_000", "١", "1e9999", "1" * 65, "--1", "1e", "."]
)
def test_not_a_number(text: str) -> None:
    assert reading(text) is None


def test_not_finite() -> None:
    assert reading("-Infinity") == (-math.inf, -math.inf)
    found = reading("NaN")
    assert found is not None
    assert math.isnan(found[0])


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_the_printed_number_lies_within(value: float) -> None:
    found = reading(repr(value))
    if found is not None:
        assert found[0] <= value <= found[1]


@given(st.floats(min_value=-1e6, max_value=1e6), st.integers(0, 9))
def test_a_rounded_number_lies_within(value: float, digits: int) -> None:
    found = reading(f"{value:.{digits}f}")
    assert found is not None
    slack = 1e-9 * max(1.0, abs(value))
    assert found[0] - slack <= value <= found[1] + slack


@given(st.floats(min_value=-1e6, max_value=1e6))
def test_a_number_stored_in_32_bits_lies_within(value: float) -> None:
    found = single(struct.pack("<f", value))
    assert found[0] - 1e-38 <= value <= found[1] + 1e-38


@given(st.text("0123456789+-.eE naif_x١", max_size=70))
def test_any_text(text: str) -> None:
    found = reading(text)
    assert found is None or found[0] <= found[1] or math.isnan(found[0])
