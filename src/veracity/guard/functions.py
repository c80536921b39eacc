"""Functions that decide a step, re-read while the run goes on: is the code in memory that on disk?"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

from ..core.codeobject import digest

if TYPE_CHECKING:
    from .session import Session
    from .steps import Steps

EVERY = 20
EVERY_WHOLE = 500
MAX_FUNCTIONS = 2_000
_MODULES = (
    "torch.optim.optimizer",
    "torch.optim.lr_scheduler",
    "torch.nn.utils.clip_grad",
    "torch.autograd",
    "torch.autograd.graph",
    "torch._tensor",
    "torch.serialization",
    "torch.utils.data.dataloader",
    "torch.utils.data.sampler",
    "torch.utils.data.distributed",
    "torch.utils.data._utils.fetch",
    "torch.utils.data._utils.collate",
    "torch.nn.functional",
    "torch.nn.modules.module",
    "torch.nn.parallel.distributed",
    "torch.distributed.distributed_c10d",
)


_Place = tuple[Mapping[str, object], str, object, FunctionType, str]
"""Where a function is looked up: a namespace, its key there, the value (the function or what wraps it), the
function, its qualified name."""


class Functions:
    """Watches the functions of the modules above and of every optimizer's own module."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._codes: dict[str, CodeType] = {}
        self._next = 0
        self._next_whole = 0
        self._near: list[_Seen] = []
        self._far: list[_Seen] = []

    def look(self) -> None:
        """Report functions that are new or whose code object is another one.

        Those of the modules that define the optimizers' classes are compared after each step with what was
        seen last, all others every ``EVERY`` steps; a difference starts a look at everything, and so do
        ``EVERY_WHOLE`` steps.
        """
        step = self._session.last_step
        if step >= self._next:
            self._next = step + EVERY
            due = step >= self._next_whole or _changed(self._far)
        else:
            due = False
        if due or _changed(self._near):
            self._next_whole = step + EVERY_WHOLE
            self._look_at_all(step)

    def _look_at_all(self, step: int) -> None:
        near = [name for name in self._optimizer_modules() if name not in _MODULES]
        self._near = _seen(near)
        self._far = _seen(_MODULES)
        changed = []
        for name, function in self._watched():
            for layer, code in _layers(name, function):
                if self._codes.get(layer) is code or len(self._codes) > MAX_FUNCTIONS:
                    continue
                self._codes[layer] = code
                changed.append(
                    {
                        "name": layer,
                        "code": digest(code),
                        "path": code.co_filename,
                        "line": code.co_firstlineno,
                        "wrapped": name if layer != name else "",
                    }
                )
        if changed:
            self._session.emit("functions", {"step": step, "functions": changed})

    def _optimizer_modules(self) -> list[str]:
        kinds = [kind for optimizer, _ in self._steps.roster.known() for kind in type(optimizer).__mro__]
        return list(dict.fromkeys(kind.__module__ for kind in kinds if kind is not object))

    def _watched(self) -> Iterator[tuple[str, FunctionType]]:
        names = [*_MODULES, *self._optimizer_modules()]
        for optimizer, _ in self._steps.roster.known():
            step = vars(optimizer).get("step")
            function = getattr(step, "__func__", step)
            if isinstance(function, FunctionType):
                yield f"{type(optimizer).__module__}.{type(optimizer).__qualname__}().step", function
        for name in dict.fromkeys(names):
            for _, _, _, function, qualified in _places(name):
                yield qualified, function


@dataclass(frozen=True, slots=True)
class _Seen:
    """What some names of one namespace held, in a form that is compared without a loop in Python."""

    names: Mapping[str, object]
    values_of: Callable[[Mapping[str, object]], tuple[object, ...]]
    values: tuple[object, ...]
    functions: tuple[FunctionType, ...]
    codes: tuple[CodeType, ...]

    def changed(self) -> bool:
        """Whether a name holds another value than it did, or its function other code."""
        try:
            now = self.values_of(self.names)
        except KeyError:
            return True
        return not (
            all(map(operator.is_, now, self.values))
            and all(map(operator.is_, map(_code_of, self.functions), self.codes))
        )


_code_of = operator.attrgetter("__code__")


def _seen(modules: Iterable[str]) -> list[_Seen]:
    """What the functions of these modules are now, by namespace."""
    spaces: dict[int, list[_Place]] = {}
    for module in modules:
        for place in _places(module):
            spaces.setdefault(id(place[0]), []).append(place)
    return [_of_one_space(places) for places in spaces.values()]


def _of_one_space(places: list[_Place]) -> _Seen:
    keys = [key for _, key, _, _, _ in places]
    functions = tuple(function for _, _, _, function, _ in places)
    # itemgetter of one key returns the bare value, so that one is asked for twice.
    return _Seen(
        names=places[0][0],
        values_of=operator.itemgetter(*keys, keys[0]),
        values=tuple(value for _, _, value, _, _ in (*places, places[0])),
        functions=functions,
        codes=tuple(map(_code_of, functions)),
    )


def _changed(seen: Iterable[_Seen]) -> bool:
    return any(space.changed() for space in seen)


def _places(name: str) -> Iterator[_Place]:
    """Where the functions of a module lie: in itself, and in the classes it defines."""
    module = sys.modules.get(name)
    if module is None:
        return
    for key, value in list(vars(module).items()):
        # By type, never by isinstance: a deprecated name's proxy would warn when asked for its class.
        if type(value) is FunctionType:
            yield vars(module), key, value, value, f"{name}.{key}"
        elif issubclass(type(value), type) and value.__module__ == name:
            space = vars(value)  # once: each call makes a new view, and places are told apart by theirs
            for inner, member in list(space.items()):
                function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
                if isinstance(function, FunctionType):
                    yield space, inner, member, function, f"{name}.{key}.{inner}"


def _layers(name: str, function: FunctionType) -> Iterator[tuple[str, CodeType]]:
    """The function's code and, below each wrapper, that of the function it wraps, named ``….__wrapped__``."""
    current: object = function
    for depth in range(8):
        if not isinstance(current, FunctionType):
            return
        yield name + ".__wrapped__" * depth, current.__code__
        current = current.__dict__.get("__wrapped__")
