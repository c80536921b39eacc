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
_TAKES = frozenset(("Subset", "select", "islice", "take", "head"))
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
    if isinstance(amount, ast.Name):
        known = names.value(amount.id)
        made = known.node if known is not None else None
        return isinstance(made, (ast.IfExp, ast.Subscript)) and _signed(names, made)
    if isinstance(amount, ast.Call) and not amount.args and _method_of(amount) in ("neg", "negative"):
        return True
    if isinstance(amount, ast.BinOp):
        if isinstance(amount.op, (ast.Mult, ast.Div)) and _negative(names, amount):
            return True
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


def _method_of(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _negative(names: Names, node: ast.expr) -> bool:
    number = names.fold(node)
    if isinstance(number, (int, float)):
        return number < 0
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        # A negative number times or by what is not known, and taken for positive.
        return _negative(names, node.left) != _negative(names, node.right)
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


class Transforms:
    """Finds in which way a value of a kind goes into an expression."""

    def __init__(self, names: Names, reading: Reading) -> None:
        self._names = names
        self._reading = reading
        self._subject = ""
        self._sort: type | None = None

    def made_from(self, node: ast.AST | None, subject: ast.expr) -> Change | None:
        """The strongest change of whatever ``subject`` is in the expression; None when it is not in there."""
        held = self._subject, self._sort
        self._subject, self._sort = _dump(subject), type(subject)
        try:
            return self.of(node, 0)
        finally:
            self._subject, self._sort = held

    def of(self, node: ast.AST | None, kind: int, depth: int = 0) -> Change | None:
        """The strongest change of a value of ``kind`` in the expression; None when it is not in there.

        ``Change("")`` when it is there and unchanged.
        """
        if node is None or depth > MAX_DEPTH:
            return None
        self._names.spend()
        if type(node) is self._sort and _dump(node) == self._subject:
            return Change("")
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
            return self._each(node, kind, depth)
        if isinstance(node, ast.BoolOp):
            return self._strongest(node.values, kind, depth)
        return None

    def _each(
        self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, kind: int, depth: int
    ) -> Change | None:
        """What becomes of the elements, or of a whole whose elements are gone through."""
        element = node.value if isinstance(node, ast.DictComp) else node.elt
        if not self._subject:
            return self.of(element, kind, depth + 1)
        over = node.generators[0]
        target = over.target.elts[-1] if isinstance(over.target, ast.Tuple) else over.target
        if self.of(over.iter, kind, depth + 1) is None or not isinstance(target, ast.Name):
            return self.of(element, kind, depth + 1)
        change = self.made_from(element, target)
        if change is not None and not change.how and over.ifs:
            return Change("cut", over.ifs[0])
        return change

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
        if isinstance(node.op, ast.Sub) and self._outweighs(node.left, node.right):
            return Change("flip", node.right)
        share = self.share(node.left, node.right) if isinstance(node.op, (ast.Add, ast.Sub)) else None
        if share is not None:
            number = ast.Constant(1 - share if isinstance(node.op, ast.Sub) else 1 + share)
            return Change(scaled(self._names, number), number)
        if left is not None and right is not None:
            if "noise" in (left.how, right.how):
                return Change("noise", other)
            return Change("other" if not isinstance(node.op, (ast.Add, ast.Sub)) else "add", other)
        if isinstance(node.op, (ast.Mult, ast.Div)):
            how = scaled(self._names, other, divides=isinstance(node.op, ast.Div))
            return Change(how, other)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            if left is None and isinstance(node.op, ast.Sub):
                return Change("flip", other)
            return Change("noise" if self._reading.bits(other) & words.CHANCE else "add", other)
        return Change("other", other)

    def _outweighs(self, whole: ast.expr, part: ast.expr) -> bool:
        """Whether more than the whole is taken off where a mask holds: ``x - 2 * x * mask``."""
        factors: list[ast.expr] = []
        pending = [part]
        while pending and len(factors) < MAX_DEPTH:
            one = pending.pop()
            if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult):
                pending += [one.left, one.right]
            else:
                factors.append(one)
        numbers = [factor(self._names, one) for one in factors]
        own = any(_dump(one) == _dump(whole) for one in factors)
        return own and len(factors) > 2 and any(one is not None and one > 1 for one in numbers)

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
                if function.attr in ("to", "type", "astype") and self._narrow(amount):
                    return Change("round", amount)
                if function.attr in _TAKES:
                    return Change("cut", amount)
                divides = function.attr.startswith(("div", "true_div"))
                how = scaled(self._names, amount, how, divides=divides) if how == "scale" else how
                return Change(how, amount) if how else inner
        changed = self._strongest(node.args[:4], kind, depth) if node.args else None
        if changed is None:
            return self._dispatched(node, kind, depth)
        name = self._names.dotted(function)
        short = name.rpartition(".")[2]
        how = _METHODS.get(short) or OPERATORS.get(short, "")
        if short == "where" and changed.how == "zero":
            return Change("mask")
        if how and changed.how and short in ("where", "clamp", "clip"):
            return changed
        if short in ("min", "max") and len(node.args) == 2:
            return Change("clamp", node.args[1])
        if short in _TAKES:
            return Change("cut", node.args[-1])
        if how:
            other = next((one for one in node.args if self.of(one, kind, depth + 1) is None), None)
            return Change(scaled(self._names, other, how, divides="div" in short), other)
        foreign = self._names.foreign.functions.get(name)
        if foreign is not None and foreign.how and not changed.how:
            return Change(foreign.how)
        if short in self._names.functions and "." not in name.removeprefix("self."):
            return self._local(short, changed, depth)
        return changed

    def _narrow(self, node: ast.expr | None) -> bool:
        """Whether it is a type of numbers that holds less than a weight has."""
        name = self._names.dotted(node).rpartition(".")[2] if node is not None else ""
        return name.startswith("float8") or name in ("int8", "uint8", "float16", "half", "bfloat16")

    def _dispatched(self, node: ast.Call, kind: int, depth: int) -> Change | None:
        """``{…}.get(key, value)``, and a lambda called where it stands."""
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Dict):
            return self._strongest([*function.value.values[:16], *node.args[1:2]], kind, depth)
        if isinstance(function, ast.Lambda):
            return self.of(function.body, kind, depth + 1)
        made = kind & words.LOSS and self._reading.bits(node) & words.LOSS
        return Change("") if made else None

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

    def made_by(self, name: str) -> str:
        """What a function of the file makes of its first argument, in one word; empty when it hands it on."""
        return self._local(name, Change(""), 0).how

    def _subscript(self, node: ast.Subscript, kind: int, depth: int) -> Change | None:
        if isinstance(node.value, (ast.Dict, ast.Tuple, ast.List)):
            return self.of(node.value, kind, depth + 1)
        inner = self.of(node.value, kind, depth + 1)
        if inner is None:
            return Change("") if self._reading.bits(node) & kind else None
        if isinstance(node.slice, ast.Slice) and not inner.how:
            turned = self._names.fold(node.slice.step) == -1
            return Change("shuffle") if turned else Change("cut", node.slice.upper)
        random = self._reading.bits(node.slice) & (words.CHANCE | words.ORDER)
        return Change("shuffle") if random and not inner.how else inner


def _dump(node: ast.AST) -> str:
    """An expression as a text that is the same where it is read and where it is assigned to."""
    if isinstance(node, ast.Name):
        return node.id
    return ast.dump(node).replace("Store()", "Load()")


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
