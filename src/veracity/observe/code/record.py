"""Facts while a file is walked: where the walk has come to, and what becomes of a fact when it is over."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from ...core.observation import source
from ...core.observation.source import Guard, SourceFact
from . import vocabulary as words
from .bits import Reading
from .choices import Choices
from .scopes import CallSite, Loop, Names, Scope
from .text import Oddity
from .transform import Transforms

MAX_FACTS = 20_000
MAX_TEXT = 160
MAX_SITES = 64
ALWAYS = frozenset(
    ("update", "forward", "backward", "hook", "item", "collate", "order", "clip", "schedule", "step", "loss",
     "reduce")
)  # fmt: skip
"""Roles of functions that are called in each training step."""


@dataclass(slots=True)
class Branch:
    """A branch of a condition: ``kind`` tells the sides of one condition apart."""

    node: ast.AST
    bits: int
    kind: str
    guard: Guard


@dataclass(slots=True)
class Pending:
    """A fact whose function's roles are not known yet."""

    act: str
    what: str
    how: str
    name: str
    amount: str
    node: ast.AST
    bits: int
    factor: float | None
    scope: Scope
    guards: tuple[Branch, ...]
    loops: tuple[Loop, ...]
    handler: bool


@dataclass(slots=True)
class KeyCall:
    """A call that a training step consists of: ``name`` of the method, ``on`` what."""

    name: str
    on: str
    kinds: int
    node: ast.AST
    scope: Scope
    guards: tuple[Branch, ...]
    loops: tuple[Loop, ...]


