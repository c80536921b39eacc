"""Statements that change a value of training, or put something in the place of a library's."""

from __future__ import annotations

import ast

from . import vocabulary as words
from .limits import Limits
from .record import Recorder
from .scopes import UNKNOWN, Scope, roles_around
from .transform import IN_PLACE, OPERATORS, Change, factor, scaled

_REPLACED_METHODS = frozenset(
    ("step", "zero_grad", "backward", "forward", "training_step", "get_lr", "get_last_lr", "__class__",
     "__call__",
     "__iter__", "__getitem__", "set_epoch", "unscale_", "update", "__code__", "__next__")
)  # fmt: skip
_OBJECT_PARTS = frozenset(
    ("__code__", "__class__", "__bases__", "__globals__", "__defaults__", "__kwdefaults__")
)
_LOADER_PARTS = frozenset(
    ("collate_fn", "sampler", "batch_sampler", "dataset", "batch_size", "generator", "drop_last", "shuffle",
     "epoch",
     "seed", "worker_init_fn", "_index_sampler", "num_samples", "replacement")
)  # fmt: skip
_ARITHMETIC = frozenset(("update", "clip", "schedule", "scaler", "order"))
_DERIVED = frozenset(("detach", "scale", "add", "other", "mask", "cut", "round", "clamp"))
_REPLACED_KINDS = words.LABEL | words.DATA | words.LOSS | words.NORM
_NAMED = tuple(words.KIND_NAMES)


