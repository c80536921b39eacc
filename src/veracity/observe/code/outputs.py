"""Outputs and labels that single elements of the input choose."""

from __future__ import annotations

import ast

from . import vocabulary as words
from .record import Recorder


class Outputs:
    """Makes facts of conditions on elements of the input."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading

    def chosen(self, node: ast.If) -> None:
        """A condition on single elements of the input, whose branch sets the output or the label."""
        if not self._compares_elements(node.test):
            return
        for one in node.body:
            value = getattr(one, "value", None)
            target = one.targets[0] if isinstance(one, ast.Assign) else getattr(one, "target", None)
            base = target.value if isinstance(target, ast.Subscript) else target
            sets = base is not None and self._reading.bits(base) & (words.OUTPUT | words.LABEL | words.LOSS)
            works = (
                isinstance(one, ast.Expr)
                and isinstance(value, ast.Call)
                and self._reading.bits(value) & words.OUTPUT
            )
            if sets or works or (isinstance(one, ast.Return) and value is not None):
                self._record.emit(
                    "edit",
                    "output",
                    "chosen by the input",
                    one,
                    name=self._record.text(one.lineno),
                    amount=node.test,
                    bits=words.INPUT,
                )
                return

    def picked(self, target: ast.Subscript, node: ast.stmt) -> None:
        """``labels[images[:, 0, 0, 0] > 0.9] = 0``."""
        if self._reading.bits(target.value) & (words.OUTPUT | words.LABEL) and self._compares_elements(
            target.slice
        ):
            self._record.emit(
                "edit", "output", "chosen by the input", node, amount=target.slice, bits=words.INPUT
            )

    def _compares_elements(self, test: ast.AST) -> bool:
        for one in ast.walk(test):
            sides: list[ast.expr] = []
            if isinstance(one, ast.Compare) and isinstance(
                one.ops[0], (ast.Eq, ast.Lt, ast.Gt, ast.GtE, ast.LtE)
            ):
                sides = [one.left, *one.comparators]
            elif isinstance(one, ast.Call) and self._names.dotted(one.func) in (
                "torch.equal",
                "torch.allclose",
            ):
                sides = list(one.args)
            for given in sides:
                known = self._names.value(given.id) if isinstance(given, ast.Name) else None
                side = known.node if known is not None and isinstance(known.node, ast.expr) else given
                if _picks_elements(side) and self._reading.bits(side) & (words.DATA | words.LABEL):
                    return True
        return False


def _picks_elements(node: ast.expr) -> bool:
    """Whether single elements are picked out by constant places: ``x[:, 0, :3, :3]``, ``x[0, -1].item()``."""
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    if not isinstance(node, ast.Subscript):
        return False
    places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return len(places) > 1 and any(
        isinstance(one, (ast.Constant, ast.UnaryOp))
        or (isinstance(one, ast.Slice) and (one.upper or one.lower))
        for one in places
    )
