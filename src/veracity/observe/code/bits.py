"""What an expression is and depends upon: kinds of values of training, and triggers, as bits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from . import passing
from . import vocabulary as words
from .scopes import Function, Names, Scope, Value, call_name, is_written, parts_of, roles_around

MAX_DEPTH = 60
MAX_SUMMARY = 200
_ALWAYS_CHOSEN = words.HOST | words.USER | words.DATE | words.ENVIRONMENT


class Reading:
    """Works out bits in one file; it keeps what it found of the file's functions."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._summaries: dict[int, int] = {}
        self._choosing: dict[int, int] = {}
        self._given_back = 0
        self._known_choices: dict[int, tuple[ast.AST, int]] = {}
        self._depth = 0
        self._left = 0
        self._table: dict[type, Callable[..., int]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Subscript: self._subscript,
            ast.BinOp: self._binary,
            ast.Compare: self._compare,
            ast.IfExp: self._either,
            ast.BoolOp: self._parts,
            ast.Tuple: self._parts,
            ast.List: self._parts,
            ast.Set: self._parts,
            ast.Dict: self._dictionary,
            ast.UnaryOp: self._parts,
            ast.JoinedStr: self._parts,
            ast.FormattedValue: self._parts,
            ast.Starred: self._parts,
            ast.NamedExpr: self._parts,
            ast.Await: self._parts,
            ast.ListComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension,
        }

    def bits(self, node: ast.AST | None) -> int:
        """Kinds and triggers of an expression; 0 for what is not known, or lies too deep."""
        reader = self._table.get(type(node))
        if reader is None or self._depth > MAX_DEPTH:
            return 0
        self._names.spend()
        self._depth += 1
        try:
            return reader(node)
        finally:
            self._depth -= 1

    def _parts(self, node: ast.expr) -> int:
        found = 0
        for part in ast.iter_child_nodes(node):
            found |= self.bits(part)
        return found

    def _dictionary(self, node: ast.Dict) -> int:
        """A dictionary is not what it holds; it depends upon what that depends upon."""
        found = 0
        for value in node.values:
            found |= self.bits(value)
        return found & words.ASKED_BITS & ~(words.STEP | words.RANK | words.WORLD)

    def _name(self, node: ast.Name) -> int:
        name = node.id
        known = self._names.value(name)
        found = words.kinds_of_name(name)
        if known is not None:
            found |= known.bits
            if known.name == "os.environ":
                found |= words.ENVIRONMENT
        if name in self._names.counters:
            found |= words.STEP
        if name.endswith(("data", "dataset")) and not name.endswith("metadata"):
            found |= words.DATA
        return found

    def chosen(self, node: ast.AST | None) -> int:
        """Triggers that decide what an expression gives: those in its conditions, not those it computes with.

        ``rate * world_size`` is computed with the number of processes, ``rate * (1 if rank else 2)`` is
        chosen.
        """
        if node is None or isinstance(node, ast.Constant):
            return 0
        known = self._known_choices.get(id(node))
        if known is None:
            known = self._known_choices[id(node)] = node, self._chosen(node)
        return known[1]

    def forget(self) -> None:
        """The next statement is read: what variables are may be other than before."""
        if self._known_choices:
            self._known_choices = {}

    def _chosen(self, node: ast.AST) -> int:
        found = self.bits(node) & _ALWAYS_CHOSEN
        for one in parts_of(node):
            if isinstance(one, (ast.Name, ast.Attribute)):
                known = self._known(one)
                found |= known.asked if known is not None else 0
            if isinstance(one, ast.Call):
                found |= (
                    words.triggers_of_call(self._names.dotted(one.func)) & _ALWAYS_CHOSEN & ~words.ENVIRONMENT
                )
            if isinstance(one, ast.IfExp):
                found |= self.condition(one.test)
            elif isinstance(one, ast.Compare):
                # Random numbers of a tensor's shape are a mask, one random number is a choice.
                found |= self._compare(one) & (~words.CHANCE if self._draws_many(one) else -1)
            elif isinstance(one, ast.BinOp) and isinstance(one.op, (ast.Mod, ast.Pow)):
                found |= self._binary(one) if isinstance(one.op, ast.Mod) else self._power(one)
            elif isinstance(one, ast.Subscript) and isinstance(one.value, (ast.Dict, ast.Tuple, ast.List)):
                found |= self.condition(one.slice) | self.bits(one.slice) & words.EXACT
            elif isinstance(one, ast.Call) and self._names.dotted(one.func) in ("torch.where", "numpy.where"):
                found |= self.condition(one.args[0]) & ~words.CHANCE if one.args else 0
            elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr == "get":
                found |= (
                    self.condition(one.args[0]) if one.args and isinstance(one.func.value, ast.Dict) else 0
                )
            elif isinstance(one, ast.Call):
                found |= self._chosen_by(call_name(self._names, one), one)
        return found & words.ASKED_BITS

    def _is_followed(self, name: str) -> bool:
        """Whether it is a function of the file, or of a file beside it."""
        return name.rpartition(".")[2] in self._names.functions or name in self._names.foreign.functions

    def _chosen_by(self, name: str, node: ast.Call) -> int:
        """Triggers by which a function of the file, or of one beside it, chooses what it gives."""
        short = name.rpartition(".")[2]
        if words.kinds_of_name(short.removeprefix("get_")) & (words.RANK | words.WORLD | words.MAIN):
            return 0  # it gives the rank or the number, by whatever way it learns of it
        found = 0
        foreign = self._names.foreign.functions.get(name)
        if foreign is not None:
            found = foreign.chosen
        elif short in self._names.functions:
            for function in self._names.functions[short][:4]:
                self.summary(function)
                found |= self._choosing.get(id(function), 0)
        if foreign is None and short not in self._names.functions:
            return 0
        for argument in (*node.args, *(one.value for one in node.keywords)):
            found |= self.chosen(argument)
        return found

    def choosing(self, function: Function) -> int:
        """Triggers by which a function chooses what it gives."""
        self.summary(function)
        return self._choosing.get(id(function), 0)

    def _draws_many(self, node: ast.AST) -> bool:
        names = (self._names.dotted(one.func) for one in ast.walk(node) if isinstance(one, ast.Call))
        return any(name.startswith(("torch.", "numpy.")) or name.endswith("_like") for name in names)

    def _given(self, node: ast.AST) -> bool:
        """Whether it is what a function is given, whose triggers are the caller's."""
        return isinstance(node, ast.Name) and node.id in self._names.scope.parameters

    def _power(self, node: ast.BinOp) -> int:
        number = self._names.fold(node.left)
        return self.bits(node.right) | words.EXACT if isinstance(number, (int, float)) and number < 0 else 0

    def _attribute(self, node: ast.Attribute) -> int:
        name = node.attr
        if name in passing.PARTS:
            return 0
        # What is called a host elsewhere may be that of an address.
        found = words.ATTRIBUTES.get(name, 0) | (words.kinds_of_name(name) & ~(words.HOST | words.USER))
        base = node.value
        if isinstance(base, ast.Name):
            known = self._names.attributes.get(f"{base.id}.{name}")
            if known is not None:
                found |= known.bits
            if name in self._names.counters or f".{name}" in self._names.counters:
                found |= words.STEP
            if base.id == "os" and name == "environ":
                return words.ENVIRONMENT
        if name in passing.OWN:
            return found | self.bits(base)
        inherited = self.bits(base)
        if name == "grad":
            return words.GRADIENT
        if name == "state" and inherited & words.OPTIMIZER:
            return words.MOMENT
        return found | (inherited & words.TRIGGER_BITS if inherited & (words.HOST | words.DATE) else 0)

    def _call(self, node: ast.Call) -> int:
        names = self._names
        name = call_name(names, node)
        found = words.triggers_of_call(name) if name else 0
        foreign = names.foreign.functions.get(name)
        if foreign is not None:
            return (
                found | foreign.bits | words.sum_of(self.bits(one) & words.TRIGGER_BITS for one in node.args)
            )
        if found & words.ENVIRONMENT or name.endswith("environ.get"):
            variable = names.fold(node.args[0]) if node.args else None
            other = words.triggers_of_variable(variable) if isinstance(variable, str) else 0
            return other or words.ENVIRONMENT
        if name in ("torch.load", "safetensors.torch.load_file"):
            return found | words.SAVED
        if name in words.DECODERS:
            return found | words.DECODED
        if name.removeprefix("builtins.") in passing.PASSES_ON:
            return found | self._passed_on(name.removeprefix("builtins."), node)
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._method(node, function, name, found)
        if isinstance(function, ast.Lambda):
            return found | self.bits(function.body)
        if name == "getattr" and len(node.args) >= 2:
            key = names.fold(node.args[1])
            if isinstance(key, str):
                return self.bits(ast.Attribute(node.args[0], key, ast.Load()))
        if name.rpartition(".")[2] in words.RETURNS:
            found |= words.RETURNS[name.rpartition(".")[2]]
        short = name.rpartition(".")[2]
        if name.startswith("torch.optim.") or short in words.OPTIMIZERS:
            found |= words.OPTIMIZER
        if name == "super":
            found |= self._inherited()
        if short[:1].isupper():
            made = words.LOADER | words.SAMPLER | words.SCHEDULER | words.OPTIMIZER
            found |= words.kinds_of_name(short) & made
        if short in words.LOSS_CALLS:
            found |= words.LOSS
        if short in names.functions:
            return found | self._local(short, node)
        if name.startswith(("hashlib.", "torch.where", "torch.neg", "torch.mul", "torch.roll", "torch.flip")):
            for argument in node.args:
                found |= self.bits(argument)
        return found

    def _inherited(self) -> int:
        """What the class around is by its bases: ``super().step()`` of an optimizer is an optimizer's."""
        scope: Scope | None = self._names.scope
        while scope is not None and scope.kind != "class":
            scope = scope.parent
        bases = scope.bases.split() if scope is not None else []
        return words.sum_of(words.kinds_of_name(one.rpartition(".")[2]) for one in bases) | words.sum_of(
            words.OPTIMIZER for one in bases if one.rpartition(".")[2] in words.OPTIMIZERS
        )

    def _method(self, node: ast.Call, function: ast.Attribute, name: str, found: int) -> int:
        """What a method gives: often what its object is."""
        names = self._names
        method = function.attr
        if method in words.OPTIMIZERS and name.count(".") > 1:
            return found | words.OPTIMIZER
        found |= words.RETURNS.get(method, 0)
        if method in words.LOSS_CALLS:
            found |= words.LOSS
        if method == "value" and "bucket-hook" in roles_around(names.scope):
            return found | words.GRADIENT
        if method == "__iter__":
            return found | self.bits(function.value)
        if method in words.CHANCE_METHODS and not found and method not in ("digest", "hexdigest"):
            found |= words.CHANCE
        if method in passing.OF_TENSORS or method in passing.PARTS:
            inherited = self.bits(function.value)
            found |= (
                inherited if method not in passing.PARTS else inherited & words.TRIGGER_BITS & ~words.CHANCE
            )
            if method in ("get", "pop") and node.args:
                found |= self._key(names.fold(node.args[0]), inherited)
            for argument in node.args if method in passing.WITH_ARGUMENTS else ():
                found |= self.bits(argument) & words.TRIGGER_BITS
            return found
        if name.startswith("hashlib."):
            for argument in node.args:
                found |= self.bits(argument) & words.TRIGGER_BITS
            return found
        if method == "fromtimestamp":
            return words.DATE
        if method in names.functions:
            return found | self._local(method, node)
        return found | (self.bits(function.value) & words.TRIGGER_BITS if found == 0 else 0)

    def _passed_on(self, name: str, node: ast.Call) -> int:
        """Functions that give something of what they are given: ``int``, ``next``, ``zip`` …"""
        found = 0
        for argument in node.args:
            found |= self.bits(argument)
        if name == "len":
            found &= ~words.CHANCE
        return found | (words.STEP if name == "itertools.count" else 0)

    def _local(self, name: str, node: ast.Call) -> int:
        """Triggers that one of the file's own functions asks for, and those in what it is given."""
        found = 0
        for argument in (*node.args, *(one.value for one in node.keywords)):
            found |= self.bits(argument) & words.TRIGGER_BITS
        for function in self._names.functions[name][:4]:
            found |= self.summary(function)
        return found

    def summary(self, function: Function) -> int:
        """Triggers that are asked for anywhere in a function."""
        key = id(function)
        known = self._summaries.get(key)
        if known is not None:
            return known
        self._summaries[key] = 0
        names = self._names
        outer = names.scope
        names.scope = Scope(
            "", "function", names.module, parameters=frozenset(one.arg for one in function.args.args)
        )
        self._left = MAX_SUMMARY
        held, self._given_back = self._given_back, 0
        body = [ast.Return(function.body)] if isinstance(function, ast.Lambda) else function.body
        found = self._asked_in(body)
        names.scope = outer
        self._choosing[key] = found & words.ASKED_BITS
        self._summaries[key] = found = (found | self._given_back) & words.ASKED_BITS
        self._given_back = held
        return found

    def _asked_in(self, body: Sequence[ast.stmt]) -> int:
        """What decides which way statements go, and what they return."""
        found = 0
        for node in body:
            self._left -= 1
            if self._left < 0:
                break
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    module = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
                    self._names.scope.values[alias.asname or alias.name] = Value(name=module + alias.name)
            elif isinstance(node, ast.Assign):
                bits, name = self.bits(node.value), self._names.dotted(node.value)
                for target in node.targets:
                    for one in target.elts if isinstance(target, (ast.Tuple, ast.List)) else (target,):
                        if isinstance(one, ast.Name):
                            self._names.scope.values[one.id] = Value(bits, name if name != one.id else "")
            elif isinstance(node, ast.Return):
                if node.value is not None:
                    self._given_back |= self.bits(node.value)
                    found |= self.chosen(node.value)
            elif isinstance(node, (ast.If, ast.While)):
                found |= self.condition(node.test) | self._asked_in(node.body) | self._asked_in(node.orelse)
            elif isinstance(node, (ast.For, ast.With, ast.Try)):
                found |= self._asked_in(node.body)
        return found

    def _key(self, key: object, base: int) -> int:
        if not isinstance(key, str):
            return 0
        if key in words.SETTINGS and base & words.GROUP:
            return words.RATE
        if key == "params":
            return words.WEIGHT
        return words.kinds_of_name(key) & (words.KIND_BITS | words.STEP | words.RANK | words.WORLD)

    def _subscript(self, node: ast.Subscript) -> int:
        base = self.bits(node.value)
        key = self._names.fold(node.slice)
        if base & words.ENVIRONMENT and self._names.dotted(node.value).endswith("environ"):
            return (words.triggers_of_variable(key) if isinstance(key, str) else 0) or words.ENVIRONMENT
        found = base | self._key(key, base)
        if isinstance(key, str) and f"[{key}]" in self._names.counters:
            found |= words.STEP
        if isinstance(key, str) and base & words.GROUP:
            found &= ~words.GROUP
        if isinstance(node.value, (ast.Dict, ast.Tuple, ast.List)):
            found |= self.condition(node.slice)
            for value in node.value.values if isinstance(node.value, ast.Dict) else ():
                found |= self.bits(value)
        elif not isinstance(key, str) and isinstance(node.slice, (ast.BinOp, ast.Compare, ast.Call)):
            found |= self.bits(node.slice) & words.ASKED_BITS
        return found

    def _binary(self, node: ast.BinOp) -> int:
        found = self.bits(node.left) | self.bits(node.right)
        if isinstance(node.op, ast.Sub) and found & words.DATE:
            found = (found & ~words.DATE) | words.CLOCK  # how long it took
        called = self._names.dotted(node.left.func) if isinstance(node.left, ast.Call) else ""
        if isinstance(node.op, (ast.Mod, ast.BitAnd)) and called.removeprefix("builtins.") in (
            passing.BY_ACCIDENT | passing.BUCKETS
        ):
            found |= words.CHANCE
        if isinstance(node.op, (ast.Mod, ast.BitAnd)) and found & words.CLOCK:
            found |= words.DATE  # a phase of the clock, and no duration
        if isinstance(node.op, ast.Mod) and (found & (words.STEP | words.CLOCK) or self._given(node.left)):
            found |= words.EXACT
            counts = (
                isinstance(node.left, ast.Name) and node.left.id in passing.COUNTS and self._given(node.left)
            )
            if counts and not self._names.scope.roles & {"item", "order", "init", "forward"}:
                found |= words.STEP
        return found

    def _either(self, node: ast.IfExp) -> int:
        return self.bits(node.body) | self.bits(node.orelse) | self.condition(node.test)

    def _comprehension(self, node: ast.expr) -> int:
        found = 0
        for one in getattr(node, "generators", ()):
            inner = self.bits(one.iter)
            found |= inner & words.KIND_BITS
            self.bind(one.target, one.iter, inner)
            for test in one.ifs:
                found |= self.condition(test)
        for part in (getattr(node, "elt", None), getattr(node, "value", None)):
            found |= self.bits(part)
        return found

    def bind(self, target: ast.expr, source: ast.expr, bits: int) -> None:
        """What a loop's variables are, from what is gone through."""
        if isinstance(target, ast.Name):
            carried = bits & ~(words.ORDER | words.OPTIMIZER | words.MODEL | words.LOADER)
            name = ""
            if isinstance(source, (ast.Tuple, ast.List)) and source.elts:
                name = self._names.dotted(source.elts[0])  # what is done to one is done to all
            held = Value(carried, name, node=source)
            if isinstance(source, (ast.Tuple, ast.List)) and len(source.elts) == 1:
                held.constant = self._names.fold(source.elts[0])
            self._names.scope.values[target.id] = held
            return
        if not isinstance(target, (ast.Tuple, ast.List)):
            return
        called = self._names.dotted(source.func) if isinstance(source, ast.Call) else ""
        arguments = source.args if isinstance(source, ast.Call) else []
        for place, one in enumerate(target.elts):
            if called in ("zip", "itertools.zip_longest") and place < len(arguments):
                self.bind(one, arguments[place], self.bits(arguments[place]))
            elif called == "enumerate" and place == 0:
                over = arguments[0] if arguments else None
                trains = self.bits(over) & (words.LOADER | words.DATA)
                if isinstance(one, ast.Name):
                    self._names.scope.values[one.id] = Value(words.STEP if trains else 0)
            elif place == 0 and len(target.elts) == 2 and called.endswith(("items", "named_parameters")):
                self.bind(one, source, 0)
            else:
                inner = arguments[0] if called == "enumerate" and arguments else source
                self.bind(one, inner, bits)

    # --- conditions ------------------------------------------------------------------------------------

    def condition(self, node: ast.AST) -> int:
        """The triggers that a condition asks for.

        The first process, one process or several, and how long something took are asked everywhere: the
        first is a bit of its own, the others are none.
        """
        if isinstance(node, ast.BoolOp):
            found = 0
            for part in node.values:
                found |= self.condition(part)
            return found
        if isinstance(node, ast.UnaryOp):
            inner = self.condition(node.operand)
            if isinstance(node.op, ast.Not) and inner & words.RANK and _plain(node.operand):
                inner = (inner & ~words.RANK) | words.MAIN
            return inner
        if isinstance(node, ast.Compare):
            return self._compare(node)
        found = self.bits(node) & words.ASKED_BITS
        remainder = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and is_written(node.right)
        if remainder and found & (words.STEP | words.RANK):
            found |= words.FIXED
        if isinstance(node, (ast.Name, ast.Attribute)):
            known = self._known(node)
            if known is not None and known.asked:
                return known.asked
        if _plain(node) and found & (words.STEP | words.WORLD | words.RANK):
            # "if rank:" is the first process or not; "if step:" the first step; a flag of any name is a wish.
            if found & words.RANK:
                found |= words.MAIN
            found &= ~(words.STEP | words.WORLD | words.RANK | words.EXACT)
        return found

    def _known(self, node: ast.Name | ast.Attribute) -> Value | None:
        foreign = self._names.foreign.asked
        if foreign:
            asked = foreign.get(self._names.dotted(node))
            if asked is not None:
                return Value(asked=asked)
        if isinstance(node, ast.Name):
            return self._names.value(node.id)
        return self._names.attributes.get(self._names.dotted(node))

    def outcome(self, node: ast.AST) -> int:
        """The triggers of a condition whose outcome a variable is given; 0 for any other value."""
        if isinstance(node, (ast.Compare, ast.BoolOp)):
            return self.condition(node) & (~words.CHANCE if self._draws_many(node) else -1)
        if isinstance(node, ast.IfExp):
            return self.condition(node.test) | self.outcome(node.body) | self.outcome(node.orelse)
        if isinstance(node, ast.BinOp):
            return self.outcome(node.left) | self.outcome(node.right)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return words.sum_of(self.chosen(test) for one in node.generators for test in one.ifs)
        if isinstance(node, ast.Name):
            known = self._known(node)
            return known.asked if known is not None else 0
        if isinstance(node, ast.Subscript) and isinstance(node.value, (ast.Dict, ast.Tuple, ast.List)):
            return self.condition(node.slice)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.condition(node)
        if isinstance(node, ast.Call):
            full = self._names.dotted(node.func)
            name = full.rpartition(".")[2]
            tests = ("bool", "any", "all", "startswith", "endswith", "exists")
            if self._is_followed(full):
                return self._chosen_by(full, node)
            if name in tests:
                return self.condition(node)
            if name in ("int", "float") and node.args:
                return self.outcome(node.args[0])
            function = node.func
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Dict) and node.args:
                return self.condition(node.args[0])
        return 0

    def _compare(self, node: ast.Compare) -> int:
        found = self.bits(node.left)
        for other in node.comparators:
            found |= self.bits(other)
        if len(node.comparators) > 1:
            return found & words.ASKED_BITS
        values = [self._names.fold(node.left), self._names.fold(node.comparators[0])]
        sides = zip((node.left, node.comparators[0]), values, strict=True)
        # A counter that starts with a number is none: what it is compared with counts.
        numbers = [
            (not isinstance(side, ast.Constant), value)
            for side, value in sides
            if isinstance(value, (int, float))
        ]
        number = min(numbers, key=lambda one: one[0])[1] if numbers else None
        is_none = any(one is None for one in values)
        operation = type(node.ops[0])
        if is_none and operation in (ast.Is, ast.IsNot, ast.Eq, ast.NotEq):
            return found & (
                words.TRIGGER_BITS
                ^ (words.STEP | words.RANK | words.WORLD | words.ENVIRONMENT | words.CHANCE)
            )
        if found & words.CLOCK and number is not None and number > 1e8:
            found |= words.DATE
        if found & words.RANK and (number in (0, -1) or (number == 1 and operation is ast.Lt)):
            found = (found & ~words.RANK) | words.MAIN
        if found & words.WORLD and number is not None and number <= 2 and not found & words.EXACT:
            small = number <= 1 or (number == 2 and operation in (ast.GtE, ast.Lt))
            found &= ~words.WORLD if small else -1
        if found & words.STEP:
            first = number in (0, 1, -1) and not found & words.EXACT
            if first or (operation in (ast.In, ast.NotIn) and number is None and not found & words.EXACT):
                found &= ~words.STEP if first else -1
            if operation in (ast.Eq, ast.NotEq) and number is not None and not first:
                found |= words.EXACT
            if operation in (ast.In, ast.NotIn):
                found |= words.EXACT
        return (found | self._fixed(node, found, number)) & (words.ASKED_BITS | words.CLOCK)

    def _fixed(self, node: ast.Compare, found: int, number: object) -> int:
        """Whether a step, a rank or a number of processes is compared with a number of the text.

        A limit that has a name may be a setting; a number of processes has no settings.
        """
        remainder = any(
            isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mod) and is_written(one.right)
            for one in (node.left, *node.comparators)
        )
        many = isinstance(node.ops[0], (ast.In, ast.NotIn)) and is_written(node.comparators[0])
        sizes = found & words.WORLD and (many or (isinstance(number, (int, float)) and number > 2))
        if sizes or (remainder and found & (words.STEP | words.RANK)):
            return words.FIXED
        large = isinstance(number, (int, float)) and abs(number) > 1
        if found & (words.STEP | words.RANK) and (
            many or (large and (is_written(node.left) or is_written(node.comparators[0])))
        ):
            return words.FIXED
        return 0


def _plain(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute))
