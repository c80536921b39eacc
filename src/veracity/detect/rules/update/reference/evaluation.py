"""What a declared reference gives for sampled elements, in plain floats or with a bound on honest rounding.

The function is interpreted once for all elements of a tensor: a value is one number (*scalar*: made of
hyper-parameters and the step count alone) or a list with one per element. With :class:`Rounded` numbers each
operation adds the error that it may have had in the tensor's own format (``rounding.py``). Nobody says how a
class that is not torch's computes its scalars, so all of them may have been float32 tensors: a power of a
beta that float32 does not hold exactly, say, carries that error.

``sign``, and a comparison of values, are not determined where the error of what is compared reaches over the
point where the answer changes; four times that error, because another order of the same operations rounds
differently. The result is then not determined either, which is no deviation.
"""

from __future__ import annotations

import ast
import operator
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, expm1, inf, isfinite, log, nan
from typing import TypeAlias, cast

from .....core.contract import Hyper
from .....core.errors import EvidenceError
from ..rounding import PRECISIONS, Number, Precision, Rounded, larger, root, size_of, value_of
from .function import COUNT, Reference, number_of

Value: TypeAlias = "Number | list[Number]"
Answer: TypeAlias = "bool | None"
"""Of a comparison; None where rounding may decide it."""

SINGLE = PRECISIONS["float32"]
ROOM = 4.0
_TINY = 256.0
_DECIDES = "rounding decides a condition in line {} of the reference"
_ARITHMETIC: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The values that a step returns, by name; scalars among them stand for all elements."""

    values: dict[str, Value]

    def at(self, name: str, position: int) -> Number | None:
        """One element of what is returned under ``name``; None when nothing is."""
        value = self.values.get(name)
        return value[position] if isinstance(value, list) else value


def evaluate(
    reference: Reference,
    hypers: Mapping[str, Hyper],
    count: float,
    columns: Mapping[str, list[Number]],
    precision: Precision | None = None,
) -> Evaluated:
    """The step that ``reference`` declares: from ``columns`` (values before it) with the group's ``hypers``.

    With ``precision`` all numbers are :class:`Rounded`, those of ``columns`` included. Raises EvidenceError
    when a hyper-parameter is missing or no number, or a way through the function is not determined; in plain
    floats also ArithmeticError or ValueError where the formula has no value for some element.
    """
    return _Interpreter(reference, hypers, count, columns, precision).run()


class _Interpreter:
    """One run through one function."""

    def __init__(
        self,
        reference: Reference,
        hypers: Mapping[str, Hyper],
        count: float,
        columns: Mapping[str, list[Number]],
        precision: Precision | None,
    ) -> None:
        self._reference = reference
        self._hypers = hypers
        self._count = count
        self._names: dict[str, Value] = dict(columns)
        self._precision = precision

    def run(self) -> Evaluated:
        found = self._block(self._reference.body)
        return Evaluated({} if found is None else found)

    # --- statements ------------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt]) -> dict[str, Value] | None:
        for node in body:
            if isinstance(node, ast.Assign):
                self._names[cast("ast.Name", node.targets[0]).id] = self._value(node.value)
            elif isinstance(node, ast.Return):
                returned = cast("ast.Dict", node.value)
                return {
                    str(cast("ast.Constant", key).value): self._value(value)
                    for key, value in zip(returned.keys, returned.values, strict=True)
                }
            elif isinstance(node, ast.If):
                answer = self._condition(node.test)
                if not isinstance(answer, bool):
                    raise EvidenceError(
                        f"rounding decides a condition in line {node.lineno} of the reference"
                    )
                found = self._block(node.body if answer else node.orelse)
                if found is not None:
                    return found
        return None

    # --- expressions -----------------------------------------------------------------------------

    def _value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Constant):
            return self._scalar(number_of(node) or 0.0)
        if isinstance(node, ast.Name):
            return self._names[node.id] if node.id in self._names else self._scalar(self._number(node.id))
        if isinstance(node, ast.Subscript):
            name = cast("ast.Name", node.value).id
            return self._scalar(self._item(name, cast("int", cast("ast.Constant", node.slice).value)))
        if isinstance(node, ast.UnaryOp):
            return self._one(_negative, self._value(node.operand))
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left), self._value(node.right)
            if isinstance(node.op, ast.Pow) and isinstance(left, list) and not isinstance(right, list):
                return [power(one, right) for one in left]  # an exponent is not rounded to the format
            return self._two(_ARITHMETIC.get(type(node.op), power), left, right)
        if isinstance(node, ast.IfExp):
            return self._choice(node)
        call = cast("ast.Call", node)
        name = cast("ast.Name", call.func).id
        values = [self._value(argument) for argument in call.args]
        if name in _OF_ONE:
            return self._one(_OF_ONE[name], values[0])
        result = values[0]
        for value in values[1:]:
            result = self._two(larger if name == "max" else _smaller, result, value)
        return result

    def _one(self, act: Callable[[Number], Number], value: Value) -> Value:
        return [act(item) for item in value] if isinstance(value, list) else act(value)

    def _two(self, act: Callable[[Number, Number], Number], left: Value, right: Value) -> Value:
        if isinstance(left, list):
            if isinstance(right, list):
                return [act(one, other) for one, other in zip(left, right, strict=True)]
            there = self._beside(right)
            return [act(one, there) for one in left]
        if isinstance(right, list):
            here = self._beside(left)
            return [act(here, other) for other in right]
        return act(left, right)

    def _beside(self, scalar: Number) -> Number:
        """A scalar as it meets the values of a tensor: it may be rounded to their format first."""
        precision = self._precision
        if precision is None or not isinstance(scalar, Rounded):
            return scalar
        error = scalar.error
        if scalar.value != 0.0:
            error += precision.unit * abs(scalar.value) + precision.floor
        return Rounded(scalar.value, error, precision)

    def _choice(self, node: ast.IfExp) -> Value:
        answer = self._condition(node.test)
        if isinstance(answer, bool):
            return self._value(node.body if answer else node.orelse)
        one, other = self._value(node.body), self._value(node.orelse)
        if not isinstance(answer, list):
            raise EvidenceError(_DECIDES.format(node.lineno))
        return [
            _undetermined(_at(one, place)) if told is None else _at(one if told else other, place)
            for place, told in enumerate(answer)
        ]

    # --- conditions ------------------------------------------------------------------------------

    def _condition(self, node: ast.expr) -> Answer | list[Answer]:
        if isinstance(node, ast.BoolOp):
            is_or = isinstance(node.op, ast.Or)
            result: Answer | list[Answer] = not is_or
            for part in node.values:
                result = _joined(result, self._condition(part), is_or=is_or)
            return result
        if isinstance(node, ast.UnaryOp):
            told = self._condition(node.operand)
            return [_not(one) for one in told] if isinstance(told, list) else _not(told)
        if isinstance(node, ast.Compare):
            if isinstance(node.ops[0], (ast.Is, ast.IsNot)):
                nothing = self._hyper(cast("ast.Name", node.left).id) is None
                return nothing is isinstance(node.ops[0], ast.Is)
            return self._compared(node)
        value = self._hyper(cast("ast.Name", node).id)
        return bool(value)

    def _compared(self, node: ast.Compare) -> Answer | list[Answer]:
        order, right = _ORDER[type(node.ops[0])], node.comparators[0]
        one, other = self._side(node.left), self._side(right)
        if not isinstance(one, list) and not isinstance(other, list):
            return _told(order, one, other)
        size = len(one) if isinstance(one, list) else len(cast("list[Number]", other))
        return [_told(order, _at(one, place), _at(other, place)) for place in range(size)]

    def _side(self, node: ast.expr) -> Value:
        """A side of a comparison: numbers that nobody computed are exact."""
        value = self._value(node)
        if isinstance(value, Rounded) and isinstance(node, (ast.Constant, ast.Name, ast.Subscript)):
            plain = not isinstance(node, ast.Name) or node.id not in self._names
            return Rounded(value.value, 0.0, value.precision) if plain else value
        return value

    # --- scalars ---------------------------------------------------------------------------------

    def _scalar(self, value: float) -> Number:
        if self._precision is None:
            return value
        return Rounded(value, 0.0 if _is_single(value) else SINGLE.unit * abs(value), SINGLE)

    def _hyper(self, name: str) -> Hyper:
        if name == COUNT and self._reference.counted:
            return self._count
        if name in self._hypers:
            return self._hypers[name]
        if name in self._reference.defaults:
            return self._reference.defaults[name]
        raise EvidenceError(f"the reference takes {name[:80]}, which the parameter group does not have")

    def _number(self, name: str) -> float:
        return _float(self._hyper(name), name)

    def _item(self, name: str, place: int) -> float:
        value = self._hyper(name)
        if not isinstance(value, (list, tuple)) or place >= len(value):
            raise EvidenceError(f"hyper-parameter {name[:80]} has no item {place}")
        return _float(value[place], name)


def _float(value: object, name: str) -> float:
    if not isinstance(value, (int, float)) or not abs(value) <= 1e300:
        raise EvidenceError(f"hyper-parameter {name[:80]} is not a number that could be read")
    return float(value)


def _is_single(value: float) -> bool:
    return abs(value) < SINGLE.largest and array("f", [value])[0] == value


def _at(value: Value, place: int) -> Number:
    return value[place] if isinstance(value, list) else value


def _undetermined(number: Number) -> Number:
    return Rounded(number.value, inf, number.precision) if isinstance(number, Rounded) else nan


def _error_of(number: Number) -> float:
    return number.error if isinstance(number, Rounded) else 0.0


def _told(order: Callable[[float, float], bool], one: Number, other: Number) -> Answer:
    """The answer; in plain floats a NaN gives any."""
    here, there = value_of(one), value_of(other)
    error = _error_of(one) + _error_of(other)
    if error and not abs(here - there) > ROOM * error:
        return None
    return order(here, there)


def _not(told: Answer) -> Answer:
    return None if told is None else not told


def _joined(
    one: Answer | list[Answer], other: Answer | list[Answer], *, is_or: bool
) -> Answer | list[Answer]:
    if isinstance(one, list) or isinstance(other, list):
        size = len(one) if isinstance(one, list) else len(cast("list[Answer]", other))
        ones = one if isinstance(one, list) else [one] * size
        others = other if isinstance(other, list) else [other] * size
        return [_both(here, there, is_or=is_or) for here, there in zip(ones, others, strict=True)]
    return _both(one, other, is_or=is_or)


def _both(one: Answer, other: Answer, *, is_or: bool) -> Answer:
    if is_or in (one, other):
        return is_or
    return None if one is None or other is None else not is_or


# --- functions -----------------------------------------------------------------------------------


def _negative(number: Number) -> Number:
    return -number


def _smaller(one: Number, other: Number) -> Number:
    return -larger(-one, -other)


def _is_nothing(number: Rounded) -> bool:
    """Whether only nothings were added up, which no order changes: its error is what underflow may leave."""
    return not number.precision.weak and number.error <= _TINY * number.precision.floor


def _sign(number: Number) -> Number:
    if isinstance(number, Rounded) and number.value == 0.0 and _is_nothing(number):
        return Rounded(0.0, 0.0, number.precision)
    told = _told(operator.gt, number, 0.0), _told(operator.lt, number, 0.0)
    if None in told:
        return _undetermined(number)
    sign = float(bool(told[0]) - bool(told[1]))
    return Rounded(sign, 0.0, number.precision) if isinstance(number, Rounded) else sign


def _root(number: Number) -> Number:
    """The square root; not determined where rounding may have made a difference negative."""
    if isinstance(number, Rounded) and number.error > number.value:
        if number.error > _TINY * number.precision.floor:
            return _undetermined(number)
        return root(Rounded(max(number.value, 0.0), number.error, number.precision))
    return root(number)


def _exp(number: Number) -> Number:
    if not isinstance(number, Rounded):
        return exp(number)
    if not number.error < 1.0 or not abs(number.value) < 700.0:
        return _undetermined(number)
    value = exp(number.value)
    # The argument may be scaled by 1 / ln 2 in the format first.
    roundings = 4.0 + abs(number.value)
    return number._new(value, value * expm1(number.error), roundings)


def _log(number: Number) -> Number:
    if not isinstance(number, Rounded):
        return log(number)
    lowest = number.value - number.error
    if not 0.0 < lowest < inf:
        return _undetermined(number)
    return number._new(log(number.value), number.error / lowest, 4.0)


_OF_ONE: dict[str, Callable[[Number], Number]] = {
    "sqrt": _root,
    "abs": size_of,
    "sign": _sign,
    "exp": _exp,
    "log": _log,
}


def power(base: Number, exponent: Number) -> Number:
    """``base ** exponent`` by any algorithm: repeated products, or through a logarithm."""
    value = _float_power(value_of(base), value_of(exponent))
    like = base if isinstance(base, Rounded) else exponent
    if not isinstance(like, Rounded):
        return value
    low, high = abs(value_of(base)) - _error_of(base), abs(value_of(base)) + _error_of(base)
    by, by_error = value_of(exponent), _error_of(exponent)
    whole = by_error == 0.0 and by == int(by) if isfinite(by) else False
    if not isfinite(value) or not high < inf or not by_error < inf or (low < 0.0 and not whole):
        return _undetermined(like)
    if low <= 0.0 and (by < 0.0 or by_error):
        return _undetermined(like)
    size, ends = abs(value), (_float_power(max(low, 0.0), by), _float_power(high, by))
    if not all(map(isfinite, ends)):
        return _undetermined(like)
    carried = max(abs(end - size) for end in ends) if low >= 0.0 else size + ends[1]
    if by_error:
        spread = max(abs(log(low)), abs(log(high))) * by_error
        carried += (size + carried) * expm1(spread) if spread < 1.0 else inf
    turn = abs(by * log(high)) if high > 0.0 else 0.0
    return like._new(value, carried, 4.0 + 2.0 * turn + (abs(by) if whole else 0.0))


def _float_power(base: float, exponent: float) -> float:
    """The power, NaN where it is not a real number or too large."""
    if base == 0.0 and exponent < 0.0:
        return nan
    try:
        value = base**exponent
    except (ArithmeticError, ValueError):
        return nan
    return value if isinstance(value, float) else nan
