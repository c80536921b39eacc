"""What is trained: the classes of the modules, and the modules that have a ``forward`` of their own beside.

``module.forward = f`` puts a function before the one of the class, for this module alone. Some libraries do
so when they prepare a model; done in the middle of a run, it exchanges what a step computes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

from .declare import qualified
from .weakmap import WeakMap

if TYPE_CHECKING:
    import torch

MAX_MODULES = 1_024
MAX_KINDS = 128
FORWARD = "forward"
_Module = tuple[str, "weakref.ref[torch.nn.Module]", CodeType | None]
"""Path of a module in the outermost one, the module, the code of its own ``forward``."""


class Trained:
    """The modules below those that hold an optimizer's parameters, as they were at the last look."""

    def __init__(self) -> None:
        self._modules: list[_Module] = []
        # A class made anew under its old name is another one, not the old one with other functions.
        self._kinds: dict[str, weakref.ref[type]] = {}
        # 0 for a module that was met without a ``forward`` of its own.
        self._numbers: WeakMap[torch.nn.Module, int] = WeakMap()
        self._count = 0
        self.left_out = 0
        """Modules and classes that the last look had no place for."""

    def look(self, holding: Iterable[torch.nn.Module]) -> None:
        """Take in the modules ``holding`` parameters and all below them, up to :data:`MAX_MODULES`."""
        import torch

        self._modules, self.left_out = [], 0
        met: set[int] = set()
        for outer in holding:
            if id(outer) in met:
                continue
            for name, module in outer.named_modules():
                # Kept by their identity: a class that compares its modules otherwise is left out.
                plain = type(module).__hash__ is torch.nn.Module.__hash__
                if id(module) in met:
                    continue
                met.add(id(module))
                if not plain or len(self._modules) >= MAX_MODULES:
                    self.left_out += 1
                    continue
                self._modules.append((name, weakref.ref(module), _own(module)))
                for kind in type(module).__mro__:
                    if FORWARD in vars(kind) and kind is not torch.nn.Module:
                        self._take(kind)

    def _take(self, kind: type) -> None:
        name = qualified(kind)
        if name in self._kinds or len(self._kinds) < MAX_KINDS:
            self._kinds.setdefault(name, weakref.ref(kind))
        else:
            self.left_out += 1

    def changed(self) -> bool:
        """Whether a module has another ``forward`` of its own than at the last look, or one at all."""
        return any(
            module is not None and _own(module) is not code
            for module, code in ((reference(), code) for _, reference, code in self._modules)
        )

    def kinds(self) -> list[type]:
        """The classes that define the ``forward`` of a module, each once."""
        return [kind for kind in (reference() for reference in self._kinds.values()) if kind is not None]

    def forwards(self) -> Iterator[tuple[str, FunctionType]]:
        """Modules' own ``forward`` functions by name; one that came since is told of after its class's."""
        for name, reference, _ in self._modules:
            module = reference()
            if module is not None:
                yield from self._forwards_of(name, module)

    def _forwards_of(self, name: str, module: torch.nn.Module) -> Iterator[tuple[str, FunctionType]]:
        number, kind = self._numbers.get(module), type(module)
        own = function_of(vars(module).get(FORWARD))
        its = function_of(getattr(kind, FORWARD, None))
        if own is None or (its is not None and own.__code__ is its.__code__):
            if number is None:
                self._numbers[module] = 0
            return
        came_later = number == 0
        if not number:
            self._count += 1
            number = self._numbers[module] = self._count
        told = f"{qualified(kind)}().{FORWARD} ({number}: {name or 'itself'})"
        if came_later and its is not None:
            yield told, its
        yield told, own


def function_of(value: object) -> FunctionType | None:
    """The function itself, that of a method, or None for what is neither."""
    function = getattr(value, "__func__", value)
    return function if isinstance(function, FunctionType) else None


def _own(module: torch.nn.Module) -> CodeType | None:
    value = vars(module).get(FORWARD)
    function = function_of(value) if value is not None else None
    return function.__code__ if function is not None else None
