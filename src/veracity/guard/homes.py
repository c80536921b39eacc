"""Where an optimizer's parameters live: do the modules still compute with the tensors that it steps on?"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_HOMES = 8192
MAX_NAMED = 8


@dataclass(frozen=True, slots=True)
class _Home:
    """A module's entry that held a parameter when the optimizer was declared."""

    name: str
    module: weakref.ref[torch.nn.Module]
    key: str
    parameter: torch.Tensor


class Homes:
    """The entries below ``outer`` that hold one of an optimizer's ``parameters``."""

    def __init__(self, outer: Sequence[torch.nn.Module], parameters: Sequence[torch.Tensor]) -> None:
        own = {id(parameter): parameter for parameter in parameters}
        self._homes: list[_Home] = []
        for one in outer:
            for prefix, part in one.named_modules():
                for key, held in part._parameters.items():
                    if held is not None and id(held) in own and len(self._homes) < MAX_HOMES:
                        name = f"{prefix}.{key}" if prefix else key
                        self._homes.append(_Home(name, weakref.ref(part), key, held))

    def exchanged(self, optimized: Callable[[], Collection[int]]) -> list[str]:
        """Entries that hold another parameter now, which has a gradient, and which no optimizer holds.

        ``optimized`` gives the ids of all parameters that optimizers hold.
        """
        found: list[str] = []
        everyone: Collection[int] | None = None
        for home in self._homes:
            module = home.module()
            now = module._parameters.get(home.key) if module is not None else None
            if now is None or now is home.parameter:
                continue
            # What was computed from others has no gradient to ask for, and torch warns of who asks.
            if not now.is_leaf or not now.requires_grad or now.grad is None:
                continue
            everyone = optimized() if everyone is None else everyone
            if id(now) not in everyone and len(found) < MAX_NAMED:
                found.append(home.name)
        return found
