"""Which copies of a parameter are one multiple of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import pytest

from veracity.core.observation import TensorCopy
from veracity.detect.rules.continuity.multiples import factor_of, multiples

LIVE = [0.3, -0.71, 0.05, 1.9, -0.004, 0.62, -0.33, 0.11]


def single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def short(value: float) -> float:
    """Rounded as bfloat16 is, towards zero."""
    return float(
        struct.unpack("f", struct.pack("I", struct.unpack("I", struct.pack("f", value))[0] >> 16 << 16))[0]
    )


def made(
    change: Callable[[float], float],
    *,
    live: list[float] = LIVE,
    dtypes: tuple[str, str] = ("float32", "float32"),
    prefix: str = "model.",
    name: str = "w",
) -> TensorCopy:
    return TensorCopy(prefix, name, *dtypes, [change(value) for value in live], live)


@pytest.mark.parametrize("factor", [0.5, 0.95, 1.0001, -1.0, 3.0, 0.0])
def test_a_multiple_has_its_factor(factor: float) -> None:
    assert factor_of(made(lambda value: single(value * factor))) == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("dtypes", [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_rounding_to_a_shorter_format_is_no_factor(dtypes: tuple[str, str]) -> None:
    assert factor_of(made(short, dtypes=dtypes)) == 1.0
    assert factor_of(made(lambda value: short(0.9 * value), dtypes=dtypes)) == pytest.approx(0.9, rel=0.02)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value + 0.01,
        lambda value: value * (1.0 + 1e-4 * value),
        lambda value: 0.5 * value if value > 0.5 else value,
        lambda value: math.nan,
        lambda value: math.inf,
    ],
)
def test_anything_else_has_none(change: Callable[[float], float]) -> None:
    assert factor_of(made(change)) is None


def test_zeros_say_nothing_while_they_stay() -> None:
    live = [0.0, *LIVE]
    assert factor_of(made(lambda value: 2.0 * value, live=live)) == 2.0
    assert factor_of(made(lambda value: 2.0 * value or 0.1, live=live)) is None


@pytest.mark.parametrize(
    ("live", "dtype"), [([1.0] * 16, "float32"), ([0.1, 0.2, 0.3], "float32"), (LIVE, "float8_e4m3fn")]
)
def test_few_values_or_unknown_formats_say_nothing(live: list[float], dtype: str) -> None:
    found = factor_of(made(lambda value: 2.0 * value, live=live, dtypes=(dtype, "float32")))
    assert found is not None
    assert math.isnan(found)


def test_one_tensor_that_is_no_multiple_clears_its_part_only() -> None:
    halved, other = made(lambda value: value / 2), made(lambda value: value + 1.0, name="b")
    assert multiples([halved, other]) == []
    average = made(lambda value: value + 1.0, prefix="ema.")
    (part,) = multiples([halved, average])
    assert (part.prefix, [factor for _, factor in part.found]) == ("model.", [0.5])
    assert multiples([made(lambda value: value)]) == []
