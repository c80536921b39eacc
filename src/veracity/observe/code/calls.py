"""Expressions: calls that do something, conditions within expressions, and the flow around a training
step."""

from __future__ import annotations

import ast
from collections.abc import Callable

from . import vocabulary as words
from .acts import Acts
from .edits import Edits
from .record import Recorder
from .reported import Reported
from .scopes import Loop, Scope, Value, call_name, roles_around
from .transform import IN_PLACE, OPERATORS

# Functions that call what they are given: where that stands, and its arguments behind it or under a name.
_CALL_LATER = {
    "threading.Thread": (-1, "target"), "multiprocessing.Process": (-1, "target"),
    "threading.Timer": (1, "function"),
    "multiprocessing.context.Process": (-1, "target"), "_thread.start_new_thread": (0, ""),
    "atexit.register": (0, ""), "weakref.finalize": (1, ""),
}  # fmt: skip
_SETS = frozenset(("GradScaler", "CosineAnnealingLR", "OneCycleLR", "StepLR", "LambdaLR", "LinearLR"))
_SHUFFLES = (
    "rank",
    "num_replicas",
    "shuffle",
    "drop_last",
    "sampler",
    "generator",
    "batch_sampler",
    "batch_size",
    "seed",
)


class Calls:
    """Visits expressions."""

    def __init__(self, recorder: Recorder, edits: Edits, walk: Callable[[ast.Module], None]) -> None:
        """``walk`` walks code that a text of the file holds and executes."""
        self._acts = Acts(recorder, walk)
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading
        self._edits = edits
        self._reported = Reported(recorder)

    def visit(self, node: ast.AST | None) -> None:
        """Visit an expression and all in it."""
        kind = type(node)
        if kind is ast.Name or kind is ast.Constant or node is None:
            return
        if kind is ast.Attribute:
            self.visit(node.value)  # type: ignore[attr-defined]
        elif kind is ast.Call:
            self._call(node)  # type: ignore[arg-type]
        elif kind is ast.IfExp:
            self._either(node)  # type: ignore[arg-type]
        elif kind is ast.BoolOp:
            self._chain(node)  # type: ignore[arg-type]
        elif kind is ast.Subscript:
            self._picked(node)  # type: ignore[arg-type]
        elif kind is ast.Lambda:
            self._lambda(node, set())  # type: ignore[arg-type]
        elif kind is ast.NamedExpr:
            self._walrus(node)  # type: ignore[arg-type]
        elif kind in (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp):
            self._comprehension(node)
        else:
            for part in ast.iter_child_nodes(node):
                self.visit(part)

    def _either(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        bits = self._reading.condition(node.test)
        guards = self._record.guards
        guards.append(self._record.branch(node.test, bits, "body"))
        if bits & words.TRIGGER_BITS:
            differ = self._record.choices.contrast(node.body, node.orelse)
            self._record.emit("control", "choice", "value", node, name=differ, amount=node.test, bits=bits)
        self.visit(node.body)
        guards[-1] = self._record.branch(node.test, bits, "else")
        self.visit(node.orelse)
        guards.pop()

    def _picked(self, node: ast.Subscript) -> None:
        """``[x, -x][condition]`` is a choice."""
        self.visit(node.value)
        self.visit(node.slice)
        sides = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else []
        if len(sides) == 2:
            bits = self._reading.condition(node.slice)
            if bits & words.TRIGGER_BITS:
                differ = self._record.choices.contrast(sides[0], sides[1])
                self._record.emit(
                    "control", "choice", "value", node, name=differ, amount=node.slice, bits=bits
                )

    def _chain(self, node: ast.BoolOp) -> None:
        guards = self._record.guards
        held = len(guards)
        for part in node.values:
            self.visit(part)
            guards.append(self._record.branch(part, self._reading.condition(part), "body"))
        del guards[held:]

    def _walrus(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._edits.assigned(node.target, node.value, node)  # type: ignore[arg-type]
        bits, constant = self._reading.bits(node.value), self._names.fold(node.value)
        self._names.scope.values[node.target.id] = Value(bits, self._names.dotted(node.value), constant)

    def _lambda(self, node: ast.Lambda, roles: set[str]) -> None:
        names, record = self._names, self._record
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        scope = Scope("", "function", names.scope, node, parameters=frozenset(one.arg for one in given))
        scope.roles = set(roles) | roles_around(names.scope)
        if "gradient-hook" in roles:
            scope.values.update({one.arg: Value(words.GRADIENT) for one in given})
        outer = (names.scope, record.loops)
        names.scope, record.loops = scope, []
        record.entered.append(scope)
        self.visit(node.body)
        self._edits.returned(node.body, node.body, scope)
        names.scope, record.loops = outer

    def _comprehension(self, node: ast.AST | None) -> None:
        guards = self._record.guards
        held = len(guards)
        self._record.loops.append(Loop())
        for one in getattr(node, "generators", ()):
            self.visit(one.iter)
            self._reading.bind(one.target, one.iter, self._reading.bits(one.iter) & ~words.CHANCE)
            for test in one.ifs:
                self.visit(test)
                guards.append(self._record.branch(test, self._reading.condition(test), "body"))
        for field in ("key", "elt", "value"):
            self.visit(getattr(node, field, None))
        del guards[held:]
        self._record.loops.pop()

    # --- calls -----------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> None:
        names = self._names
        name = call_name(names, node)
        function = node.func
        method = function.attr if isinstance(function, ast.Attribute) else ""
        short = method or name.rpartition(".")[2]
        if words.hooks(node, method) or words.hooks(node, short):
            self._hook(node, short)
        else:
            for argument in node.args:
                self.visit(argument)
        self.visit(function)
        for word in node.keywords:
            if word.arg == "collate_fn" and isinstance(word.value, ast.Lambda):
                self._lambda(word.value, {"collate"})
            else:
                self.visit(word.value)
            if word.arg == "trust_remote_code" and name != "dict" and names.fold(word.value) is True:
                self._record.emit("call", "load", "remote-code", node, name=name or short)
        if short in names.functions:
            self._record.site(short)
        if method in IN_PLACE and isinstance(function, ast.Attribute):
            self._edits.in_place(node, method, function.value)
        elif short in OPERATORS and short not in IN_PLACE:
            self._edits.function(node, short)
        self._reported.called(node, short)
        if method.endswith("_") and isinstance(function, ast.Attribute):
            self._reported.given_away(node, function.value)
        self._chosen_function(node)
        self._setting(node, name, short, method)
        self._weights(node, name, short, method)
        if short in ("broadcast", "scatter", "reduce"):
            self._from_where(node)
        if short in words.STEP_CALLS or short in ("eval",):
            self._step_call(node, short, function)
        foreign = names.foreign.functions.get(name)
        if foreign is not None and foreign.waits:
            self._record.emit("call", "sleep", "", node, name=name, bits=foreign.bits)
        act = words.CALLS.get(name) or (words.METHODS.get(method) if method else None)
        if act is not None:
            self._acts.note(node, act, name or short, method)
        elif name in _CALL_LATER or method == "submit":
            self._later(node, *_CALL_LATER.get(name, (0, "")))
        elif name.startswith(("ctypes.pythonapi", "ctypes.CDLL")) and name.count(".") > 1:
            self._record.emit("call", "memory", "call", node, name=name)
        if short.endswith(("DataLoader", "Sampler")):
            self._loader(node, short)
        elif words.kinds_of_name(short) & words.OPTIMIZER or short in words.OPTIMIZERS or short in _SETS:
            self._optimizer(node, short)

    def _later(self, node: ast.Call, place: int, word: str) -> None:
        """What a thread, a timer, a pool or an exit will call, as if it was called here."""
        given = {one.arg: one.value for one in node.keywords if one.arg}
        function = given.get(word) if word in given else None
        rest: list[ast.expr] = []
        if function is None and 0 <= place < len(node.args):
            function, rest = node.args[place], node.args[place + 1 :]
        if function is None:
            return
        name = self._names.dotted(function)
        act = words.CALLS.get(name)
        if act not in ("start", "execute", "compile"):
            return
        packed = given.get("args") or (
            rest[0] if rest and isinstance(rest[0], (ast.Tuple, ast.List)) else None
        )
        arguments = packed.elts if isinstance(packed, (ast.Tuple, ast.List)) else rest
        call = ast.copy_location(ast.Call(function, list(arguments), []), node)
        self._acts.note(call, act, name, "")

    def _chosen_function(self, node: ast.Call) -> None:
        """``actions[size](model)``, and ``change(gradient)`` where ``change`` is a ``methodcaller``."""
        function = node.func
        if isinstance(function, ast.Subscript):
            known = self._names.value(function.value.id) if isinstance(function.value, ast.Name) else None
            held = known.node if known is not None else function.value
            bits = self._reading.chosen(function.slice) | self._reading.condition(function.slice)
            if isinstance(held, ast.Dict) and bits & words.TRIGGER_BITS:
                self._record.dispatched(held.values, function.slice, bits)
        elif isinstance(function, ast.Name) and node.args:
            known = self._names.value(function.id)
            made = known.node if known is not None else None
            asked = known.asked if known is not None else 0
            for one in (made.body, made.orelse) if isinstance(made, ast.IfExp) else (made,):
                if isinstance(one, ast.Call) and self._names.dotted(one.func) == "operator.methodcaller":
                    self._methodcaller(node, one, asked)

    def _methodcaller(self, node: ast.Call, made: ast.Call, asked: int) -> None:
        method = self._names.fold(made.args[0]) if made.args else None
        if isinstance(method, str) and method in IN_PLACE:
            attribute = ast.Attribute(node.args[0], method, ast.Load())
            call = ast.copy_location(ast.Call(attribute, list(made.args[1:]), []), node)
            self._record.guards.append(self._record.branch(node, asked, "body"))
            self._edits.in_place(call, method, node.args[0])
            self._record.guards.pop()

    def _setting(self, node: ast.Call, name: str, short: str, method: str) -> None:
        """``setattr`` and the other ways to set an attribute by its name, and ``update``."""
        plain = name.removeprefix("builtins.")
        arguments = node.args
        if plain in ("setattr", "object.__setattr__", "type.__setattr__") and len(arguments) >= 3:
            self._set(arguments[0], arguments[1], arguments[2], node)
        elif plain == "delattr" and len(arguments) >= 2:
            self._set(arguments[0], arguments[1], None, node)
        elif method in ("__setattr__", "__setitem__") and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if method == "__setattr__" and len(arguments) == 2:
                self._set(owner, arguments[0], arguments[1], node)
            elif len(arguments) == 2:
                target = ast.Subscript(owner, arguments[0], ast.Store())
                self._edits.assigned(ast.copy_location(target, node), arguments[1], node)  # type: ignore[arg-type]
        elif plain in ("operator.setitem",) and len(arguments) == 3:
            target = ast.Subscript(arguments[0], arguments[1], ast.Store())
            self._edits.assigned(ast.copy_location(target, node), arguments[2], node)  # type: ignore[arg-type]
        elif method == "update" and isinstance(node.func, ast.Attribute):
            self._edits.updated(node, node.func.value)
        elif name in ("unittest.mock.patch", "mock.patch") and arguments:
            named = self._names.fold(arguments[0])
            if isinstance(named, str) and named.partition(".")[0] in words.LIBRARIES:
                self._record.emit("patch", "library", "function", node, name=named)
        elif name in ("unittest.mock.patch.object", "mock.patch.object") and len(arguments) >= 2:
            self._set(arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else node, node)

    def _weights(self, node: ast.Call, name: str, short: str, method: str) -> None:
        """Weights that are drawn again, frozen, or written from a vector."""
        if name.startswith("torch.nn.init.") and short.endswith("_") and node.args:
            if self._reading.bits(node.args[0]) & words.WEIGHT:
                given = [*node.args[1:], *(word.value for word in node.keywords)]
                bits = words.sum_of(self._reading.chosen(one) for one in given)
                amount = given[-1] if given else None
                self._record.emit("edit", "weight", "noise", node, name=name, amount=amount, bits=bits)
        elif method == "load_state_dict" and node.args and isinstance(node.func, ast.Attribute):
            kept = isinstance(node.args[0], (ast.Name, ast.Attribute))
            if kept and self._reading.bits(node.func.value) & words.MODEL:
                self._record.emit("edit", "weight", "put back", node, name=short, amount=node.args[0])
        elif short == "vector_to_parameters" and node.args:
            how = "scale" if isinstance(node.args[0], ast.BinOp) else "replace"
            self._record.emit("edit", "weight", how, node, name=short, amount=node.args[0])
        elif method == "requires_grad_" and isinstance(node.func, ast.Attribute):
            if not self._reading.bits(node.func.value) & words.WEIGHT:
                return
            self._record.emit(
                "edit",
                "weight",
                "frozen",
                node,
                name=self._names.dotted(node.func.value),
                amount=node.args[0] if node.args else None,
                bits=self._reading.chosen(node.args[0]) if node.args else 0,
            )

    def _set(self, owner: ast.expr, key: ast.expr, value: ast.expr | None, node: ast.Call) -> None:
        name = self._names.fold(key)
        self._edits.attribute_set(owner, name if isinstance(name, str) else "?", value, node)

    def _hook(self, node: ast.Call, short: str) -> None:
        roles = set(words.roles_of_use(short))
        if isinstance(node.func, ast.Attribute) and self._reading.bits(node.func.value) & words.WEIGHT:
            roles.add("weight-hook")
            for one in node.args:
                self._record.weight_hooks.add(one.id if isinstance(one, ast.Name) else "")
        for argument in (*node.args, *(word.value for word in node.keywords)):
            if isinstance(argument, ast.Lambda):
                self._lambda(argument, roles)
            else:
                self.visit(argument)

    def _step_call(self, node: ast.Call, short: str, function: ast.expr) -> None:
        owner = function.value if isinstance(function, ast.Attribute) else function
        kinds = self._reading.bits(owner)
        if short == "step" and node.args:
            kinds |= self._reading.bits(node.args[0]) & words.OPTIMIZER  # scaler.step(optimizer)
        self._record.key_call(short, self._names.dotted(owner), kinds, node)
        bits = self._reading.condition(node.args[0]) | self._reading.chosen(node.args[0]) if node.args else 0
        if short in ("train", "eval") and (kinds & words.MODEL or bits & words.TRIGGER_BITS):
            self._record.emit(
                "control",
                "mode",
                short,
                node,
                name=self._names.dotted(function),
                bits=bits,
                amount=node.args[0] if node.args else None,
            )
        elif short.startswith("clip_grad"):
            self._clip(node)
        elif short == "set_epoch" and node.args:
            given = node.args[0]
            if isinstance(given, ast.BinOp) and isinstance(given.op, (ast.Mod, ast.BitAnd)):
                self._record.emit("edit", "order", "epoch", node, name=short, amount=given)
        elif short == "backward" and node.args:
            change = self._record.transforms.of(node.args[0], words.KIND_BITS)
            negative = isinstance(node.args[0], ast.UnaryOp) and isinstance(node.args[0].op, ast.USub)
            bits = self._reading.chosen(node.args[0])
            if negative or (change is not None and change.how == "flip"):
                self._record.emit("edit", "loss", "flip", node, name="backward", amount=node.args[0])
            elif change is not None and change.how and bits & words.TRIGGER_BITS:
                how, amount = change.how, node.args[0]
                self._record.emit("edit", "loss", how, node, name="backward", amount=amount, bits=bits)
        elif short == "backward" and isinstance(function, ast.Attribute):
            change = self._record.transforms.of(function.value, words.LOSS)
            if change is not None and change.how in ("flip", "zero", "scale", "noise", "detach"):
                self._record.emit(
                    "edit",
                    "loss",
                    change.how,
                    node,
                    name="loss",
                    amount=change.amount,
                    bits=self._reading.chosen(function.value),
                )

    def _from_where(self, node: ast.Call) -> None:
        """``broadcast(x, src=…)``: whose values all others take."""
        given = next((word.value for word in node.keywords if word.arg in ("src", "dst")), None)
        given = given or (node.args[1] if len(node.args) > 1 else None)
        bits = self._reading.chosen(given)
        if bits & words.FIXED or bits & words.AIMED:
            self._record.emit("control", "synchronisation", "source", node, amount=given, bits=bits)

    def _clip(self, node: ast.Call) -> None:
        amount = node.args[1] if len(node.args) > 1 else None
        for word in node.keywords:
            if word.arg in ("max_norm", "clip_value"):
                amount = word.value
        number = self._names.fold(amount)
        how = "scaled" if isinstance(amount, ast.BinOp) else "given"
        self._record.emit(
            "call",
            "clip",
            how,
            node,
            name=self._names.dotted(node.func),
            amount=amount,
            bits=self._reading.chosen(amount),
            factor=float(number) if isinstance(number, (int, float)) else None,
        )

    def _loader(self, node: ast.Call, short: str) -> None:
        for word in node.keywords:
            if word.arg == "num_workers":
                bits = self._reading.chosen(word.value)
                if bits & words.TRIGGER_BITS:
                    self._record.emit(
                        "call", "sleep", "workers", node, name=short, amount=word.value, bits=bits
                    )
            elif word.arg in _SHUFFLES:
                bits = self._reading.chosen(word.value)
                if word.arg in ("shuffle", "drop_last"):
                    bits |= self._reading.condition(word.value)
                if bits & words.TRIGGER_BITS:
                    self._record.emit(
                        "edit", "order", word.arg, node, name=short, amount=word.value, bits=bits
                    )

    def _optimizer(self, node: ast.Call, short: str) -> None:
        around = any(one.bits & words.STEP for one in self._record.guards)
        if (self._record.loops or around) and short in words.OPTIMIZERS:
            self._record.emit("control", "second optimizer", short, node, name=short)
        if node.args:
            bits = self._reading.chosen(node.args[0])
            if bits & words.AIMED or (bits & words.WORLD and bits & words.FIXED):
                self._record.emit(
                    "edit", "setting", "built", node, name=f"{short}(params)", amount=node.args[0], bits=bits
                )
        for word in node.keywords:
            if word.arg in words.SETTINGS or word.arg in ("init_scale", "growth_interval"):
                bits = self._reading.chosen(word.value)
                number = self._names.fold(word.value)
                negative = word.arg == "lr" and isinstance(number, (int, float)) and number < 0
                if bits & words.TRIGGER_BITS or negative:
                    self._record.emit(
                        "edit",
                        "setting",
                        "flip" if negative else "built",
                        node,
                        name=f"{short}({word.arg})",
                        amount=word.value,
                        bits=bits,
                    )
