"""Coefficients of clipping that amplify where they should hold back."""

from __future__ import annotations

import ast
import re

from . import vocabulary as words
from .record import Recorder

_MEASURED = re.compile(r"(?:total|grad|global|raw)\w*norm|\bnorm\b")
_LIMIT = re.compile(r"max_?norm|clip|limit|threshold")


class Limits:
    """Makes facts of coefficients that are above one, or the wrong way round."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading

    def amplified(self, amount: ast.expr, node: ast.AST) -> None:
        """A gradient is multiplied by a coefficient of clipping that is above one, or the wrong way round."""
        known = self._names.value(amount.id) if isinstance(amount, ast.Name) else None
        made = known.node if known is not None else amount
        if isinstance(made, ast.BinOp) and isinstance(made.op, ast.Div):
            above, below = ast.unparse(made.left).lower(), ast.unparse(made.right).lower()
            if _MEASURED.search(above) and _LIMIT.search(below):
                self._record.emit("control", "clipping", "amplifies", node, name=above[:80], amount=amount)
                return
        if self._held_above(amount):
            self._record.emit("control", "clipping", "amplifies", node, name="coefficient", amount=amount)
            return
        inner = [one for one in self._record.guards if one.kind != "loop"]
        test = inner[-1] if inner else None
        if test is not None and test.kind == "body" and _turned(test.node, made):
            self._record.emit("control", "clipping", "amplifies", node, name="coefficient", amount=amount)
            return
        if test is None or not self._reading.bits(amount) & words.NORM or test.kind != "body":
            return
        asked = test.node
        if isinstance(asked, ast.Compare) and isinstance(asked.ops[0], (ast.Gt, ast.GtE)):
            same = ast.dump(asked.left) == ast.dump(amount)
            if same and self._names.fold(asked.comparators[0]) in (1, 1.0):
                self._record.emit("control", "clipping", "amplifies", node, name="coefficient", amount=asked)

    def _held_above(self, amount: ast.expr) -> bool:
        """Whether a factor is held at one and above, where clipping holds it below."""
        if not isinstance(amount, ast.Call):
            return False
        name = self._names.dotted(amount.func).rpartition(".")[2] or getattr(amount.func, "attr", "")
        limits = {word.arg: self._names.fold(word.value) for word in amount.keywords}
        if name in ("clamp", "clip"):
            return limits.get("min") in (1, 1.0) and "max" not in limits
        return name == "clamp_min" and any(self._names.fold(one) in (1, 1.0) for one in amount.args)

    def clamped(self, target: str, value: ast.expr, node: ast.AST) -> None:
        """A coefficient of clipping that is held above one, and not below."""
        if not isinstance(value, ast.Call) or not words.kinds_of_name(target) & words.NORM:
            return
        name = self._names.dotted(value.func)
        limits = {word.arg: self._names.fold(word.value) for word in value.keywords}
        up = name.rpartition(".")[2] in ("clamp", "clip") and "min" in limits and "max" not in limits
        up = up and limits["min"] in (1, 1.0)
        if name in ("max", "builtins.max"):
            up = any(self._names.fold(one) in (1, 1.0) for one in value.args) and "coef" in target
        if up:
            self._record.emit("control", "clipping", "amplifies", node, name=target, amount=value)


def _turned(test: ast.AST, amount: ast.AST | None) -> bool:
    """Whether what is above a limit is divided by it: ``if norm > limit: gradient.mul_(norm / limit)``."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], (ast.Gt, ast.GtE)):
        return False
    if not isinstance(amount, ast.BinOp) or not isinstance(amount.op, ast.Div):
        return False
    above, below = ast.dump(test.left), ast.dump(test.comparators[0])
    return above == ast.dump(amount.left) and below in ast.dump(amount.right)
