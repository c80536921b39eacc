"""What a printed or stored number stands for."""

from __future__ import annotations

import math
import re
import struct
from decimal import Decimal, InvalidOperation

MAX_TEXT = 64
MAX_EXPONENT = 400
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}

Interval = tuple[float, float]


def reading(text: str) -> Interval | None:
    """The interval of numbers that are printed as ``text``; None when it is not a number.

    Half a unit of the last digit to either side. NaN and infinities stand for themselves.
    """
    if len(text) > MAX_TEXT:
        return None
    text = text.strip()
    if not _DECIMAL.match(text):
        sign = -1.0 if text.startswith("-") else 1.0
        value = _NOT_FINITE.get(text.lstrip("+-").lower())
        return None if value is None else (sign * value, sign * value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -MAX_EXPONENT < exponent < MAX_EXPONENT:
        return None
    half = Decimal((0, (5,), exponent - 1))
    return float(number - half), float(number + half)


def single(data: bytes) -> Interval:
    """What four little-endian bytes of a float stand for: all numbers that round to it."""
    value: float = struct.unpack("<f", data)[0]
    return around(value, 2.0**-24)


def around(value: float, relative: float) -> Interval:
    """``value`` with a relative error."""
    if not math.isfinite(value):
        return value, value
    error = abs(value) * relative
    return value - error, value + error
