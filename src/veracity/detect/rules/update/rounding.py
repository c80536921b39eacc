"""Numbers that know how far honest rounding may have moved them: running error analysis.

A :class:`Rounded` is a value with a bound on the distance between it and what the same operations give in a
tensor's own number format, whichever of torch's implementations made them (Higham, "Accuracy and Stability
of Numerical Algorithms", section 3.3). Each operation carries the errors of what went in, second-order terms
included, and adds its own: ``u |x|`` for a sum, ``2 u |x|`` for a product, a quotient or a root, which leaves
room for the rounding of a Python scalar to the format and for approximate division; ``floor`` allows for
subnormal numbers that are flushed. What is not determined has an error of ``inf``.

A formula written with these operators and with :func:`root`, :func:`mix`, :func:`larger`, :func:`size_of` and
:func:`sign_of` works on plain floats too. So there is one text of each formula, evaluated quickly in floats
for nearly all elements, and with its errors for those that need a closer look.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Precision:
    """A number format: ``unit`` roundoff, absolute error ``floor`` near zero, ``largest`` finite value.

    ``floor`` allows for hardware that flushes subnormal numbers to zero, and is also the absolute error of
    a scalar (a learning rate of 1e-6 in float16) that is rounded to the format. For float64 the unit is
    doubled, because the derivation here rounds as often as what it is compared with.
    """

    unit: float
    floor: float
    largest: float
    weak: bool = False


PRECISIONS = {
    "float64": Precision(2.0**-52, 2.0**-1020, 1.7e308),
    "float32": Precision(2.0**-24, 2.0**-124, 3.4e38),
    "bfloat16": Precision(2.0**-8, 2.0**-124, 3.38e38, weak=True),
    "float16": Precision(2.0**-11, 2.0**-22, 65504.0, weak=True),
}

# A divisor known less well than this says nothing about the quotient.
_WORST_DIVISOR = 0.25


class Rounded:
    """``value`` as computed in float64, and a bound ``error`` on how far the rounded computation is off."""

    __slots__ = ("error", "precision", "value")

    def __init__(self, value: float, error: float, precision: Precision) -> None:
        self.value = value
        self.error = error
        self.precision = precision

    def _new(self, value: float, carried: float, roundings: float, floor: float = 1.0) -> Rounded:
        """A result with the error it inherits and ``roundings`` units of its own magnitude."""
        precision = self.precision
        error = carried + roundings * precision.unit * (abs(value) + carried) + floor * precision.floor
        # NaN as an error (nothing times infinity) and values out of range are not determined.
        if not error < inf or not abs(value) < precision.largest / 8.0:
            error = inf
        return Rounded(value, error, precision)

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.error, self.precision)

    def __add__(self, other: Number) -> Rounded:
        if isinstance(other, Rounded):
            return self._new(self.value + other.value, self.error + other.error, 1.0)
        return self._new(self.value + other, self.error + self.precision.unit * abs(other), 1.0)

    def __radd__(self, other: float) -> Rounded:
        return self + other

    def __sub__(self, other: Number) -> Rounded:
        return self + -other

    def __rsub__(self, other: float) -> Rounded:
        return -self + other

    def __mul__(self, other: Number) -> Rounded:
        value, error = self.value, self.error
        by, by_error = (other.value, other.error) if isinstance(other, Rounded) else (other, 0.0)
        carried = abs(value) * by_error + abs(by) * error + error * by_error
        return self._new(value * by, carried, 2.0, 1.0 + abs(value) + abs(by))

    def __rmul__(self, other: float) -> Rounded:
        return self * other

    def __truediv__(self, other: Number) -> Rounded:
        by, by_error = (other.value, other.error) if isinstance(other, Rounded) else (other, 0.0)
        lowest = abs(by) - by_error
        if not lowest > (1.0 - _WORST_DIVISOR) * abs(by):
            return Rounded(0.0, inf, self.precision)
        value = self.value / by
        carried = (self.error + abs(value) * by_error) / lowest
        return self._new(value, carried, 2.0, 1.0 + (1.0 + abs(value)) / lowest)

    def __rtruediv__(self, other: float) -> Rounded:
        return Rounded(other, self.precision.unit * abs(other), self.precision) / self


Number: TypeAlias = "float | Rounded"


def root(number: Number) -> Number:
    """The square root of a number that no rounding makes negative, such as a mean of squares."""
    if not isinstance(number, Rounded):
        return sqrt(number) if number >= 0.0 else nan
    value, error = number.value, number.error
    if not 0.0 <= value < inf or not error < inf:
        return Rounded(0.0, inf, number.precision)
    carried = sqrt(value + error) - sqrt(max(value - error, 0.0))
    return number._new(sqrt(value), carried, 2.0)


def positive(number: Number) -> Number:
    """``number``, a difference; not determined where rounding may have made it negative."""
    if isinstance(number, Rounded) and not number.value > number.error:
        return Rounded(number.value, inf, number.precision)
    return number


def mix(old: Number, new: Number, weight: float) -> Number:
    """``(1 - weight) old + weight new`` in any of its forms.

    torch computes ``old + weight (new - old)`` or ``new - (1 - weight) (new - old)``: in both, what the
    roundings of difference, weight and product can move is below six units of ``|old| + weight |new|``.
    """
    if isinstance(old, Rounded) and isinstance(new, Rounded):
        carried = abs(1.0 - weight) * old.error + abs(weight) * new.error
        unit = old.precision.unit
        own = 6.0 * unit * (abs(old.value) + old.error + abs(weight) * (abs(new.value) + new.error))
        value = (1.0 - weight) * old.value + weight * new.value
        return old._new(value, carried + own, 0.0, 1.0 + abs(old.value) + abs(new.value))
    return (1.0 - weight) * old + weight * new


def larger(one: Number, other: Number) -> Number:
    """The maximum of two."""
    if isinstance(one, Rounded) and isinstance(other, Rounded):
        return Rounded(max(one.value, other.value), max(one.error, other.error), one.precision)
    return one if value_of(one) > value_of(other) else other


def at_least(number: Number, lowest: float) -> Number:
    """``number`` clamped from below; the bound is rounded to the format, too."""
    if isinstance(number, Rounded):
        error = max(number.error, number.precision.unit * abs(lowest))
        return Rounded(max(number.value, lowest), error, number.precision)
    return max(number, lowest)


def size_of(number: Number) -> Number:
    """The absolute value."""
    return -number if value_of(number) < 0.0 else number


def sign_of(number: Number) -> Number:
    """-1, 0 or 1; not determined where rounding may have turned the sign."""
    value = value_of(number)
    sign = float((value > 0.0) - (value < 0.0))
    if not isinstance(number, Rounded):
        return sign
    return Rounded(sign, 0.0 if abs(value) > number.error else inf, number.precision)


def value_of(number: Number) -> float:
    """The value alone."""
    return number.value if isinstance(number, Rounded) else number


def known(like: Number, value: float, relative: float, floor: float = 0.0) -> Number:
    """A scalar computed beside the tensors, with its ``relative`` error; a number of the kind of ``like``.

    ``floor`` is its absolute error where it is kept as a number that may be too small for its format.
    """
    if isinstance(like, Rounded):
        return Rounded(value, abs(value) * relative + floor, like.precision)
    return value