@dataclass(slots=True)
class Recorder:
    """Where the walk is, and what it has found."""

    lines: list[str]
    added: Callable[[int, int], bool]
    names: Names
    guards: list[Branch] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    handlers: int = 0
    pending: list[Pending] = field(default_factory=list)
    key_calls: list[KeyCall] = field(default_factory=list)
    sites: dict[str, list[CallSite]] = field(default_factory=dict)
    decorated: dict[str, set[str]] = field(default_factory=dict)
    entered: list[Scope] = field(default_factory=list)
    oddities: list[Oddity] = field(default_factory=list)
    overflow: bool = False
    saves_optimizer: bool = False
    changed: bool = False
    tried_load: bool = False
    forks: int = 0
    weight_hooks: set[str] = field(default_factory=set)
    chosen: dict[int, Guard] = field(default_factory=dict)
    reading: Reading = field(init=False)
    transforms: Transforms = field(init=False)
    choices: Choices = field(init=False)

    def __post_init__(self) -> None:
        self.reading = Reading(self.names)
        self.transforms = Transforms(self.names, self.reading)
        self.choices = Choices(self.names, self.reading, self.transforms)

    def emit(
        self,
        act: str,
        what: str,
        how: str,
        node: ast.AST,
        *,
        name: str = "",
        amount: ast.AST | None = None,
        bits: int = 0,
        factor: float | None = None,
    ) -> None:
        """Note a fact where the walk is."""
        if len(self.pending) >= MAX_FACTS:
            self.overflow = True
            return
        text = _unparsed(amount) if amount is not None else ""
        self.pending.append(
            Pending(
                act,
                what,
                how,
                name[:MAX_TEXT],
                text,
                node,
                bits,
                factor,
                self.names.scope,
                tuple(self.guards),
                tuple(self.loops),
                self.handlers > 0,
            )
        )

    def under(self) -> int:
        """What the conditions ask for under which a variable is given its value: it depends upon them."""
        found = 0
        for one in self.guards:
            if one.kind != "loop" and one.bits & words.TRIGGER_BITS:
                found |= one.bits
        rare = found & (words.SELECTIVE | words.ENVIRONMENT)
        return rare | (found & (words.STEP | words.EXACT | words.FIXED) if found & words.FIXED else 0)

    def key_call(self, name: str, on: str, kinds: int, node: ast.AST) -> None:
        """Note a call that a training step consists of."""
        if len(self.key_calls) < MAX_FACTS:
            one = KeyCall(name, on, kinds, node, self.names.scope, tuple(self.guards), tuple(self.loops))
            self.key_calls.append(one)

    def site(self, name: str) -> None:
        """Note a call of one of the file's own functions."""
        sites = self.sites.setdefault(name, [])
        if len(sites) < MAX_SITES:
            sites.append(CallSite(self.names.scope, tuple(self.guards), tuple(self.loops)))

    def dispatched(self, functions: list[ast.expr], key: ast.AST, bits: int) -> None:
        """Note that functions are called only where ``key`` picks them out."""
        branch = self.branch(key, bits, "body")
        for one in functions[:MAX_SITES]:
            if isinstance(one, ast.Lambda):
                self.chosen[id(one)] = branch.guard
            elif isinstance(one, ast.Name):
                self.guards.append(branch)
                self.site(one.id)
                self.guards.pop()

    def text(self, line: int) -> str:
        """A line of the source, stripped and cut."""
        return self.lines[line - 1].strip()[:MAX_TEXT] if 0 < line <= len(self.lines) else ""

    def branch(self, node: ast.AST, bits: int, kind: str) -> Branch:
        """A condition that is entered."""
        line = getattr(node, "lineno", 1)
        end = getattr(node, "end_lineno", line) or line
        guard = Guard(
            line,
            self.text(line),
            trigger_names(bits),
            bool(bits & words.EXACT),
            self.added(line, end),
            bool(bits & words.FIXED),
        )
        return Branch(node, bits, kind, guard)

    def waiting(self) -> frozenset[str]:
        """Functions of the file that wait, by themselves or through one another, and under no condition."""
        found = {
            one.scope.name
            for one in self.pending
            if one.act == "call" and one.what == "sleep" and not one.handler and not one.guards
        }
        for _ in range(3):
            for name in list(found):
                for site in self.sites.get(name, []):
                    if not site.guards:
                        found.add(site.scope.name)
        return frozenset(one for one in found if one)

    # --- the end of the walk ---------------------------------------------------------------------------

    def facts(self) -> tuple[SourceFact, ...]:
        """All facts, with what only the whole file tells: roles, and conditions around calls."""
        self._spread_roles()
        return tuple(self._finished(one) for one in self.pending)

    def _spread_roles(self) -> None:
        for one in self.key_calls:
            if one.name in _MAKES_A_STEP and (one.name != "step" or one.kinds & words.OPTIMIZER):
                one.scope.steps = True
                for loop in one.loops:
                    loop.trains = True
                    one.scope.loops_train = True
        named: dict[str, list[Scope]] = {}
        for scope in self.entered:
            named.setdefault(scope.name, []).append(scope)
        for _ in range(3):
            for name, sites in self.sites.items():
                functions = named.get(name, [])
                if any(function.steps for function in functions):
                    for site in sites:
                        for loop in site.loops:
                            loop.trains = True
                            site.scope.loops_train = True
                for site in sites:
                    if self._trains(site.scope, site.loops):
                        # What is called where an item is made is a part of making it.
                        roles = site.scope.roles & _HANDED_ON or {"step"}
                        for function in functions:
                            function.roles |= roles
        for scope in self.entered:
            if scope.name and scope.name in self.weight_hooks:
                scope.roles.add("weight-hook")
        for name, roles in self.decorated.items():
            for scope in self.entered:
                if scope.kind == "function" and _lies_in(scope, name):
                    scope.roles |= roles

    def _trains(self, scope: Scope, loops: tuple[Loop, ...]) -> bool:
        """Whether what is written there is done in each step of training."""
        if any(loop.trains for loop in loops):
            return True
        inner: Scope | None = scope
        while inner is not None and inner.kind == "function":
            if inner.roles & ALWAYS:
                return True
            if inner.steps:
                return not inner.loops_train
            inner = inner.parent
        return False

    def _around_calls(self, scope: Scope) -> tuple[Guard, ...]:
        """Conditions under which alone a function is called, when all its calls are under some."""
        sites = self.sites.get(scope.name, []) if scope.kind == "function" and scope.name else []
        found: list[Guard] = []
        for site in sites:
            triggers = [one.guard for one in site.guards if isinstance(one, Branch) and one.bits & _ASKED]
            if not triggers:
                return ()
            found += triggers
        return tuple(found[:4])

    def _finished(self, one: Pending) -> SourceFact:
        roles: set[str] = set()
        scope: Scope | None = one.scope
        names = []
        while scope is not None and scope.kind != "module":
            roles |= scope.roles
            names.append(scope.name or "<lambda>")
            scope = scope.parent
        guards = [branch.guard for branch in one.guards if branch.bits & _ASKED]
        guards += self._around_calls(one.scope)
        if id(one.scope.node) in self.chosen:
            guards.append(self.chosen[id(one.scope.node)])
        line = getattr(one.node, "lineno", 1)
        end = getattr(one.node, "end_lineno", line) or line
        exact = bool(one.bits & words.EXACT) or any(guard.exact for guard in guards)
        added = self.added(line, end) or any(guard.added for guard in guards)
        return SourceFact(
            one.act,
            one.what,
            one.how,
            one.name,
            one.amount,
            line,
            ".".join(reversed(names)),
            frozenset(roles),
            self._trains(one.scope, one.loops) or _by_step(one),
            tuple(guards),
            trigger_names(one.bits),
            exact,
            one.handler,
            bool(one.loops),
            added,
            self.text(line),
            one.factor,
            bool(one.bits & words.FIXED) or any(guard.fixed for guard in guards),
        )


def _lies_in(scope: Scope, name: str) -> bool:
    """Whether a function lies in another, or in a class, of this name."""
    outer = scope.parent
    while outer is not None and outer.kind != "module":
        if outer.name == name:
            return True
        outer = outer.parent
    return False


_HANDED_ON = frozenset(("item", "collate", "order"))


def _by_step(one: Pending) -> bool:
    """Whether a function asks for the step: it is called in each of them, from wherever it is."""
    bits = one.bits
    for branch in one.guards:
        bits |= branch.bits if branch.kind != "loop" else 0
    return one.scope.kind == "function" and bool(bits & words.STEP)


_ASKED = words.TRIGGER_BITS
_MAKES_A_STEP = frozenset(("backward", "step", "manual_backward", "zero_grad"))


def trigger_names(bits: int) -> frozenset[str]:
    """Names of the triggers among bits."""
    if not bits & words.TRIGGER_BITS:
        return frozenset()
    return frozenset(name for place, name in enumerate(source.TRIGGERS) if bits & (1 << place))


def _unparsed(node: ast.AST) -> str:
    try:
        return ast.unparse(node)[:MAX_TEXT]
    except (ValueError, RecursionError, AttributeError):
        return ""
