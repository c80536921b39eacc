"""What the two sides of a choice have to do with each other: one is the other turned round, scaled, zeroed …

A condition on where or when a program runs is one half of a sabotage; the other half is that the two sides
differ in something that training computes with.
"""

from __future__ import annotations

import ast

from . import vocabulary as words
from .bits import Reading
from .scopes import Names
from .transform import ORDER, Change, Transforms

MAX_PARTS = 16
_OPPOSITES = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Eq: ast.NotEq, ast.Is: ast.IsNot, ast.In: ast.NotIn}
_DATA = words.DATA | words.LABEL | words.LOSS | words.GRADIENT
_KEPT = words.MODEL | words.OPTIMIZER
_TYPES = frozenset(("float16", "bfloat16", "half", "float32", "float64", "double", "int8", "uint8"))


class Choices:
    """Compares the sides of choices in one file."""

    def __init__(self, names: Names, reading: Reading, transforms: Transforms) -> None:
        self._names = names
        self._reading = reading
        self._transforms = transforms

    def contrast(self, one: ast.expr, other: ast.expr, depth: int = 0) -> str:
        """How the one side is made from the other; ``number`` where both are numbers, empty where neither is.

        ``settings``: a dictionary of an optimizer's settings stands on one side only. ``precision``: they are
        types of numbers. ``collection``: a number or a collection of the text stands on one side. ``data``:
        both are data, labels or losses, of whatever relation.
        """
        if depth > 3:
            return ""
        one, other = self._function(one), self._function(other)
        if isinstance(one, (ast.Tuple, ast.List)) and isinstance(other, (ast.Tuple, ast.List)):
            pairs = zip(one.elts[:MAX_PARTS], other.elts[:MAX_PARTS], strict=False)
            return _strongest([self.contrast(left, right, depth + 1) for left, right in pairs])
        if isinstance(one, ast.Lambda) and isinstance(other, ast.Lambda):
            return self.contrast(one.body, other.body, depth + 1)
        if isinstance(one, ast.Compare) and isinstance(other, ast.Compare):
            return self._compared(one, other)
        if self._stops(one) != self._stops(other):
            return "detach"
        found = self._numbers(one, other)
        if found is not None:
            return found
        made = self._made(one, other) or self._made(other, one)
        if made:
            return made
        if isinstance(one, ast.Dict) or isinstance(other, ast.Dict):
            return "settings" if self._settings(one) or self._settings(other) else ""
        if self._type(one) and self._type(other):
            return "precision"
        if isinstance(one, ast.Subscript) and isinstance(other, ast.Subscript):
            slices = isinstance(one.slice, ast.Slice) and isinstance(other.slice, ast.Slice)
            if slices and ast.dump(one.value) == ast.dump(other.value):
                return "cut"
        first, second = self._reading.bits(one), self._reading.bits(other)
        if first & second & _DATA or (_plain(one) and _plain(other) and (first | second) & _KEPT):
            return "data"
        return "collection" if _collected(one) or _collected(other) else ""

    def _function(self, node: ast.expr) -> ast.expr:
        """The lambda that a name of the file stands for."""
        found = self._names.functions.get(node.id, []) if isinstance(node, ast.Name) else []
        return found[0] if found and isinstance(found[0], ast.Lambda) else node

    def _stops(self, node: ast.expr) -> bool:
        """Whether no gradients are computed, or averaged over processes, within this context."""
        name = self._names.dotted(node.func) if isinstance(node, ast.Call) else ""
        return name.rpartition(".")[2] in ("no_grad", "inference_mode")

    def _compared(self, one: ast.Compare, other: ast.Compare) -> str:
        """``a < b`` and ``a > b`` are opposites."""
        if ast.dump(one.left) != ast.dump(other.left):
            return ""
        if [ast.dump(part) for part in one.comparators] != [ast.dump(part) for part in other.comparators]:
            return ""
        kinds = type(one.ops[0]), type(other.ops[0])
        turned = set(_OPPOSITES.items())
        return "flip" if kinds in turned or kinds[::-1] in turned else ""

    def _numbers(self, one: ast.expr, other: ast.expr) -> str | None:
        first, second = self._names.fold(one), self._names.fold(other)
        if isinstance(first, bool) or isinstance(second, bool):
            return ""
        numbers = [isinstance(value, (int, float)) for value in (first, second)]
        if any(numbers) and (_plain(one) or _plain(other)) and not all(numbers):
            return "collection" if self._made(one, other) == "" else None
        if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
            return None
        if first == second:
            return ""
        if first * second < 0:
            return "flip"
        return "zero" if 0 in (first, second) else "number"

    def _made(self, one: ast.expr, other: ast.expr) -> str:
        """How ``one`` is made from ``other``."""
        if isinstance(other, ast.Constant):
            return ""
        change = self._transforms.made_from(one, other)
        return change.how if change is not None and change.how in ORDER else "cut" if _cuts(change) else ""

    def _settings(self, node: ast.expr) -> bool:
        keys = node.keys if isinstance(node, ast.Dict) else []
        return any(isinstance(key, ast.Constant) and key.value in words.SETTINGS for key in keys)

    def _type(self, node: ast.expr) -> bool:
        return self._names.dotted(node).rpartition(".")[2] in _TYPES

    def touched(self, body: list[ast.stmt]) -> str:
        """What a branch does to something of training, in one word: how it changes it, or what it sets."""
        found = []
        for node in body[:MAX_PARTS]:
            if isinstance(node, ast.Assign):
                found += [self._assigned(target, node.value) for target in node.targets]
            elif isinstance(node, ast.AugAssign):
                found.append(self._augmented(node))
            elif isinstance(node, ast.Return) and node.value is not None:
                found.append("precision" if self._type(node.value) else "")
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                name = self._names.dotted(node.value.func)
                found.append("precision" if name in _SETTERS else "")
            elif isinstance(node, (ast.For, ast.With, ast.If)):
                found.append(self.touched(node.body))
        return _strongest(found)

    def _assigned(self, target: ast.expr, value: ast.expr) -> str:
        name = self._names.dotted(target)
        if name.startswith("torch.backends."):
            return "precision"
        if self._type(value):
            return "precision"
        change = self._transforms.made_from(value, target)
        if change is not None:
            return change.how or ("cut" if _cuts(change) else "")
        if isinstance(target, ast.Attribute) and isinstance(self._names.fold(value), (int, float)):
            return "collection"
        if isinstance(target, ast.Subscript):
            if isinstance(target.slice, (ast.Slice, ast.Tuple)):
                return "fill"  # a part of an array
            key = self._names.fold(target.slice)
            return "settings" if isinstance(key, str) and key in words.SETTINGS else ""
        if self._settings(value):
            return "settings"
        kinds = self._reading.bits(target) & (_DATA | words.RATE | words.WEIGHT | words.NORM)
        return "data" if kinds else ""

    def _augmented(self, node: ast.AugAssign) -> str:
        if isinstance(node.op, ast.BitOr) and self._settings(node.value):
            return "settings"
        if isinstance(node.op, (ast.Mult, ast.Div)):
            number = self._names.fold(node.value)
            turned = isinstance(number, (int, float)) and number < 0
            return "flip" if turned else "zero" if number == 0 else "scale"
        return ""


_SETTERS = frozenset(
    (
        "torch.set_default_dtype",
        "torch.set_default_tensor_type",
        "torch.set_float32_matmul_precision",
        "torch.set_num_threads",
        "torch.set_flush_denormal",
    )
)
_STRENGTH = (*ORDER, "settings", "precision", "number", "data", "collection")


def _plain(node: ast.expr) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))


def _collected(node: ast.expr) -> bool:
    """A set, list or dictionary of the text that is no list of texts."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset") and not node.args
    parts = node.elts if isinstance(node, (ast.Set, ast.List, ast.Tuple)) else []
    return any(isinstance(one, ast.Constant) and isinstance(one.value, (int, float)) for one in parts)


def _cuts(change: Change | None) -> bool:
    return change is not None and change.how == "cut"


def _strongest(found: list[str]) -> str:
    known = [one for one in found if one in _STRENGTH or one == "cut"]
    return min(known, key=lambda one: _STRENGTH.index(one) if one in _STRENGTH else 99, default="")
