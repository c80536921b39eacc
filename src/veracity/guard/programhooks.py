"""Hooks that the program puts on tensors and modules: do they go on doing what they did?

A hook is handed on inside a ``Hooked``, which calls it and compares what it was given with what it gave back.
Nothing is judged here and no value is changed. Hooks of torch's own and of libraries' callable objects, whose
class their authors look for, are left alone. Copies and pickles of a ``Hooked`` hold the program's hook.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from .declare import place_of
from .patching import replace
from .relation import Relation, relation_of
from .session import Session

if TYPE_CHECKING:
    import torch

SITE = "hook"
MAX_PLACES = 1024
MAX_RECORDS = 64
# What a hook does within so many steps from its first call is its habit.
HABIT_STEPS = 5
REPLACED = Relation("replaced")
Hook = Callable[..., object]


class Tap(Protocol):
    """What is told of hooks on forward passes while these are captured."""

    def hook_begins(self) -> int:
        """A hook is about to run; what is returned is handed back at its end."""

    def hook_ended(self, place: str, first: int) -> None:
        """The hook that stands at ``place`` has run."""


tap: Tap | None = None


@dataclass(slots=True)
class Place:
    """All hooks that are one piece of code, and what they have done so far."""

    kind: str
    path: str
    line: int
    name: str
    steps: int = 0
    step: int = -1
    habit: bool = False
    scales: bool = False
    limits: bool = False
    turns: bool = False
    in_place: bool = False
    within: bool = False
    records: int = 0


@dataclass(slots=True)
class Given:
    """What a call of a hook was given: its tensors, their versions, and copies where it writes in place."""

    tensors: Sequence[torch.Tensor]
    versions: Sequence[int]
    copies: Sequence[torch.Tensor] = field(default_factory=list)


class Hooked:
    """A hook of the program's, watched; ``ran`` counts its calls outside of compiled code."""

    def __init__(self, hook: Hook, place: Place, watch: ProgramHooks) -> None:
        functools.update_wrapper(self, hook)
        self._hook, self._place, self._watch = hook, place, watch
        self.ran = 0

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the hook; its result is handed back as it is."""
        import torch

        if torch.compiler.is_compiling():
            return self._hook(*args, **kwargs)
        self.ran += 1
        run = self._watch.session.shield.run
        given = None if self._place.habit else run(SITE, self._watch.before, self._place, args)
        told = tap if self._place.kind.startswith("forward") else None
        first = run(SITE, told.hook_begins) if told is not None else None
        result = self._hook(*args, **kwargs)
        if told is not None and first is not None:
            run(SITE, told.hook_ended, f"{self._place.path}:{self._place.line}", first)
        if given is not None:
            run(SITE, self._watch.after, self._place, args, given, result)
        if result is not None and self._place.kind.startswith("forward"):
            run(SITE, self._watch.functions, result)
        return result

    @property
    def changes(self) -> str:
        """What the hook has always done to what it was given, and where it stands.

        Empty when it does nothing, and when it turns gradients round: no habit makes that a descent.
        """
        if self._place.turns or not (self._place.habit or self._place.limits):
            return ""
        does = "scaled" if self._place.scales else "changed"
        return f"gradient {does} by the hook at {self._place.path}:{self._place.line}"

    @property
    def replaces(self) -> bool:
        """Whether the hook has always put something else in the place of what it was given."""
        return self._place.habit

    def __deepcopy__(self, memo: dict[int, object]) -> Hooked:
        return Hooked(copy.deepcopy(self._hook, memo), self._place, self._watch)

    def __reduce__(self) -> tuple[object, ...]:
        return _itself, (self._hook,)


def hooks_that_change(tensor: torch.Tensor) -> list[str]:
    """The program's hooks on ``tensor`` that have always changed its gradient, or hold it in bounds."""
    tables = (getattr(tensor, "_backward_hooks", None), getattr(tensor, "_post_accumulate_grad_hooks", None))
    hooks = [hook for table in tables for hook in (table or {}).values()]
    return [hook.changes for hook in hooks if isinstance(hook, Hooked) and hook.changes]


def changing_hooks() -> list[str]:
    """Places of hooks within backward passes (on modules, on what they compute) that have always changed
    the gradients that go on from there.
    """
    places = watching[-1].places if watching else []
    return [f"{one.path}:{one.line}" for one in places if one.habit and one.within]


def _itself(hook: Hook) -> Hook:
    return hook


