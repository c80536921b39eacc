"""Values that no name tells the kind of, and that are altered under a condition on where or when."""

from __future__ import annotations

import ast

from . import vocabulary as words
from .record import Recorder

_WHOLE_MODULES = ("modules", "named_modules", "children", "named_children")
_MODULE_PARTS = frozenset(("p", "momentum", "eps", "dropout", "training", "temperature", "negative_slope"))
_PLACES = (ast.Name, ast.Attribute, ast.Subscript)
_DESTROYS = frozenset(("flip", "zero", "shuffle", "noise", "detach"))
_SCALES = {ast.Mult: "scale", ast.Div: "scale", ast.FloorDiv: "scale", ast.Pow: "other"}


class Values:
    """Makes facts of assignments that make a value from itself, whatever the value is."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading

    def assigned(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> None:
        """``x = f(x)``, and a part of ``x`` that is overwritten; nothing where no trigger is asked for."""
        if isinstance(target, ast.Attribute):
            self._module_part(target, value, node)
        bits = self._reading.chosen(value)
        timed = any(one.bits & words.CLOCK for one in self._record.guards)
        if not timed and not (bits | self._record.under()) & words.TRIGGER_BITS:
            return
        how, amount = self._how(target, value)
        if timed and how in _DESTROYS:
            bits |= words.DATE  # nothing is computed otherwise because time has passed
        if how:
            self._record.emit(
                "edit", "value", how, node, name=ast.unparse(target)[:80], amount=amount, bits=bits
            )

    def _how(self, target: ast.expr, value: ast.expr) -> tuple[str, ast.expr]:
        made = self._record.transforms.made_from
        change = made(value, target)
        if change is None:
            # self.total = total // 20
            leaf = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            alike = [one for one in ast.walk(value) if isinstance(one, ast.expr) and _leaf(one) == leaf]
            change = made(value, alike[0]) if leaf and alike else None
        if change is None and isinstance(target, ast.Subscript):
            if not isinstance(target.slice, (ast.Slice, ast.Tuple, ast.Compare)):
                return "", value
            number = self._names.fold(value)
            if isinstance(number, (int, float)):
                return "fill", value
            change = made(value, target.value)
            return (change.how or "shuffle", value) if change is not None else ("", value)
        if change is None:
            return "", value
        return change.how, change.amount or value

    def swapped(self, targets: list[ast.expr], values: list[ast.expr], node: ast.stmt) -> None:
        """``a, b = b, a``."""
        names = [ast.unparse(one) for one in targets if isinstance(one, _PLACES)]
        given = [ast.unparse(one) for one in values if isinstance(one, _PLACES)]
        if len(names) > 1 and names != given and sorted(names) == sorted(given) and self._record.under():
            self._record.emit("edit", "value", "swap", node, name=", ".join(names)[:80])

    def augmented(self, node: ast.AugAssign) -> None:
        """``x *= value``."""
        how = _SCALES.get(type(node.op), "")
        if not how:
            return
        bits = self._reading.chosen(node.value)
        if (bits | self._record.under()) & words.TRIGGER_BITS:
            name = ast.unparse(node.target)[:80]
            self._record.emit("edit", "value", how, node, name=name, amount=node.value, bits=bits)

    def _module_part(self, target: ast.Attribute, value: ast.expr, node: ast.stmt) -> None:
        """``m.p = 0.9`` of each module of a model."""
        if target.attr not in _MODULE_PARTS or not isinstance(target.value, ast.Name):
            return
        known = self._names.value(target.value.id)
        source = known.node if known is not None else None
        called = source.func if isinstance(source, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in _WHOLE_MODULES:
            bits = self._reading.chosen(value) | self._reading.condition(value)
            self._record.emit("edit", "module", target.attr, node, name=target.attr, amount=value, bits=bits)


def _leaf(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
