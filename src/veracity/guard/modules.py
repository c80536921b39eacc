"""What an optimizer's modules are like at its steps: their mode, their settings, who writes their statistics.

Batch normalisation's forward pass moves its running statistics without raising their version counters; every
other write in place raises them. Compiled passes and broadcasts raise them at each step, which is shipped as
it is: what a program always does is for the detector to know.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING

from .homes import Homes
from .layers import Layers, has_modes, within
from .numerics import Numerics
from .statistics import Derived

if TYPE_CHECKING:
    import torch

MAX_NORMS = 64
MAX_NAMED = 8
# A program that writes at each step is not told of for ever.
MAX_RECORDS = 40


class Modules:
    """The modules that hold an optimizer's ``parameters``."""

    def __init__(
        self, holding: Sequence[torch.nn.Module], key: bytes, parameters: Sequence[torch.Tensor]
    ) -> None:
        import torch

        inner = {id(child) for one in holding for child in one.modules() if child is not one}
        outer = [one for one in holding if id(one) not in inner]
        self._outer = [weakref.ref(within(one)) for one in outer]
        self._layers = Layers(outer)
        self._numerics = Numerics()
        self._homes = Homes(outer, parameters)
        self._moded = any(has_modes(part) for one in outer for part in one.modules())
        # An optimizer may be declared after its first backward pass has begun.
        self._trained = self._in_training()
        self._drops: list[weakref.ref[torch.nn.modules.dropout._DropoutNd]] = []
        self._norms: list[_Statistics] = []
        self._records = 0
        self._looked = 0
        norms: list[tuple[str, weakref.ref[torch.nn.modules.batchnorm._BatchNorm]]] = []
        for one in outer:
            for name, part in one.named_modules():
                if isinstance(part, torch.nn.modules.dropout._DropoutNd) and len(self._drops) < MAX_NORMS:
                    self._drops.append(weakref.ref(part))
                counted = isinstance(part, torch.nn.modules.batchnorm._BatchNorm)
                if counted and part.running_mean is not None and len(self._norms) < MAX_NORMS:
                    self._norms.append(_Statistics(name, part))
                    norms.append((name, weakref.ref(part)))
        self._derived = Derived(key, norms)

    def backward(self, of: object, *, close: bool) -> None:
        """A backward pass begins: in which mode are the modules, and do their statistics follow?"""
        began = perf_counter_ns()
        if self._moded and not self._trained:
            self._trained = self._in_training()
        self._derived.backward(of if isinstance(of, (list, tuple)) else [of], compare=close)
        self._looked += perf_counter_ns() - began

    def told(self, optimized: Callable[[], Collection[int]], *, backwards: bool) -> dict[str, object]:
        """What a step's record holds of them; ``optimized`` gives the ids of all optimizers' parameters."""
        followed, statistics = self._derived.taken()
        return {
            "training": self.mode(backwards=backwards),
            "buffers": self.written(),
            "dropping": self.dropping(),
            "followed": followed,
            "statistics": statistics,
            "settings": self._layers.changed() + self._numerics.changed(),
            "exchanged": self._homes.exchanged(optimized),
        }

    def took(self) -> int:
        """Nanoseconds spent at backward passes since the last call."""
        looked, self._looked = self._looked, 0
        return looked

    def resumed(self) -> None:
        """What came before was not followed."""
        self._trained = self._in_training()
        self._derived.resumed()
        for one in self._norms:
            one.written()

    def mode(self, *, backwards: bool) -> bool | None:
        """Whether a pass since the last step was made in training mode; None where modes change nothing."""
        if not self._moded:
            return None
        trained, self._trained = self._trained, False
        return trained or (not backwards and self._in_training())

    def dropping(self) -> bool:
        """Whether a dropout among them would draw a mask now."""
        return any(
            one is not None and one.training and 0 < one.p < 1 for one in (ref() for ref in self._drops)
        )

    def written(self) -> list[list[object]]:
        """Statistics written in place since the last call: ``[name, times, counted backwards]``."""
        found = [told for one in self._norms if (told := one.written()) is not None]
        if not found or self._records >= MAX_RECORDS:
            return []
        self._records += 1
        return found[:MAX_NAMED]

    def _in_training(self) -> bool:
        return all(module.training for module in (ref() for ref in self._outer) if module is not None)


class _Statistics:
    """The running mean and variance of one batch normalisation."""

    def __init__(self, name: str, module: torch.nn.modules.batchnorm._BatchNorm) -> None:
        self._name = name
        self._module = weakref.ref(module)
        self._last = self._now()

    def written(self) -> list[object] | None:
        """How often they were written since the last call; None when they were not, or were exchanged."""
        before, self._last = self._last, self._now()
        if before is None or self._last is None or before[0] != self._last[0]:
            return None
        times = max(now - then for now, then in zip(self._last[1], before[1], strict=True))
        if times <= 0:
            return None
        return [self._name, times, self._last[2] < before[2]]

    def _now(self) -> tuple[tuple[int, int], tuple[int, int], int] | None:
        module = self._module()
        if module is None:
            return None
        mean, variance, count = module.running_mean, module.running_var, module.num_batches_tracked
        if mean is None or variance is None or count is None or mean.is_inference():
            return None
        # The count lives where the module does: asking for its value on a device would wait for it.
        counted = int(count) if count.device.type == "cpu" else 0
        return (id(mean), id(variance)), (mean._version, variance._version), counted