class ProgramHooks:
    """All hooks of this process, by the piece of code they are."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._places: dict[tuple[str, object], Place] = {}

    @property
    def places(self) -> list[Place]:
        """All pieces of code that are hooks."""
        return list(self._places.values())

    def watched(self, on: object, hook: Hook, kind: str) -> Hook:
        """``hook`` to be registered ``on`` something in its place: itself where it is not to be watched."""
        if not isinstance(hook, (FunctionType, MethodType, functools.partial)):
            return hook
        inner: Hook = hook
        while isinstance(inner, functools.partial):
            inner = inner.func
        place = self._place(kind, inner, getattr(inner, "__qualname__", type(inner).__name__))
        if place is None:
            return hook
        place.within |= kind.startswith("backward") or (kind == "tensor" and not on.is_leaf)  # type: ignore[attr-defined]
        return Hooked(hook, place, self)

    def _place(self, kind: str, function: object, name: object) -> Place | None:
        """What is known of a piece of code; None for that of torch, and when there is too much of it."""
        path, line = place_of(function)
        if not path or _of_library(path):
            return None
        code = getattr(function, "__code__", None)
        place = self._places.get((kind, code))
        if place is None and len(self._places) < MAX_PLACES:
            place = self._places[kind, code] = Place(kind, path, line, str(name)[:200])
        return place

    def before(self, place: Place, args: Sequence[object]) -> Given | None:
        """A hook is about to be called; None where the call is none of training."""
        import torch

        if place.kind.startswith("forward") and not torch.is_grad_enabled():
            return None
        tensors = _tensors(_subject(place.kind, args))
        versions = [0 if one.is_inference() else one._version for one in tensors]
        copies = [one.detach().clone() for one in tensors] if place.in_place else []
        return Given(tensors, versions, copies)

    def after(self, place: Place, args: Sequence[object], given: Given, result: object) -> None:
        """It returned ``result``: ship what it did if that is another thing than nothing."""
        self._note(place, self._done(place, args, given, result))

    def functions(self, result: object) -> None:
        """A hook handed ``result`` on: watch the gradient that goes back through an autograd function."""
        import torch

        for tensor in _tensors(result):
            node = tensor.grad_fn
            if not isinstance(node, torch.autograd.function.BackwardCFunction):
                continue
            owner = node._forward_cls
            place = self._place("function", owner.backward, owner.__qualname__)
            if place is not None and not place.habit:
                node.register_hook(self._passed(place))

    def _passed(self, place: Place) -> Callable[[object, object], None]:
        run = self.session.shield.run

        def compare(gone: object, came: object) -> None:
            one, other = _tensors(came), _tensors(gone)
            if len(one) != 1 or len(other) != 1 or one[0].shape != other[0].shape:
                return
            self._note(place, relation_of(one[0], other[0]) if one[0] is not other[0] else None)

        def passed(gone: object, came: object) -> None:
            run(SITE, compare, gone, came)

        return passed

    def _note(self, place: Place, relation: Relation | None) -> None:
        step = self.session.last_step + 1
        if step != place.step:
            place.step = step
            place.steps += 1
        if relation is None:
            return
        place.limits |= relation.kind in ("clamped", "cleared")
        if place.steps <= HABIT_STEPS and relation.kind not in ("clamped", "cleared"):
            place.habit, place.scales = True, relation.kind == "scaled"
            place.turns = place.turns or relation.ratio < 0.0
            return
        if place.records < MAX_RECORDS:
            place.records += 1
            self.session.emit(
                "hook",
                {
                    "hook": place.kind,
                    "name": place.name,
                    "path": place.path,
                    "line": place.line,
                    "step": step,
                    "steps": place.steps - 1,
                    "relation": relation.kind,
                    "ratio": relation.ratio,
                    "norm": relation.norm,
                    "share": relation.share,
                },
            )

    def _done(self, place: Place, args: Sequence[object], given: Given, result: object) -> Relation | None:
        """What became of the tensors; None when nothing did, or nobody can say."""
        written = [
            not one.is_inference() and one._version != version
            for one, version in zip(given.tensors, given.versions, strict=True)
        ]
        if place.kind.startswith("forward"):
            replaced = result is not None and _ids(_tensors(result)) != _ids(given.tensors)
            return REPLACED if replaced or any(written) else None
        befores = given.copies or given.tensors
        if place.kind == "accumulated":
            afters = _tensors(_subject(place.kind, args))
        else:
            afters = _tensors(result) if result is not None else list(given.tensors)
        if len(afters) != len(befores):
            return Relation("other")
        found: list[Relation] = []
        for before, after, in_place in zip(befores, afters, written, strict=True):
            if in_place and not given.copies:
                place.in_place = True
            elif after is not before:
                relation = relation_of(before, after)
                found += [relation] if relation is not None else []
        return max(found, key=lambda one: one.weight, default=None)


def _subject(kind: str, args: Sequence[object]) -> object:
    """What a hook of this kind may change, among its arguments."""
    if kind == "tensor":
        return args[0]
    if kind == "accumulated":
        return getattr(args[0], "grad", None)
    return args[-1] if kind == "forward" else args[1]


def _tensors(value: object) -> list[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [one for one in value if isinstance(one, torch.Tensor)]
    return []


def _ids(tensors: Sequence[torch.Tensor]) -> list[int]:
    return [id(one) for one in tensors]


def _of_library(path: str) -> bool:
    import torch

    return path.startswith(torch.__path__[0]) or "_veracity_guard" in path


watching: list[ProgramHooks] = []


def watch_hooks(session: Session, torch: ModuleType) -> None:
    """Wrap the functions by which programs register hooks on tensors, modules and all modules."""
    hooks = ProgramHooks(session)
    watching[:] = [hooks]
    run = session.shield.run

    def on_object(kind: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
        def make(original: Callable[..., object]) -> Callable[..., object]:
            def register(self: object, hook: Hook, *args: object, **kwargs: object) -> object:
                return original(self, run(SITE, hooks.watched, self, hook, kind) or hook, *args, **kwargs)

            # torch.compile leaves functions with this mark alone.
            register._torchdynamo_disable = True  # type: ignore[attr-defined]
            return register

        return make

    for name, kind in (("register_hook", "tensor"), ("register_post_accumulate_grad_hook", "accumulated")):
        replace(torch.Tensor, name, on_object(kind))
    for name, kind in _MODULE_HOOKS.items():
        replace(cast("type", torch.nn.Module), name, on_object(kind))


_MODULE_HOOKS = {
    "register_forward_pre_hook": "forward pre",
    "register_forward_hook": "forward",
    "register_full_backward_pre_hook": "backward pre",
    "register_full_backward_hook": "backward",
}
