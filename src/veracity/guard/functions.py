"""Functions that decide a step, re-read while the run goes on: is the code in memory that on disk?

Those of the modules below, of the optimizers' own modules, and the methods of what is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

from ..core.codeobject import digest
from ..core.quantity import quantity
from .declare import qualified
from .namespaces import Place, Seen, built_in, functions_of_class, functions_of_module, kind_of, seen
from .trained import Trained, function_of

if TYPE_CHECKING:
    import torch

    from .session import Session
    from .steps import Steps

EVERY = 20
EVERY_WHOLE = 500
MAX_FUNCTIONS = 2_000
# A program that exchanges functions at each step is not looked through at each step for ever.
MAX_ALARMS = 100
_BUILT_IN = ("torch", "torch.nn.functional")
_AT_EACH_STEP = ("torch.nn.functional", "torch.nn.modules.module", "torch._tensor", "torch.autograd")
_MODULES = (
    *_AT_EACH_STEP,
    "torch.optim.optimizer",
    "torch.optim.lr_scheduler",
    "torch.nn.utils.clip_grad",
    "torch.autograd.graph",
    "torch.serialization",
    "torch.utils.data.dataloader",
    "torch.utils.data.sampler",
    "torch.utils.data.distributed",
    "torch.utils.data._utils.fetch",
    "torch.utils.data._utils.collate",
    "torch.nn.parallel.distributed",
    "torch.distributed.distributed_c10d",
)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A function and the name that it is told under; ``forward``: it is a method of what is trained."""

    name: str
    function: FunctionType
    forward: bool = False


class Functions:
    """Watches the functions of the modules above, of every optimizer's own module and of what is trained."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._codes: dict[str, CodeType] = {}
        self._next = 0
        self._next_whole = 0
        self._alarms = 0
        self._told_left_out = False
        self._near: list[Seen] = []
        self._far: list[Seen] = []
        self._trained = Trained()

    def look(self) -> None:
        """Report functions that are new or whose code object is another one.

        Those of the modules that define the optimizers' classes, the methods of what is trained and what all
        forward and backward passes use are compared after each step with what was seen last, all others every
        ``EVERY`` steps; a difference starts a look at everything, and so do ``EVERY_WHOLE`` steps.
        """
        step = self._session.last_step
        if step >= self._next:
            self._next = step + EVERY
            due = step >= self._next_whole or _changed(self._far)
        else:
            due = False
        if due or self._alarmed():
            self._next_whole = step + EVERY_WHOLE
            self._look_at_all(step)

    def look_within(self) -> None:
        """Amidst a step, after which a function may be what it was: the comparison made after each step."""
        if self._alarmed():
            self._look_at_all(self._session.last_step + 1)

    def _alarmed(self) -> bool:
        if self._alarms >= MAX_ALARMS or not (_changed(self._near) or self._trained.changed()):
            return False
        self._alarms += 1
        if self._alarms == MAX_ALARMS:
            self._session.gap(
                f"functions that decide a step were exchanged {MAX_ALARMS} times",
                f"from here on they are compared every {EVERY_WHOLE} steps",
                law="code-identity",
            )
        return True

    def _look_at_all(self, step: int) -> None:
        changed = [told for space in (*self._near, *self._far) for told in self._given_way(space)]
        self._trained.look(self._holding())
        if self._trained.left_out and not self._told_left_out:
            self._told_left_out = True
            self._session.gap(
                f"{quantity(self._trained.left_out, 'part')} of the model are not watched",
                "they compare by rules of their own, or there are more than are followed",
                law="code-identity",
            )
        self._near, self._far = seen(self._near_places()), seen(self._far_places())
        for watched in self._watched():
            for layer, code in _layers(watched.name, watched.function):
                if self._codes.get(layer) is code or len(self._codes) > MAX_FUNCTIONS:
                    continue
                self._codes[layer] = code
                wrapped = watched.name if layer != watched.name else ""
                changed.append(_identity(layer, code, wrapped=wrapped, forward=watched.forward))
        if changed:
            self._session.emit("functions", {"step": step, "functions": changed})

    def _given_way(self, space: Seen) -> Iterator[dict[str, object]]:
        """What was there before what came, and what came."""
        forward = space.places[0].kind in self._trained.kinds()
        for name, was, now in space.given_way():
            for value in (was, now):
                function = function_of(value)
                code = function.__code__ if function is not None else None
                yield _identity(name, code, path=kind_of(value), forward=forward)

    def _near_places(self) -> Iterator[Place]:
        """What is compared at each step that is looked at."""
        for name in dict.fromkeys([*_AT_EACH_STEP, *self._optimizer_modules()]):
            if name in _AT_EACH_STEP or name not in _MODULES:
                yield from functions_of_module(name)
        for kind in (_tensor(), *self._trained.kinds()):
            yield from functions_of_class(kind)
        for name in _BUILT_IN:
            yield from built_in(name)

    @staticmethod
    def _far_places() -> Iterator[Place]:
        return (
            place for name in _MODULES if name not in _AT_EACH_STEP for place in functions_of_module(name)
        )

    def _optimizer_modules(self) -> list[str]:
        kinds = [kind for optimizer, _ in self._steps.roster.known() for kind in type(optimizer).__mro__]
        return list(dict.fromkeys(kind.__module__ for kind in kinds if kind is not object))

    def _holding(self) -> Iterator[torch.nn.Module]:
        for _, tracked in self._steps.roster.known():
            for module in (reference() for reference in tracked.held_by):
                if module is not None:
                    yield module

    def _watched(self) -> Iterator[_Watched]:
        for optimizer, _ in self._steps.roster.known():
            function = function_of(vars(optimizer).get("step"))
            if function is not None:
                yield _Watched(f"{qualified(type(optimizer))}().step", function)
        for kind in (_tensor(), *self._trained.kinds()):
            for place in functions_of_class(kind):
                if place.function is not None:
                    yield _Watched(place.name, place.function, forward=kind is not _tensor())
        for name in dict.fromkeys([*_MODULES, *self._optimizer_modules()]):
            for place in functions_of_module(name):
                if place.function is not None:
                    yield _Watched(place.name, place.function)
        for name, function in self._trained.forwards():
            yield _Watched(name, function, forward=True)


def _tensor() -> type:
    """The class of torch's tensors, which says that it is of another module than the one that defines it."""
    import torch

    return torch.Tensor


def _changed(seen: Iterable[Seen]) -> bool:
    return any(space.changed() for space in seen)


def _identity(
    name: str, code: CodeType | None, *, path: str = "", wrapped: str = "", forward: bool = False
) -> dict[str, object]:
    """A ``FunctionIdentity``; of what has no code ``path`` says what it is."""
    return {
        "name": name,
        "code": digest(code) if code is not None else "",
        "path": code.co_filename if code is not None else path,
        "line": code.co_firstlineno if code is not None else 0,
        "wrapped": wrapped,
        "forward": forward,
    }


def _layers(name: str, function: FunctionType) -> Iterator[tuple[str, CodeType]]:
    """The function's code and, below each wrapper, that of the function it wraps, named ``….__wrapped__``."""
    current: object = function
    for depth in range(8):
        if not isinstance(current, FunctionType):
            return
        yield name + ".__wrapped__" * depth, current.__code__
        current = current.__dict__.get("__wrapped__")
