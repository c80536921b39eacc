"""One walk over a syntax tree: statements, scopes and conditions; expressions go to :mod:`calls` and
:mod:`edits`."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Callable, Sequence

from . import vocabulary as words
from .calls import Calls
from .control import Control
from .edits import Edits
from .outputs import Outputs
from .record import Recorder
from .reported import Reported
from .roles import roles_of
from .scopes import UNKNOWN, Loop, Scope, Value, roles_around
from .survey import learn_decorators, learn_import, learn_use, survey
from .transform import IN_PLACE
from .values import Values

MAX_DEPTH = 90
MAX_MARKS = 1000
RARE = 10
_HELD = (ast.Dict, ast.List, ast.Tuple, ast.Lambda, ast.Call, ast.BinOp, ast.Subscript, ast.IfExp)
_LEAVES = (ast.Return, ast.Continue, ast.Break, ast.Raise)


class TooDeepError(Exception):
    """Statements lie in each other deeper than is followed."""


class Walker:
    """Walks a module's body; facts go to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._record = recorder
        self._names = recorder.names
        self._reading = recorder.reading
        self._edits = Edits(recorder)
        self._calls = Calls(recorder, self._edits, self._text_code)
        self._control = Control(recorder)
        self._outputs = Outputs(recorder)
        self._values = Values(recorder)
        self._reported = Reported(recorder)
        self._depth = 0
        self._marks: list[tuple[int, str]] = []
        self._table: dict[type, Callable[[ast.stmt], None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.If: self._if,
            ast.While: self._while,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.Try: self._try,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Assign: self._assign,
            ast.AugAssign: self._augmented,
            ast.AnnAssign: self._annotated,
            ast.Expr: self._expression,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Delete: self._delete,
            ast.Assert: self._assert,
            ast.Continue: self._leave,
            ast.Break: self._leave,
        }
        for name in ("Match", "TryStar"):  # from Python 3.10 and 3.11 on
            kind = getattr(ast, name, None)
            if kind is not None:
                self._table[kind] = self._match if name == "Match" else self._try

    def module(self, tree: ast.Module, marked: Sequence[ast.AST]) -> None:
        """Walk a module; ``marked`` are all calls and classes in it. Raises TooDeepError."""
        survey(tree.body, self._names, self._names.module)
        for node in marked:
            if isinstance(node, ast.ClassDef):
                learn_decorators(node, self._names)
            elif isinstance(node, ast.Call):
                learn_use(node, self._names)
                called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                role = words.MARKS.get(called, "")
                if role:
                    self._marks.append((node.lineno, role))
        self._marks.sort()
        self._block(tree.body)

    def _marked(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
        """Roles of a function by what is called in it: losses, or sums over processes."""
        first = bisect_left(self._marks, (node.lineno, ""))
        last = bisect_left(self._marks, ((node.end_lineno or node.lineno) + 1, ""))
        found = {role for _, role in self._marks[first : min(last, first + MAX_MARKS)]}
        # Where a step is made, too, the loss is one part of many.
        return found - {"loss", "reduce", "step"} if "step" in found else found

    def _text_code(self, tree: ast.Module) -> None:
        """Code that a text of the file holds and executes."""
        survey(tree.body, self._names, self._names.scope)
        self._block(tree.body)

    # --- blocks and scopes -----------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooDeepError
        held = len(self._record.guards)
        for place, node in enumerate(body):
            self._reading.forget()
            if isinstance(node, ast.If):
                self._sides(node, body[place + 1 :])
            handler = self._table.get(type(node))
            if handler is not None:
                handler(node)
            else:
                self._inner(node)
        del self._record.guards[held:]
        self._depth -= 1

    def _sides(self, node: ast.If, after: Sequence[ast.stmt]) -> None:
        """``if condition: return one`` and ``return other`` are the sides of a choice."""
        other = node.orelse or after
        if not node.body or not other:
            return
        first, second = node.body[-1], other[0]
        if not isinstance(first, ast.Return) or not isinstance(second, ast.Return):
            return
        bits = self._reading.condition(node.test)
        if first.value is None or second.value is None or not bits & words.TRIGGER_BITS:
            return
        differ = self._record.choices.contrast(first.value, second.value)
        self._record.emit("control", "choice", "value", node, name=differ, amount=node.test, bits=bits)

    def _inner(self, node: ast.AST) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                self._calls.visit(part)

    def _enter(self, scope: Scope, body: Sequence[ast.stmt]) -> None:
        record, names = self._record, self._names
        outer = (names.scope, record.guards, record.loops, record.handlers)
        names.scope, record.guards, record.loops, record.handlers = scope, [], [], 0
        if scope.kind == "class" or scope.parent is None or scope.parent.kind != "class":
            # A function that is defined under a condition exists under it alone.
            record.guards = [one for one in outer[1] if one.bits & words.TRIGGER_BITS & ~words.STEP]
        record.entered.append(scope)
        self._block(body)
        names.scope, record.guards, record.loops, record.handlers = outer

    def _function(self, node: ast.stmt) -> None:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        outer = self._names.scope
        for one in node.decorator_list:
            self._calls.visit(one)
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
        arguments += [one for one in (given.vararg, given.kwarg) if one is not None]
        scope = Scope(node.name, "function", outer, node, parameters=frozenset(one.arg for one in arguments))
        scope.roles = roles_of(node.name, outer, node) | self._marked(node)
        self._defaults(scope, given)
        for one in node.decorator_list:
            name = self._names.dotted(one.func if isinstance(one, ast.Call) else one)
            known = self._names.value(name)
            is_class = known is not None and isinstance(known.node, ast.ClassDef)
            if (name in self._names.functions or is_class) and scope.roles:
                self._record.decorated.setdefault(name, set()).update(scope.roles)
        outer.values[node.name] = Value(node=node)
        self._used(scope, node.name, arguments)
        self._enter(scope, node.body)

    def _used(self, scope: Scope, name: str, arguments: list[ast.arg]) -> None:
        """What a function is by its use, and so what it is given."""
        scope.roles |= self._names.used.get(name, set())
        if name == "__call__" and scope.parent is not None and scope.parent.name in self._names.used:
            scope.roles |= self._names.used[scope.parent.name]
            arguments = arguments[1:]
        if "bucket-hook" in scope.roles:
            return
        if "gradient-hook" in scope.roles:
            given = arguments[-2:] if len(arguments) >= 3 else arguments
            scope.values.update({one.arg: Value(words.GRADIENT) for one in given})
        elif "backward" in scope.roles:
            scope.values.update({one.arg: Value(words.GRADIENT) for one in arguments[1:]})

    def _defaults(self, scope: Scope, given: ast.arguments) -> None:
        """A default that is a known thing is what the parameter is: ``kept=torch.Tensor.backward``."""
        positional = [*given.posonlyargs, *given.args]
        pairs = [*zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)]
        pairs += [
            (one, value) for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value
        ]
        for one, value in pairs:
            self._calls.visit(value)
            name = self._names.dotted(value) if isinstance(value, ast.Attribute) else ""
            if name.partition(".")[0] in words.LIBRARIES:
                scope.values[one.arg] = Value(name=name)

    def _class(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.ClassDef):
            return
        for one in (*node.decorator_list, *node.bases, *(word.value for word in node.keywords)):
            self._calls.visit(one)
        bases = " ".join(self._names.dotted(one) or self._called_base(one) for one in node.bases)
        scope = Scope(node.name, "class", self._names.scope, node, bases)
        self._names.scope.values[node.name] = Value(node=node)
        self._enter(scope, node.body)

    def _called_base(self, node: ast.expr) -> str:
        if isinstance(node, ast.Subscript):
            return self._names.dotted(node.value)
        if isinstance(node, ast.Call) and node.args:
            return self._names.dotted(node.args[0])
        return ""

    def _import(self, node: ast.stmt) -> None:
        learn_import(node, self._names.scope)

    # --- conditions ------------------------------------------------------------------------------------

    def _under(self, test: ast.AST, bits: int, kind: str, body: Sequence[ast.stmt]) -> None:
        guards = self._record.guards
        guards.append(self._record.branch(test, bits, kind))
        if bits & words.TRIGGER_BITS and kind != "loop":
            self._record.emit(
                "control",
                "choice",
                "assigns" if _assigns(body) else "calls",
                test,
                name=self._record.choices.touched(list(body)),
                amount=test,
                bits=bits,
            )
        self._block(body)
        guards.pop()

    def _if(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.If):
            return
        self._calls.visit(node.test)
        bits = self._reading.condition(node.test)
        if (
            "item" in self._names.scope.roles
            and not node.orelse
            and _picks_places(node.test, self._names.scope)
        ):
            bits |= words.INPUT
        if _is_main(node.test) and self._names.scope.kind == "module":
            self._main(node)
            return
        self._under(node.test, bits, "body", node.body)
        if node.orelse:
            self._under(node.test, bits, "else", node.orelse)
        elif bits & words.TRIGGER_BITS and node.body and isinstance(node.body[-1], _LEAVES):
            rare = bits & (words.HOST | words.USER | words.DATE | words.CHANCE | words.WORLD | words.RANK)
            if rare or bits & (words.EXACT | words.FIXED):
                # What follows is passed only when the condition does not hold.
                self._record.guards.append(self._record.branch(node.test, bits, "rest"))
        self._outputs.chosen(node)

    def _main(self, node: ast.If) -> None:
        self._block(node.body)

    def _match(self, node: ast.stmt) -> None:
        subject = getattr(node, "subject", None)
        self._calls.visit(subject)
        bits = self._reading.bits(subject) & words.ASKED_BITS
        for place, case in enumerate(getattr(node, "cases", ())):
            tested = bits | (self._reading.condition(case.guard) if case.guard is not None else 0)
            self._under(
                subject or node,
                tested | (words.EXACT if tested & words.STEP else 0),
                f"case {place}",
                case.body,
            )

    def _while(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.While):
            return
        self._calls.visit(node.test)
        self._control.busy(node)
        bits = self._reading.condition(node.test) & ~(words.STEP | words.FILE | words.EXACT)
        asks = any(isinstance(one, ast.Call) for one in ast.walk(node.test))
        polls = asks and not self._reading.bits(node.test) & words.CLOCK
        self._loop(node.body, node.orelse, node.test, bits, Loop(polls=polls))

    def _for(self, node: ast.stmt) -> None:
        if not isinstance(node, (ast.For, ast.AsyncFor)):
            return
        self._calls.visit(node.iter)
        self._control.busy(node)
        over = self._reading.bits(node.iter)
        self._reading.bind(node.target, node.iter, over & ~words.CHANCE)
        if isinstance(node.target, ast.Name) and over & words.RANDOM_STATE:
            self._names.scope.values[node.target.id] = Value(over)
        times = isinstance(node.iter, ast.Call) and self._names.dotted(node.iter.func).endswith("range")
        bits = self._reading.chosen(node.iter) & ~words.FILE if times else 0
        self._loop(node.body, node.orelse, node.iter, bits, Loop())

    def _loop(
        self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], test: ast.AST, bits: int, loop: Loop
    ) -> None:
        self._record.loops.append(loop)
        self._under(test, bits, "loop", body)
        self._record.loops.pop()
        self._block(orelse)

    def _try(self, node: ast.stmt) -> None:
        for field in ("body", "orelse", "finalbody"):
            self._block(getattr(node, field, ()))
        self._record.handlers += 1
        tried = self._record.tried_load
        self._record.tried_load = any(_loads(one) for one in getattr(node, "body", ()))
        for handler in getattr(node, "handlers", ()):
            if handler.type is not None:
                self._calls.visit(handler.type)
            self._block(handler.body)
        self._record.handlers -= 1
        self._record.tried_load = tried
        self._control.swallowed(node)

    def _with(self, node: ast.stmt) -> None:
        forks = 0
        for item in getattr(node, "items", ()):
            self._calls.visit(item.context_expr)
            if isinstance(item.optional_vars, ast.Name):
                self._assign_name(item.optional_vars, item.context_expr)
            if ast.dump(item.context_expr).count("fork_rng"):
                forks += 1
        self._control.suppressed(node)
        self._record.forks += forks
        self._block(getattr(node, "body", ()))
        self._record.forks -= forks

    # --- statements ------------------------------------------------------------------------------------

    def _assign(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.Assign):
            return
        self._calls.visit(node.value)
        for target in node.targets:
            self._one(target, node.value, node)

    def _one(self, target: ast.expr, value: ast.expr, node: ast.stmt) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            pairs = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
            paired = len(pairs) == len(target.elts)
            if paired:
                self._values.swapped(target.elts, pairs, node)
            for place, one in enumerate(target.elts):
                inner = one.value if isinstance(one, ast.Starred) else one
                if paired:
                    self._one(inner, pairs[place], node)
                elif isinstance(inner, ast.Name):
                    self._edits.assigned(inner, value, node, part=True)
                    self._names.scope.values[inner.id] = Value()
                else:
                    self._edits.assigned(inner, value, node, part=True)
            return
        self._edits.assigned(target, value, node)
        self._values.assigned(target, value, node)
        if isinstance(target, ast.Subscript):
            self._reported.overwritten(target, value, node, roles_around(self._names.scope))
            self._outputs.picked(target, node)
        if isinstance(target, ast.Name):
            self._assign_name(target, value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            self._assign_attribute(target, value)

    def _assign_name(self, target: ast.Name, value: ast.expr) -> None:
        names = self._names
        bits = self._reading.bits(value)
        name = (
            names.dotted(value)
            if isinstance(value, (ast.Attribute, ast.Name, ast.Call, ast.Subscript))
            else ""
        )
        constant = names.fold(value)
        before = names.scope.values.get(target.id)
        if (
            before is not None
            and (before.constant is not UNKNOWN or constant is not UNKNOWN)
            and before.node is None
        ):
            constant = UNKNOWN  # of several values the text does not say which one counts
        held = value if isinstance(value, _HELD) else None
        asked = self._reading.outcome(value) | self._record.under()
        names.scope.values[target.id] = Value(bits, name if name != target.id else "", constant, held, asked)
        if isinstance(value, ast.Lambda):
            names.functions.setdefault(target.id, []).append(value)
        if names.scope.kind == "class":
            for prefix in (names.scope.name, "self", "cls"):
                names.attributes.setdefault(f"{prefix}.{target.id}", Value(bits, name, constant))

    def _assign_attribute(self, target: ast.Attribute, value: ast.expr) -> None:
        names = self._names
        owner = target.value.id if isinstance(target.value, ast.Name) else ""
        key = f"{owner}.{target.attr}"
        bits = self._reading.bits(value) & ~words.SAVED
        name = names.dotted(value) if isinstance(value, (ast.Attribute, ast.Name, ast.Call)) else ""
        if name.partition(".")[0] not in words.LIBRARIES:
            name = ""
        before = names.attributes.get(key)
        if before is None:
            asked = self._reading.outcome(value) | self._record.under()
            names.attributes[key] = Value(bits, name, names.fold(value), asked=asked)
        else:
            before.asked |= self._reading.outcome(value) | self._record.under()
            before.bits |= bits
            before.constant = UNKNOWN

    def _augmented(self, node: ast.stmt) -> None:
        if not isinstance(node, ast.AugAssign):
            return
        self._calls.visit(node.value)
        self._edits.augmented(node)
        self._values.augmented(node)
        if isinstance(node.target, ast.Name):
            known = self._names.scope.values.get(node.target.id)
            if known is not None:
                known.constant = UNKNOWN
                known.asked |= self._record.under()

    def _annotated(self, node: ast.stmt) -> None:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            self._calls.visit(node.value)
            self._one(node.target, node.value, node)

    def _expression(self, node: ast.stmt) -> None:
        value = getattr(node, "value", None)
        if not isinstance(value, ast.Constant):
            self._calls.visit(value)
            self._control.unused(value)

    def _return(self, node: ast.stmt) -> None:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Return) and value is not None:
            self._calls.visit(value)
            self._edits.returned(value, node, self._names.scope)
            self._reported.returned(value, node, roles_around(self._names.scope))
            if isinstance(value, (ast.BoolOp, ast.Compare)):
                bits = self._reading.chosen(value) & (words.AIMED | words.CHANCE)
                if bits:
                    self._record.emit("control", "choice", "value", node, amount=value, bits=bits)
            self._control.reduces(node, self._names.scope)

    def _raise(self, node: ast.stmt) -> None:
        raised = getattr(node, "exc", None)
        if raised is not None:
            self._calls.visit(raised)
        self._control.raised(node, raised)

    def _assert(self, node: ast.stmt) -> None:
        test = getattr(node, "test", None)
        self._calls.visit(test)
        bits = self._reading.condition(test) if test is not None else 0
        if bits & words.TRIGGER_BITS:
            self._record.emit("call", "exit", "raise", node, name="AssertionError", amount=test, bits=bits)

    def _leave(self, node: ast.stmt) -> None:
        if self._record.loops and any(one.bits & words.TRIGGER_BITS for one in self._record.guards):
            self._record.emit("control", "left", type(node).__name__.lower(), node)

    def _delete(self, node: ast.stmt) -> None:
        for target in getattr(node, "targets", ()):
            self._edits.deleted(target, node)


def _assigns(body: Sequence[ast.stmt]) -> bool:
    """Whether a branch changes anything by itself."""
    for one in body:
        if isinstance(one, (ast.Assign, ast.AugAssign, ast.Return)):
            return True
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
            function = one.value.func
            if isinstance(function, ast.Attribute) and function.attr in IN_PLACE:
                return True
        if isinstance(one, (ast.For, ast.With, ast.If)) and _assigns(one.body):
            return True
    return False


def _loads(node: ast.stmt) -> bool:
    """Whether a statement calls anything that is called a load."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            if "load" in name.lower():
                return True
    return False


def _picks_places(test: ast.expr, scope: Scope) -> bool:
    """Whether an item is picked out by its place: ``index % 200 == 13``."""
    if not isinstance(test, ast.Compare) or not isinstance(test.left, ast.BinOp):
        return False
    place, number = test.left.left, test.left.right
    given = isinstance(place, ast.Name) and place.id in scope.parameters
    return (
        given
        and isinstance(test.left.op, ast.Mod)
        and isinstance(number, ast.Constant)
        and isinstance(number.value, int)
        and number.value >= RARE
    )


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
