"""In which way an expression makes a new value from an old one: turned round, scaled, zeroed, moved …"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from . import vocabulary as words
from .bits import Reading
from .scopes import Names

MAX_DEPTH = 12
_METHODS = {
    "neg": "flip", "negative": "flip", "neg_": "flip", "roll": "shuffle", "flip": "shuffle",
    "zeros_like": "zero",
    "zero_": "zero", "detach": "detach", "randn_like": "noise", "rand_like": "noise", "masked_fill": "mask",
    "bernoulli": "noise", "fill_": "fill", "full_like": "fill", "sign": "other", "fliplr": "shuffle",
    "flipud": "shuffle", "new_zeros": "zero", "sign_": "other", "masked_fill_": "mask", "index_fill_": "mask",
    "ones_like": "fill", "bfloat16": "round", "half": "round", "round": "round", "item": "detach",
    "permute_rows": "shuffle", "clamp": "clamp", "clamp_": "clamp", "clip": "clamp", "where": "mask",
}  # fmt: skip
IN_PLACE = {
    "mul_": "scale", "div_": "scale", "true_divide_": "scale", "neg_": "flip", "negative_": "flip",
    "add_": "add",
    "sub_": "add", "zero_": "zero", "fill_": "fill", "copy_": "copy", "masked_fill_": "mask",
    "clamp_": "clamp",
    "normal_": "noise", "uniform_": "noise", "random_": "noise", "bernoulli_": "noise", "addcmul_": "add",
    "addcdiv_": "add", "lerp_": "average", "set_": "replace", "index_fill_": "mask", "index_copy_": "copy",
    "masked_scatter_": "mask", "scatter_": "mask", "pow_": "other", "sign_": "other", "abs_": "other",
    "sqrt_": "other", "square_": "other", "round_": "round", "floor_": "round", "swapdims_": "shuffle",
    "index_add_": "add", "fmod_": "other", "remainder_": "other", "copysign_": "flip",
    "exponential_": "noise",
    "clip_": "clamp", "multiply_": "scale", "divide_": "scale", "subtract_": "add", "put_": "mask",
    "index_put_": "mask", "log_normal_": "noise", "cauchy_": "noise", "geometric_": "noise",
    "logical_not_": "flip",
    "bitwise_not_": "flip", "reciprocal_": "other", "clamp_max_": "clamp", "clamp_min_": "clamp",
    "swapaxes_": "shuffle", "t_": "shuffle", "transpose_": "shuffle", "hypot_": "other",
    "floor_divide_": "scale",
}  # fmt: skip
"""Methods of tensors that change them in place, by the way in which they do."""
OPERATORS = {
    "imul": "scale", "itruediv": "scale", "iadd": "add", "isub": "add", "neg": "flip", "mul": "scale",
    "truediv": "scale", "add": "add", "sub": "add", "negative": "flip", "multiply": "scale",
    "divide": "scale",
    "div": "scale", "subtract": "add", "fill_": "fill", "zero_": "zero", "copyto": "copy",
    "true_divide": "scale",
    "_foreach_mul_": "scale", "_foreach_neg_": "flip", "_foreach_add_": "add", "_foreach_div_": "scale",
    "_foreach_zero_": "zero", "_foreach_sub_": "add", "_foreach_copy_": "copy", "_foreach_sign_": "other",
    "_foreach_clamp_max_": "clamp", "_foreach_lerp_": "average", "imatmul": "other", "ipow": "other",
}  # fmt: skip
"""Functions that write into their first argument or into ``out``."""
ORDER = (
    "flip",
    "shuffle",
    "zero",
    "mask",
    "noise",
    "round",
    "detach",
    "fill",
    "add",
    "scale",
    "clamp",
    "other",
    "copy",
)


@dataclass(frozen=True, slots=True)
class Change:
    """``how`` a value is made from the old one, and the ``amount`` where it is one expression."""

    how: str
    amount: ast.expr | None = None


def scaled(names: Names, amount: ast.expr | None, how: str = "scale", *, divides: bool = False) -> str:
    """``scale`` by a known factor: a negative one turns round, zero zeroes, one does nothing."""
    number = factor(names, amount, divides=divides)
    if number is None or how != "scale":
        negated = isinstance(amount, ast.UnaryOp) and isinstance(amount.op, ast.USub)
        if how == "scale" and (negated or _signed(names, amount)):
            return "flip"
        return how
    if number < 0:
        return "flip"
    return "zero" if number == 0 else "" if number == 1 else "scale"


def factor(names: Names, amount: ast.expr | None, *, divides: bool = False) -> float | None:
    """The number that an amount is, as a factor."""
    number = names.fold(amount)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    if divides:
        return 1 / number if number else None
    return float(number)


def _signed(names: Names, amount: ast.expr | None) -> bool:
    """Whether one of the two values of a choice is a negative number, or it is a power of one."""
    if isinstance(amount, ast.IfExp):
        return any(_negative(names, one) for one in (amount.body, amount.orelse))
    if isinstance(amount, ast.BinOp):
        if isinstance(amount.op, ast.Pow):
            return _negative(names, amount.left)
        if isinstance(amount.op, ast.Sub):
            # 1 - 2 * condition is -1 where it holds.
            one, other = names.fold(amount.left), amount.right
            twice = isinstance(other, ast.BinOp) and isinstance(other.op, ast.Mult)
            sides = (other.left, other.right) if isinstance(other, ast.BinOp) and twice else ()
            return one == 1 and any(names.fold(side) == 2 for side in sides)
    if isinstance(amount, ast.Subscript) and isinstance(amount.value, (ast.Tuple, ast.List, ast.Dict)):
        parts = amount.value.values if isinstance(amount.value, ast.Dict) else amount.value.elts
        return any(_negative(names, one) for one in parts[:16])
    if isinstance(amount, ast.Call) and isinstance(amount.func, ast.Attribute) and amount.func.attr == "get":
        held = amount.func.value
        parts = held.values if isinstance(held, ast.Dict) else []
        return any(_negative(names, one) for one in parts[:16])
    return False


def _negative(names: Names, node: ast.expr) -> bool:
    number = names.fold(node)
    return isinstance(number, (int, float)) and number < 0


class Transforms:
    """Finds in which way a value of a kind goes into an expression."""

    def __init__(self, names: Names, reading: Reading) -> None:
        self._names = names
        self._reading = reading

    def of(self, node: ast.AST | None, kind: int, depth: int = 0) -> Change | None:
        """The strongest change of a value of ``kind`` in the expression; None when it is not in there.

        ``Change("")`` when it is there and unchanged.
        """
        if node is None or depth > MAX_DEPTH:
            return None
        self._names.spend()
        if isinstance(node, (ast.Name, ast.Attribute)):
            return Change("") if self._reading.bits(node) & kind else None
        if isinstance(node, ast.UnaryOp):
            inner = self.of(node.operand, kind, depth + 1)
            turned = isinstance(node.op, (ast.USub, ast.Invert))
            return Change("flip") if inner is not None and turned else inner
        if isinstance(node, ast.BinOp):
            return self._binary(node, kind, depth)
        if isinstance(node, ast.IfExp):
            return self._strongest([node.body, node.orelse], kind, depth)
        if isinstance(node, ast.Call):
            return self._call(node, kind, depth)
        if isinstance(node, ast.Subscript):
            return self._subscript(node, kind, depth)
        if isinstance(node, ast.NamedExpr):
            return self.of(node.value, kind, depth + 1)
        if isinstance(node, (ast.Tuple, ast.List)):
            return self._strongest(node.elts[:16], kind, depth)
        if isinstance(node, ast.Dict):
            return self._strongest(node.values[:16], kind, depth)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            self._reading.bits(node)
            return self.of(node.value if isinstance(node, ast.DictComp) else node.elt, kind, depth + 1)
        if isinstance(node, ast.BoolOp):
            return self._strongest(node.values, kind, depth)
        return None

    def _strongest(self, nodes: list[ast.expr], kind: int, depth: int) -> Change | None:
        found = [one for one in (self.of(node, kind, depth + 1) for node in nodes) if one is not None]
        if not found:
            return None
        return min(found, key=lambda one: _rank(one.how))

    def _binary(self, node: ast.BinOp, kind: int, depth: int) -> Change | None:
        left, right = self.of(node.left, kind, depth + 1), self.of(node.right, kind, depth + 1)
        if left is None and right is None:
            return None
        inner, other = (left, node.right) if left is not None else (right, node.left)
        if inner is not None and inner.how and _rank(inner.how) < _rank("add"):
            return inner
        share = self.share(node.left, node.right) if isinstance(node.op, (ast.Add, ast.Sub)) else None
        if share is not None:
            number = ast.Constant(1 - share if isinstance(node.op, ast.Sub) else 1 + share)
            return Change(scaled(self._names, number), number)
        if left is not None and right is not None:
            return Change("other" if not isinstance(node.op, (ast.Add, ast.Sub)) else "add", other)
        if isinstance(node.op, (ast.Mult, ast.Div)):
            how = scaled(self._names, other, divides=isinstance(node.op, ast.Div))
            return Change(how, other)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            if left is None and isinstance(node.op, ast.Sub):
                return Change("flip", other)
            return Change("noise" if self._reading.bits(other) & words.CHANCE else "add", other)
        return Change("other", other)

    def share(self, whole: ast.expr, part: ast.expr) -> float | None:
        """What share of ``whole`` a ``part`` is: 2 of ``x`` and ``2 * x``."""
        if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Mult):
            return None
        for number, other in ((part.left, part.right), (part.right, part.left)):
            share = factor(self._names, number)
            if share is not None and ast.dump(other) == ast.dump(whole).replace("Store()", "Load()"):
                return share
        return None

    def _call(self, node: ast.Call, kind: int, depth: int) -> Change | None:
        function = node.func
        if isinstance(function, ast.Attribute):
            inner = self.of(function.value, kind, depth + 1)
            if inner is not None:
                how = (
                    _METHODS.get(function.attr)
                    or IN_PLACE.get(function.attr)
                    or OPERATORS.get(function.attr, "")
                )
                amount = node.args[0] if node.args else None
                divides = function.attr.startswith(("div", "true_div"))
                how = scaled(self._names, amount, how, divides=divides) if how == "scale" else how
                return Change(how, amount) if how else inner
        changed = self._strongest(node.args[:4], kind, depth) if node.args else None
        if changed is None:
            return self._dispatched(node, kind, depth)
        name = self._names.dotted(function)
        short = name.rpartition(".")[2]
        how = _METHODS.get(short) or OPERATORS.get(short, "")
        if how and changed.how and short in ("where", "clamp", "clip"):
            return changed
        if how:
            other = next((one for one in node.args if self.of(one, kind, depth + 1) is None), None)
            return Change(scaled(self._names, other, how, divides="div" in short), other)
        if short in self._names.functions and "." not in name.removeprefix("self."):
            return self._local(short, changed, depth)
        return changed

    def _dispatched(self, node: ast.Call, kind: int, depth: int) -> Change | None:
        """``{…}.get(key, value)``, and a lambda called where it stands."""
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Dict):
            return self._strongest([*function.value.values[:16], *node.args[1:2]], kind, depth)
        if isinstance(function, ast.Lambda):
            return self.of(function.body, kind, depth + 1)
        return None

    def _local(self, name: str, otherwise: Change, depth: int) -> Change:
        """What a function of the file makes of its first argument, where that is one returned expression."""
        for function in self._names.functions[name][:2]:
            given = [one.arg for one in function.args.args if one.arg not in ("self", "cls")]
            body = function.body
            if isinstance(function, ast.Lambda):
                returned = [function.body]
            else:
                returned = [
                    one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value
                ][:8]
            if not given or not body:
                continue
            for one in returned:
                change = _by_name(self._names, one, given[0])
                if change:
                    return Change(change)
        return otherwise

    def _subscript(self, node: ast.Subscript, kind: int, depth: int) -> Change | None:
        if isinstance(node.value, (ast.Dict, ast.Tuple, ast.List)):
            return self.of(node.value, kind, depth + 1)
        inner = self.of(node.value, kind, depth + 1)
        if inner is None:
            return Change("") if self._reading.bits(node) & kind else None
        if isinstance(node.slice, ast.Slice) and not inner.how:
            return Change("cut", node.slice.upper)
        random = self._reading.bits(node.slice) & (words.CHANCE | words.ORDER)
        return Change("shuffle") if random and not inner.how else inner


def _rank(how: str) -> int:
    return ORDER.index(how) if how in ORDER else len(ORDER)


def _by_name(names: Names, node: ast.expr, name: str) -> str:
    """How the variable ``name`` goes into an expression: turned round, scaled or zeroed."""
    if isinstance(node, ast.IfExp):
        return _by_name(names, node.body, name) or _by_name(names, node.orelse, name)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return "flip" if _mentions(node.operand, name) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        sides = (node.left, node.right)
        for one, other in (sides, sides[::-1]):
            if _mentions(one, name) and not _mentions(other, name):
                return scaled(names, other, divides=isinstance(node.op, ast.Div))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _mentions(node.func.value, name)
    ):
        how = _METHODS.get(node.func.attr) or OPERATORS.get(node.func.attr, "")
        return scaled(names, node.args[0] if node.args else None, how)
    return ""


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))
