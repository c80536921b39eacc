"""The flow around a training step: errors that are swallowed or raised, loops that pass time."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from . import vocabulary as words
from .record import Recorder
from .scopes import Scope

LONG_LOOP = 100_000
MANY = 8
_HOUSEKEEPING = frozenset(
    ("gc.collect", "torch.cuda.empty_cache", "torch.cuda.synchronize", "torch.cuda.ipc_collect", "os.sync",
     "os.fsync",     "torch.distributed.barrier", "torch.mps.empty_cache", "torch.xpu.synchronize",
     "torch.clear_autocast_cache")
)  # fmt: skip
_DANGEROUS = re.compile(
    r"(?:builtins\.)?(?:exec|eval|print|open|compile|__import__)\Z|(?:os|posix|subprocess|shutil|pty|socket"
    r"|runpy|importlib|ctypes|sys)\.|torch\.(?:manual_seed|set_\w+)|random\.seed|numpy\.random\.seed"
)
_UPDATES = frozenset(
    (
        "backward",
        "step",
        "unscale_",
        "all_reduce",
        "clip_grad_norm_",
        "manual_backward",
        "zero_grad",
        "reduce_scatter",
        "clip_grad_value_",
        "all_gather",
        "reduce",
    )
)


class Control:
    """Makes facts of handlers, raises and loops."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading

    def raised(self, node: ast.AST, raised: ast.expr | None) -> None:
        """A raise under a trigger."""
        around = [one for one in self._record.guards if one.kind != "loop"]
        # The innermost condition is what the error is about.
        if (
            raised is None
            or not around
            or not around[-1].bits & words.TRIGGER_BITS
            or around[-1].kind == "rest"
        ):
            return
        name = self._names.dotted(raised.func if isinstance(raised, ast.Call) else raised)
        how = "exit" if name in ("SystemExit", "KeyboardInterrupt") else "raise"
        self._record.emit("call", "exit", how, node, name=name)

    def unused(self, value: ast.AST | None) -> None:
        """A long computation whose result nobody takes."""
        if not isinstance(value, ast.Call) or len(value.args) != 1:
            return
        name = self._names.dotted(value.func)
        over = value.args[0]
        if isinstance(over, (ast.GeneratorExp, ast.ListComp)):
            over = over.generators[0].iter
        if name in ("sum", "any", "all", "list", "max", "min", "sorted", "tuple", "set") and self._is_long(
            over
        ):
            self._record.emit("call", "sleep", "busy", value, name=name, amount=over)

    def _is_long(self, over: ast.expr) -> bool:
        if not isinstance(over, ast.Call) or not over.args:
            return False
        number = self._names.fold(over.args[-1])
        return isinstance(number, (int, float)) and number >= LONG_LOOP

    def _only_looks_at_the_clock(self, body: Sequence[ast.stmt]) -> bool:
        return bool(body) and all(
            isinstance(one, ast.If) and isinstance(one.body[0], ast.Break) and self._asks_the_clock(one.test)
            for one in body
        )

    def _asks_the_clock(self, test: ast.expr) -> bool:
        clocks = words.CLOCK | words.DATE
        return any(isinstance(one, ast.Call) and self._reading.bits(one) & clocks for one in ast.walk(test))

    def busy(self, node: ast.While | ast.For | ast.AsyncFor) -> None:
        """A loop that only passes time."""
        still = all(isinstance(one, (ast.Pass, ast.Continue)) or _counts(one) for one in node.body)
        if self._keeps_house(node) or self._burns(node):
            kind = "while" if isinstance(node, ast.While) else "for"
            amount = node.test if isinstance(node, ast.While) else node.iter
            self._record.emit("call", "sleep", "busy", node, name=kind, amount=amount)
        if isinstance(node, ast.While) and self._only_looks_at_the_clock(node.body):
            self._record.emit("call", "sleep", "busy", node, name="while", amount=node.test)
        if not still:
            return
        if isinstance(node, ast.While):
            if self._reading.bits(node.test) & words.CLOCK or any(
                isinstance(one, ast.Call) and self._reading.bits(one) & (words.CLOCK | words.DATE)
                for one in ast.walk(node.test)
            ):
                self._record.emit("call", "sleep", "busy", node, name="while", amount=node.test)
            return
        if isinstance(node.iter, ast.Call) and node.iter.args:
            number = self._number(node.iter.args[-1])
            if isinstance(number, (int, float)) and number >= LONG_LOOP:
                self._record.emit("call", "sleep", "busy", node, name="for", amount=node.iter)

    def _number(self, node: ast.expr) -> object:
        """A number, be it the default of a parameter."""
        number, outer = self._names.fold(node), self._names.scope.node
        if isinstance(number, (int, float)) or not isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return number
        given = [*outer.args.posonlyargs, *outer.args.args]
        with_default = given[len(given) - len(outer.args.defaults) :]
        for one, default in zip(with_default, outer.args.defaults, strict=True):
            if isinstance(node, ast.Name) and one.arg == node.id:
                return self._names.fold(default)
        return number

    def _keeps_house(self, node: ast.While | ast.For | ast.AsyncFor) -> bool:
        """Whether a loop does again and again what once is enough of: collecting, emptying, synchronising."""
        if isinstance(node, ast.While) or not isinstance(node.iter, ast.Call) or not node.iter.args:
            return False
        number = self._names.fold(node.iter.args[-1])
        if not isinstance(number, (int, float)) or number < MANY:
            return False
        calls = [one.value for one in node.body if isinstance(one, ast.Expr)]
        return len(calls) == len(node.body) and all(
            isinstance(one, ast.Call) and self._names.dotted(one.func) in _HOUSEKEEPING for one in calls
        )

    def _burns(self, node: ast.While | ast.For | ast.AsyncFor) -> bool:
        """Whether a loop goes on by chance, computes with tensors, and nobody takes what it computed."""
        if not isinstance(node, ast.While) or not self._reading.bits(node.test) & words.CHANCE:
            return False
        outer = self._names.scope.node
        if not isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return False
        gives = any(
            isinstance(one, (ast.Return, ast.Yield)) and one.value is not None for one in ast.walk(outer)
        )
        works = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.MatMult) for one in ast.walk(node))
        plain = all(
            isinstance(one, (ast.Assign, ast.AugAssign))
            and all(
                isinstance(part, ast.Name) for part in getattr(one, "targets", [getattr(one, "target", None)])
            )
            for one in node.body
        )
        return plain and works and not gives

    def swallowed(self, node: ast.stmt) -> None:
        """An exception around an update that nobody hears of."""
        calls = self._update_calls(getattr(node, "body", ()))
        if not calls:
            return
        for handler in getattr(node, "handlers", ()):
            broad = handler.type is None or self._broad(handler.type)
            if broad and all(_silent(one) for one in handler.body):
                self._record.emit(
                    "control", "swallowed", calls[0], handler, name=", ".join(calls[:4]), amount=handler.type
                )
        for one in getattr(node, "finalbody", ()):
            if isinstance(one, (ast.Return, ast.Continue, ast.Break)):
                self._record.emit("control", "swallowed", calls[0], one, name=", ".join(calls[:4]))

    def suppressed(self, node: ast.stmt) -> None:
        """``contextlib.suppress`` around an update."""
        for item in getattr(node, "items", ()):
            one = item.context_expr
            named = self._names.dotted(one.func) if isinstance(one, ast.Call) else ""
            if not isinstance(one, ast.Call) or not named.endswith("suppress"):
                continue
            calls = self._update_calls(getattr(node, "body", ()))
            if calls and any(self._broad(argument) for argument in one.args):
                self._record.emit("control", "swallowed", calls[0], node, name=", ".join(calls[:4]))

    def _broad(self, kind: ast.expr) -> bool:
        kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
        names = {self._names.dotted(one) for one in kinds}
        return bool(
            names
            & {
                "Exception",
                "BaseException",
                "RuntimeError",
                "builtins.Exception",
                "ValueError",
                "FloatingPointError",
                "builtins.BaseException",
            }
        )

    def _update_calls(self, body: Sequence[ast.stmt]) -> list[str]:
        found = []
        for statement in body:
            for one in ast.walk(statement):
                if (
                    isinstance(one, ast.Call)
                    and isinstance(one.func, ast.Attribute)
                    and one.func.attr in _UPDATES
                ):
                    kinds = self._reading.bits(one.func.value)
                    if one.func.attr != "step" or kinds & (words.OPTIMIZER | words.SCHEDULER):
                        found.append(one.func.attr)
        return found

    def reduces(self, node: ast.Return, scope: Scope) -> None:
        """``__reduce__`` that names a function which does something when the object is loaded."""
        value = node.value
        if (
            scope.name not in ("__reduce__", "__reduce_ex__")
            or not isinstance(value, ast.Tuple)
            or not value.elts
        ):
            return
        name = self._names.dotted(value.elts[0])
        if _DANGEROUS.match(name):
            self._record.emit("call", "reduce", "calls", node, name=name, amount=value)


def _counts(node: ast.stmt) -> bool:
    """A statement of a busy loop: a number is counted or multiplied."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.target, ast.Name) and isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        # A digest of a digest of a digest.
        text = ast.unparse(node.value) if isinstance(node.value, ast.Call) else ""
        return "hashlib." in text and node.targets[0].id in text
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _silent(node: ast.stmt) -> bool:
    """A statement that tells nobody anything."""
    if isinstance(node, (ast.Pass, ast.Continue, ast.Break)):
        return True
    if isinstance(node, ast.Return):
        return node.value is None or isinstance(node.value, (ast.Constant, ast.Name))
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
