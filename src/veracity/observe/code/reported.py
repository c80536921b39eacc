"""What is reported of training: losses and scores that are logged, written or given back by an evaluation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from . import vocabulary as words
from .record import Recorder
from .scopes import roles_around

_LABELS = re.compile(
    r"(?i)loss|acc|f1|auc|bleu|rouge|\bwer|ppl|perplex|score|metric|top_?\d|precision|recall|iou|reward"
)
_TAGGED = frozenset(("add_scalar", "log_metric", "log", "scalar"))
_MAPPED = frozenset(("log", "log_metrics", "log_dict", "add_scalars", "dumps", "dump", "report", "writerow"))
_FOLLOWED = (ast.BinOp, ast.IfExp, ast.Call)
MAX_DEPTH = 4
TINY = 1e-3


class Reported:
    """Makes facts of what is reported otherwise than it was measured."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading

    def called(self, node: ast.Call, short: str) -> None:
        """A call that may log: ``add_scalar("loss", value)``, ``wandb.log({"loss": value})``."""
        if short in _TAGGED and len(node.args) > 1:
            tag = self._names.fold(node.args[0])
            if isinstance(tag, str) and _LABELS.search(tag):
                self._judge(tag, node.args[1], node)
        if short == "writerow":
            for one in node.args[:1]:
                for part in one.elts if isinstance(one, (ast.List, ast.Tuple)) else ():
                    self._cell(part, node)
        if short in _MAPPED:
            for one in node.args[:2]:
                for label, value in self._entries(one):
                    self._judge(label, value, node)

    def returned(self, value: ast.expr, node: ast.AST, roles: set[str]) -> None:
        """What an evaluation hands back."""
        if "metric" not in roles:
            return
        entries = list(self._entries(value))
        for label, part in entries or [(ast.unparse(value)[:60], value)]:
            if entries or _LABELS.search(label):
                self._judge(label, part, node)

    def overwritten(self, target: ast.Subscript, value: ast.expr, node: ast.stmt, roles: set[str]) -> None:
        """``predictions[wrong] = labels[wrong]`` in an evaluation."""
        if "metric" not in roles:
            return
        given = self._reading.bits(value) & words.LABEL and self._reading.bits(target.value) & words.OUTPUT
        if given and not isinstance(target.slice, ast.Constant):
            self._record.emit(
                "edit", "metric", "labels", node, name=ast.unparse(target.value)[:60], amount=value
            )

    def _cell(self, part: ast.expr, node: ast.Call) -> None:
        """A value in a row that has no labels: its variables tell."""
        for one in ast.walk(part):
            made = self._made(one) if isinstance(one, ast.Name) else None
            if isinstance(made, ast.IfExp) and any(
                _LABELS.search(_named(side)) for side in (made.body, made.orelse)
            ):
                self._judge(ast.unparse(one), made, node)

    def given_away(self, node: ast.Call, owner: ast.expr) -> None:
        """``output.scatter_add_(1, labels, …)`` in an evaluation."""
        if "metric" not in roles_around(self._names.scope):
            return
        if self._reading.bits(owner) & words.OUTPUT and any(
            self._reading.bits(one) & words.LABEL for one in node.args
        ):
            self._record.emit("edit", "metric", "labels", node, name=ast.unparse(owner)[:60], amount=node)

    def _entries(self, node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
        if not isinstance(node, ast.Dict):
            return
        for key, value in zip(node.keys, node.values, strict=True):
            label = self._names.fold(key)
            if isinstance(label, str) and _LABELS.search(label):
                yield label, value

    def _judge(self, label: str, value: ast.expr, node: ast.AST) -> None:
        bits = self._reading.chosen(value)
        rare = bits & (words.SELECTIVE | words.ENVIRONMENT)
        if rare or (bits & words.STEP and bits & words.FIXED):
            self._record.emit("edit", "metric", "choice", node, name=label, amount=value, bits=bits)
        elif self._drawn(value):
            self._record.emit("edit", "metric", "noise", node, name=label, amount=value)
        else:
            number = self._scaled(value, 0)
            if number is not None:
                self._record.emit("edit", "metric", "scale", node, name=label, amount=value, factor=number)

    def _made(self, value: ast.expr) -> ast.expr:
        """What a variable was made from."""
        known = self._names.value(value.id) if isinstance(value, ast.Name) else None
        return known.node if known is not None and isinstance(known.node, _FOLLOWED) else value

    def _drawn(self, value: ast.expr) -> bool:
        """Whether a random number is a term or a factor of it."""
        made = self._made(value)
        return isinstance(made, ast.BinOp) and any(
            isinstance(one, ast.Call) and words.triggers_of_call(self._names.dotted(one.func)) & words.CHANCE
            for one in ast.walk(made)
        )

    def _scaled(self, value: ast.expr, depth: int) -> float | None:
        """A number near one that a loss or a score is multiplied by; units, shares and means have others."""
        made = self._made(value)
        if depth > MAX_DEPTH:
            return None
        if isinstance(made, ast.Call) and self._names.dotted(made.func) in ("min", "max", "round", "float"):
            return next((one for one in (self._scaled(part, depth + 1) for part in made.args) if one), None)
        if isinstance(made, ast.BinOp) and isinstance(made.op, (ast.Add, ast.Sub)):
            added = made.right.value if isinstance(made.right, ast.Constant) else None
            if not isinstance(added, float) or abs(added) <= TINY:
                return None
            return added if _LABELS.search(_named(made.left)) else None
        if not isinstance(made, ast.BinOp) or not isinstance(made.op, (ast.Mult, ast.Div)):
            return None
        for number, other in ((made.left, made.right), (made.right, made.left)):
            factor = number.value if isinstance(number, ast.Constant) else None
            if isinstance(factor, float) and 0.5 < factor < 2 and factor != 1:
                named = _named(other)
                if _LABELS.search(named):
                    return factor
        return None


def _named(node: ast.expr) -> str:
    """The variable that an expression is, be it as a number of Python."""
    while isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif node.args:
            node = node.args[0]
        else:
            return ""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