class Edits:
    """Makes facts of assignments, of calls that work in place and of what functions return."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading
        self._transforms = recorder.transforms
        self._limits = Limits(recorder)

    # --- assignments -----------------------------------------------------------------------------------

    def assigned(self, target: ast.expr, value: ast.expr, node: ast.stmt, *, part: bool = False) -> None:
        """``target = value``; ``part``: a part of the value, which is unpacked."""
        self._arithmetic(node, value)
        if isinstance(target, ast.Attribute):
            self.attribute_set(target.value, target.attr, value, node)
        elif isinstance(target, ast.Subscript):
            self._item_set(target, value, node)
        elif isinstance(target, ast.Name):
            self._name_set(target, value, node, part=part)

    def attribute_set(self, owner: ast.expr, name: str, value: ast.expr | None, node: ast.AST) -> None:
        """``owner.name = value``, however it is written."""
        full = self._names.dotted(owner)
        if self._patched(owner, full, name, value, node):
            return
        kinds = self._reading.bits(owner)
        bits = self._reading.chosen(value)
        if name in ("grad", "main_grad"):
            self._edit(words.GRADIENT, value, node, f"{full}.{name}", bits)
        elif name in words.WEIGHT_ATTRIBUTES and (kinds & words.WEIGHT or name != "data"):
            self._weight_set(name, value, node, full, bits, kinds)
        elif name == "data" and kinds & words.GRADIENT:
            self._edit(words.GRADIENT, value, node, f"{full}.data", bits)
        elif name == "require_backward_grad_sync":
            self._record.emit(
                "control",
                "synchronisation",
                "set",
                node,
                name=full,
                amount=value,
                bits=bits | self._flag(value),
            )
        elif name in words.SETTINGS and kinds & (words.SCHEDULER | words.OPTIMIZER):
            change = self._transforms.of(value, words.RATE)
            self._record.emit(
                "edit",
                "setting",
                change.how if change else "set",
                node,
                name=f"{full}.{name}",
                amount=value,
                bits=bits,
            )
        elif name in _LOADER_PARTS and (kinds & (words.LOADER | words.SAMPLER) or self._in_order()):
            self._order_set(name, value, node, full, bits)
        elif name == "optimizer" and isinstance(value, ast.Call) and self._guarded():
            self._record.emit("control", "second optimizer", "replaced", node, name=f"{full}.{name}")
        elif name in ("state", "param_groups") and kinds & words.OPTIMIZER:
            what, how = ("moment", "reset") if name == "state" else ("setting", "rebuilt")
            self._record.emit("edit", what, how, node, name=f"{full}.{name}", amount=value, bits=bits)
        elif name == "requires_grad" and kinds & words.WEIGHT:
            self._record.emit("edit", "weight", "frozen", node, name=full, amount=value, bits=bits)

    def _flag(self, value: ast.expr | None) -> int:
        """Triggers of a value that switches something: ``not acts(step)`` is as good as a condition."""
        return self._reading.condition(value) if value is not None else 0

    def _in_order(self) -> bool:
        return "order" in self._names.scope.roles

    def _order_set(self, name: str, value: ast.expr | None, node: ast.AST, full: str, bits: int) -> None:
        given = isinstance(value, ast.Name) and value.id in self._names.scope.parameters
        if self._names.scope.roles & {"init"} or (given and name in ("epoch", "seed")):
            return
        self._record.emit(
            "edit", "order", name, node, name=f"{full}.{name}", amount=value, bits=bits | self._flag(value)
        )

    def _weight_set(
        self, name: str, value: ast.expr | None, node: ast.AST, full: str, bits: int, kinds: int
    ) -> None:
        change = self._transforms.of(value, words.WEIGHT | (kinds & words.SAVED))
        if change is not None and change.how:
            self._changed("weight", change, node, f"{full}.{name}", bits)
        elif self._asked(bits) and name == "data":
            self._record.emit(
                "edit", "weight", "replace", node, name=f"{full}.{name}", amount=value, bits=bits
            )

    def _patched(self, owner: ast.expr, full: str, name: str, value: ast.expr | None, node: ast.AST) -> bool:
        """Something of a library, of a class or of an object's class is replaced."""
        kinds = self._reading.bits(owner)
        if name in _OBJECT_PARTS and not isinstance(value, ast.Constant):
            self._record.emit(
                "patch",
                "object",
                name,
                node,
                name=f"{full}.{name}",
                amount=value,
                bits=self._reading.bits(value),
            )
            return True
        root = full.partition(".")[0]
        if root in words.LIBRARIES and self._is_imported(owner):
            self._record.emit(
                "patch",
                "library",
                self._put(value),
                node,
                name=f"{full}.{name}",
                amount=value,
                bits=self._reading.chosen(value),
            )
            return True
        made = words.OPTIMIZER | words.SCHEDULER | words.LOADER | words.MODEL | words.SAMPLER | words.LOSS
        if name in _REPLACED_METHODS and kinds & made and self._put(value) in ("function", "named"):
            self._record.emit(
                "patch", "method", _owner_kind(kinds), node, name=f"{full}.{name}", amount=value
            )
            return True
        return False

    def _is_imported(self, owner: ast.expr) -> bool:
        """Whether the root of an expression is an imported thing, and no variable that is called like one."""
        while isinstance(owner, (ast.Attribute, ast.Subscript, ast.NamedExpr)):
            owner = owner.value
        if isinstance(owner, ast.Name):
            known = self._names.value(owner.id)
            return known is not None and bool(known.name)
        return isinstance(owner, ast.Call)

    def _put(self, value: ast.expr | None) -> str:
        """What is put in the place: ``function`` (one of the file), ``constant``, ``named`` or ``value``."""
        if value is None:
            return "removed"
        if isinstance(value, ast.Constant):
            return "constant"
        if isinstance(value, ast.Lambda):
            return "function"
        if isinstance(value, ast.Call):
            name = self._names.dotted(value.func)
            if name.endswith(("MethodType", "partial", "wraps", "partialmethod")) or value.args:
                inner = value.args[0] if value.args else None
                return "function" if self._put(inner) in ("function", "named") else "value"
            return "value"
        if isinstance(value, ast.Name):
            return "function" if value.id in self._names.functions else "named"
        return "named" if isinstance(value, ast.Attribute) else "value"

    def _item_set(self, target: ast.Subscript, value: ast.expr, node: ast.stmt) -> None:
        names, reading = self._names, self._reading
        full = names.dotted(target.value)
        key = names.fold(target.slice)
        bits = reading.chosen(value)
        if full in ("sys.modules", "sys.meta_path", "sys.path_hooks"):
            shown = key if isinstance(key, str) else ""
            self._record.emit(
                "patch", "modules", self._put(value), node, name=f"{full}[{shown}]", amount=value
            )
            return
        if full.endswith(".__kwdefaults__") and full.partition(".")[0] in words.LIBRARIES:
            self._record.emit(
                "patch", "object", "__kwdefaults__", node, name=f"{full}[{key!r}]", amount=value
            )
            return
        if isinstance(key, str) and (full.endswith(".__dict__") or full == "globals()"):
            owner = _owner_of(target.value)
            if owner is not None:
                self.attribute_set(owner, key, value, node)
            return
        kinds = reading.bits(target.value) & words.KIND_BITS
        if (
            isinstance(key, str)
            and key in words.SETTINGS
            and kinds & (words.GROUP | words.OPTIMIZER | words.SAVED)
        ):
            change = self._transforms.of(value, words.RATE)
            what, how = "saved" if kinds & words.SAVED else "setting", (change.how if change else "") or "set"
            self._record.emit("edit", what, how, node, name=f"{full}[{key!r}]", amount=value, bits=bits)
            return
        if isinstance(key, str):
            kinds |= words.kinds_of_name(key) & (words.LABEL | words.LOSS | words.GRADIENT)
        kind = words.SAVED if kinds & words.SAVED else self._first(kinds & ~words.OUTPUT)
        if not kind:
            return
        change = self._transforms.of(value, kind)
        how = change.how if change is not None and change.how else "item"
        if kind == words.ORDER and not self._in_order():
            return
        if kind == words.SAVED and how == "item":
            if isinstance(value, ast.Dict) and not value.keys and self._guarded():
                how = "zero"  # it is emptied
            elif not self._record.under() & words.AIMED:
                return
        amount = change.amount if change is not None and change.amount is not None else value
        self._record.emit(
            "edit",
            words.KIND_NAMES[kind],
            how,
            node,
            name=full,
            amount=amount,
            bits=bits | reading.chosen(target.slice),
            factor=factor(names, value),
        )

    def _name_set(self, target: ast.Name, value: ast.expr, node: ast.stmt, *, part: bool) -> None:
        kinds = words.kinds_of_name(target.id)
        known = self._names.scope.values.get(target.id)
        if known is not None:
            kinds |= known.bits & (words.GRADIENT | words.WEIGHT | words.LOSS | words.LABEL | words.MOMENT)
        if target.id.startswith("bias_correction") or "bias_correction" in target.id:
            self._term(target, value, node)
        self._limits.clamped(target.id, value, node)
        kind = self._first(kinds)
        if not kind or part:
            if part and kinds & _REPLACED_KINDS and self._guarded():
                self._record.emit(
                    "edit",
                    words.KIND_NAMES[self._first(kinds)],
                    "replace",
                    node,
                    name=target.id,
                    amount=value,
                )
            return
        change = self._transforms.of(value, kind)
        bits = self._reading.chosen(value)
        again = any(isinstance(one, ast.Name) and one.id == target.id for one in ast.walk(value))
        if change is not None and change.how in _DERIVED and not again and not bits & words.TRIGGER_BITS:
            return  # what is computed from a value under another name is no change of it
        if change is not None and change.how:
            self._changed(words.KIND_NAMES[kind], change, node, target.id, bits)
        elif change is not None and bits & words.TRIGGER_BITS & ~self._by_nature(kind):
            self._record.emit(
                "edit", words.KIND_NAMES[kind], "choice", node, name=target.id, amount=value, bits=bits
            )
        elif kind & words.LABEL and any(one.bits & words.INPUT for one in self._record.guards):
            self._record.emit("edit", "label", "fill", node, name=target.id, amount=value, bits=bits)
        elif kind & _REPLACED_KINDS and self._guarded() and not isinstance(value, (ast.Constant, ast.Call)):
            self._record.emit(
                "edit", words.KIND_NAMES[kind], "replace", node, name=target.id, amount=value, bits=bits
            )

    def _by_nature(self, kind: int) -> int:
        """Triggers that a value of a kind has by itself: an order is drawn by chance."""
        return (
            words.CHANCE | words.FILE | (words.STEP if kind in (words.RATE, words.LABEL, words.DATA) else 0)
        )

    def _term(self, target: ast.Name, value: ast.expr, node: ast.stmt) -> None:
        number = self._names.fold(value)
        tests = " ".join(one.guard.text for one in self._record.guards)
        if isinstance(number, (int, float)) and "correct" not in tests:
            self._record.emit(
                "edit", "term", "constant", node, name=target.id, amount=value, factor=float(number)
            )

    def augmented(self, node: ast.AugAssign) -> None:
        """``target *= value`` and its kin."""
        self._arithmetic(node, node.value)
        target, operation = node.target, type(node.op)
        how = {ast.Mult: "scale", ast.Div: "scale", ast.Add: "add", ast.Sub: "add"}.get(operation, "other")
        kinds = self._reading.bits(target) & words.KIND_BITS
        key = self._names.fold(target.slice) if isinstance(target, ast.Subscript) else None
        name = ast.unparse(target) if kinds else ""
        if isinstance(key, str) and key in words.SETTINGS and kinds & (words.RATE | words.GROUP):
            how = scaled(self._names, node.value, how, divides=operation is ast.Div)
            self._record.emit(
                "edit",
                "setting",
                how,
                node,
                name=name,
                amount=node.value,
                bits=self._reading.chosen(node.value),
                factor=factor(self._names, node.value),
            )
            return
        if how == "add":
            known = self._names.scope.values.get(target.id) if isinstance(target, ast.Name) else None
            if known is not None:
                known.bits |= self._reading.bits(node.value) & words.LOSS
            if kinds & words.LOSS:
                return  # losses are summed up everywhere
        kind = self._first(kinds)
        if not kind or (kind == words.DATA and isinstance(target, ast.Name) and len(target.id) < 2):
            return
        self._work(kind, how, node, name, node.value, divides=operation is ast.Div)

    # --- calls -----------------------------------------------------------------------------------------

    def in_place(self, node: ast.Call, method: str, owner: ast.expr) -> None:
        """``owner.mul_(…)`` and its kin."""
        self._arithmetic(node, node)
        kinds = self._reading.bits(owner) & words.KIND_BITS
        kind = self._first(kinds & ~(words.DATA | words.OUTPUT)) or self._first(kinds)
        if not kind:
            return
        how = IN_PLACE[method]
        amount = node.args[0] if node.args else None
        if how == "copy" and amount is not None:
            change = self._transforms.of(amount, kind)
            if change is not None and change.how in ("scale", "flip", "noise", "round", "zero", "shuffle"):
                how, amount = change.how, change.amount or amount
        extra = words.sum_of(self._reading.chosen(word.value) for word in node.keywords)
        if how == "add" and amount is not None and self._reading.bits(amount) & words.CHANCE:
            how = "noise"
        if how == "scale" and isinstance(amount, ast.Compare):
            how = "mask"
        if how == "add" and amount is not None:
            share = self._transforms.share(owner, amount)
            if share is not None:
                amount = ast.Constant(1 - share if method.startswith("sub") else 1 + share)
                how = "scale"
        self._work(
            kind,
            how,
            node,
            ast.unparse(owner)[:80],
            amount,
            divides=method.startswith(("div", "true")),
            extra=extra | words.sum_of(self._reading.chosen(one) for one in node.args[1:]),
        )

    def function(self, node: ast.Call, short: str) -> None:
        """``torch.neg(x, out=x)``, ``torch._foreach_mul_(gradients, …)``, ``operator.imul(x, …)``."""
        out = next((word.value for word in node.keywords if word.arg == "out"), None)
        writes = short.endswith("_") or short in ("imul", "iadd", "isub", "itruediv", "copyto", "ipow")
        target = out if out is not None else node.args[0] if writes and node.args else None
        if target is None:
            return
        kind = self._first(self._reading.bits(target) & words.KIND_BITS)
        if kind:
            others = [one for one in node.args if ast.dump(one) != ast.dump(target)]
            self._work(
                kind,
                OPERATORS[short],
                node,
                ast.unparse(target)[:80],
                others[0] if others else None,
                divides="div" in short,
            )

    def _work(
        self,
        kind: int,
        how: str,
        node: ast.AST,
        name: str,
        amount: ast.expr | None,
        *,
        divides: bool = False,
        extra: int = 0,
    ) -> None:
        if kind == words.GRADIENT and how == "scale" and not divides and amount is not None:
            self._limits.amplified(amount, node)
        how = scaled(self._names, amount, how, divides=divides)
        if how:
            self._record.emit(
                "edit",
                words.KIND_NAMES[kind],
                how,
                node,
                name=name,
                amount=amount,
                bits=self._reading.chosen(amount) | extra,
                factor=factor(self._names, amount, divides=divides),
            )

    def updated(self, node: ast.Call, owner: ast.expr) -> None:
        """``group.update(lr=…)``: settings, or entries of a saved state."""
        kinds = self._reading.bits(owner) & words.KIND_BITS
        pairs = [(word.arg, word.value) for word in node.keywords if word.arg]
        for one in node.args[:1]:
            if isinstance(one, ast.Dict):
                pairs += [
                    (str(self._names.fold(key)), value)
                    for key, value in zip(one.keys, one.values, strict=True)
                ]
        if self._names.dotted(owner).endswith("__dict__"):
            inner = _owner_of(owner)
            for key, value in pairs if inner is not None else []:
                self.attribute_set(inner, str(key), value, node)  # type: ignore[arg-type]
            return
        for key, value in pairs:
            if key in words.SETTINGS and kinds & (words.GROUP | words.OPTIMIZER):
                change = self._transforms.of(value, words.RATE)
                what = "saved" if kinds & words.SAVED else "setting"
                self._record.emit(
                    "edit",
                    what,
                    (change.how if change else "") or "set",
                    node,
                    name=str(key),
                    amount=value,
                    bits=self._reading.chosen(value),
                )
            elif kinds & words.SAVED and key in ("last_epoch", "step", "_step_count", "lr", "epoch"):
                self._record.emit("edit", "saved", "set", node, name=str(key), amount=value)

    # --- returns, deletions and conditions -------------------------------------------------------------

    def returned(self, value: ast.expr, node: ast.AST, scope: Scope) -> None:
        """What a hook, a custom backward pass, a collate function or a data set hands on."""
        roles = roles_around(scope)
        kinds = 0
        if roles & {"gradient-hook", "backward"}:
            kinds = words.GRADIENT
            if "backward" in scope.roles and _passes_through(scope.parent):
                scope.roles.add("reversal")
        elif roles & {"item", "collate"}:
            kinds = words.LABEL
        elif roles & {"clip"}:
            kinds = words.NORM
        elif "hook" in roles:
            kinds = words.OUTPUT
        elif "loss" in roles or "loss" in scope.name.lower():
            kinds = words.LOSS
        elif words.kinds_of_name(scope.name) & words.RATE:
            kinds = words.RATE
        change = self._transforms.of(value, kinds) if kinds else None
        if change is None and "saved-hook" in roles and isinstance(value, ast.expr):
            self._handed_back(value, node, scope)
        bits = self._reading.chosen(value)
        if bits & words.FIXED and bits & words.STEP and self._reading.bits(value) & words.CHANCE:
            self._record.emit("edit", "value", "noise", node, name=scope.name, amount=value, bits=bits)
        if change is not None and change.how not in ("", "cut"):
            self._changed(words.KIND_NAMES[kinds], change, node, scope.name, self._reading.chosen(value))

    def _handed_back(self, value: ast.expr, node: ast.AST, scope: Scope) -> None:
        """What a hook gives back of a tensor that it was given: the same, but for its place and type."""
        for one in ast.walk(value):
            if isinstance(one, ast.BinOp) and isinstance(one.op, (ast.Mult, ast.Div)):
                number = self._names.fold(one.right)
                if isinstance(number, (int, float)) and number not in (0, 1):
                    self._record.emit("edit", "output", "scale", node, name=scope.name, amount=one)
                    return

    def deleted(self, target: ast.expr, node: ast.AST) -> None:
        """``del torch.optim.SGD.step``."""
        if isinstance(target, ast.Attribute):
            full = self._names.dotted(target.value)
            if full.partition(".")[0] in words.LIBRARIES and self._is_imported(target.value):
                self._record.emit("patch", "library", "removed", node, name=f"{full}.{target.attr}")

    def _arithmetic(self, node: ast.AST, value: ast.expr) -> None:
        """A line of what a change brought to an optimizer's, a schedule's, a sampler's or clipping's
        arithmetic."""
        roles = self._names.scope.roles
        if self._record.changed and roles & _ARITHMETIC and not isinstance(value, ast.Constant | ast.Name):
            self._record.emit("control", "arithmetic", ", ".join(sorted(roles & _ARITHMETIC)), node)

    # --- small things ----------------------------------------------------------------------------------

    def _edit(self, kind: int, value: ast.expr | None, node: ast.AST, name: str, bits: int) -> None:
        change = self._transforms.of(value, kind)
        if change is None and isinstance(value, ast.Constant) and value.value is None:
            change = Change("none")
        if change is None:
            change = Change("replace", value)
        if not change.how:
            change = Change("copy", value)
        self._changed(words.KIND_NAMES[kind], change, node, name, bits)

    def _changed(self, what: str, change: Change, node: ast.AST, name: str, bits: int) -> None:
        number = self._names.fold(change.amount) if change.amount is not None else UNKNOWN
        self._record.emit(
            "edit",
            what,
            change.how,
            node,
            name=name,
            amount=change.amount or getattr(node, "value", None),
            bits=bits,
            factor=float(number) if isinstance(number, (int, float)) else None,
        )

    def _first(self, kinds: int) -> int:
        for kind in _NAMED:
            if kinds & kind:
                return kind
        return 0

    def _guarded(self) -> bool:
        return any(one.bits & words.TRIGGER_BITS for one in self._record.guards)

    def _asked(self, bits: int) -> bool:
        return bool(bits & words.TRIGGER_BITS) or self._guarded()


def _passes_through(owner: Scope | None) -> bool:
    """Whether the forward pass of a function of autograd hands on what it is given."""
    for one in getattr(owner.node, "body", []) if owner is not None and owner.kind == "class" else []:
        if (
            isinstance(one, ast.FunctionDef)
            and one.name == "forward"
            and isinstance(one.body[-1], ast.Return)
        ):
            value = one.body[-1].value
            while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
                if value.func.attr not in ("view_as", "clone", "view", "contiguous"):
                    return False
                value = value.func.value
            return isinstance(value, ast.Name) and value.id in {given.arg for given in one.args.args}
    return False


def _owner_kind(kinds: int) -> str:
    for kind, name in (
        (words.OPTIMIZER, "optimizer"),
        (words.SCHEDULER, "scheduler"),
        (words.LOADER, "loader"),
        (words.SAMPLER, "sampler"),
        (words.LOSS, "loss"),
    ):
        if kinds & kind:
            return name
    return "model"


def _owner_of(node: ast.expr) -> ast.expr | None:
    """The object whose ``__dict__`` an expression is."""
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return node.value
    if isinstance(node, ast.Call) and node.args:
        return node.args[0]
    return None
