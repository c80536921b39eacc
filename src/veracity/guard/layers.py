"""Settings of torch's own layers (an eps, the index of padding, a stride): what they are from step to step.

They are attributes that any line may set, and they decide what a forward pass computes and which gradients it
hands back. Looked at are those that torch's classes declare as constants, where a module holds a plain value;
and, as the setting ``mode``, whether a layer that has modes is in that of the module which is trained.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import declare

if TYPE_CHECKING:
    import torch

MAX_LAYERS = 1024
MAX_NAMED = 8
# A program that sets them at each step is not told of for ever.
MAX_RECORDS = 40
MAX_TEXT = 80
MAX_WRAPPERS = 8
WITH_IT = "that of its module"
_TORCH = "torch.nn.modules."


@dataclass(slots=True)
class _Layer:
    """One module: its settings, how they are read at once, and what they were when last looked at."""

    name: str
    module: weakref.ref[torch.nn.Module]
    settings: tuple[str, ...]
    read: Callable[[Mapping[str, object]], tuple[object, ...]]
    values: tuple[object, ...]
    whole: weakref.ref[torch.nn.Module]
    moded: bool
    mode: str

    def changed(self) -> Iterator[list[object]]:
        """Settings with another value than at the last call: ``[layer, setting, before, after]``."""
        module = self.module()
        if module is None:
            return
        whole = self.whole() if self.moded else None
        if whole is not None:
            mode, self.mode = self.mode, _mode(module, whole)
            if mode != self.mode:
                yield [self.name, "mode", mode, self.mode]
        try:
            now = self.read(vars(module))
        except KeyError:
            return
        if all(map(operator.is_, now, self.values)):
            return
        before, self.values = self.values, now
        for setting, then, value in zip(self.settings, before, now, strict=False):
            was, found = _told(then), _told(value)
            if was != found:
                yield [self.name, setting, was, found]


class Layers:
    """The layers below the modules that hold an optimizer's parameters."""

    def __init__(self, outer: Sequence[torch.nn.Module]) -> None:
        self._layers: list[_Layer] = []
        self._records = 0
        for one in outer:
            for name, part in one.named_modules():
                settings = _settings(part) if len(self._layers) < MAX_LAYERS else ()
                if settings:
                    # itemgetter of one key returns the bare value, so that one is asked for twice.
                    read = operator.itemgetter(*settings, settings[0])
                    self._layers.append(
                        _Layer(
                            name,
                            weakref.ref(part),
                            settings,
                            read,
                            read(vars(part)),
                            weakref.ref(within(one)),
                            has_modes(part),
                            _mode(part, within(one)),
                        )
                    )

    def changed(self) -> list[list[object]]:
        """What was set since the last call, of the first :data:`MAX_NAMED` settings."""
        found = [told for layer in self._layers for told in layer.changed()]
        if not found or self._records >= MAX_RECORDS:
            return []
        self._records += 1
        return found[:MAX_NAMED]


def within(module: torch.nn.Module) -> torch.nn.Module:
    """What torch's own wrappers (DistributedDataParallel, a compiled module) hold; another module as it is.

    A wrapper's mode says nothing: that of the module within is set by itself as well.
    """
    for _ in range(MAX_WRAPPERS):
        kind, inner = type(module).__module__, tuple(module.children())
        if not kind.startswith("torch.") or kind.startswith(_TORCH) or len(inner) != 1:
            break
        module = inner[0]
    return module


def has_modes(module: torch.nn.Module) -> bool:
    """Whether evaluation mode changes what the module computes, as far as its class or its code says."""
    import torch

    kinds = torch.nn.modules
    if isinstance(module, (kinds.dropout._DropoutNd, torch.nn.AlphaDropout)):
        return module.p > 0
    if isinstance(module, kinds.batchnorm._NormBase):
        return module.track_running_stats
    if isinstance(module, (torch.nn.RNNBase, torch.nn.MultiheadAttention)):
        return float(module.dropout) > 0
    if type(module).__module__.startswith("torch.nn."):
        return False
    return "training" in getattr(getattr(type(module).forward, "__code__", None), "co_names", ())


def _mode(module: torch.nn.Module, whole: torch.nn.Module) -> str:
    """A layer's mode beside that of the module it belongs to."""
    if module.training is whole.training:
        return WITH_IT
    return "training" if module.training else "evaluation"


def _settings(module: torch.nn.Module) -> tuple[str, ...]:
    """Names of the attributes that torch's classes of this module declare as constants and that are plain."""
    held = vars(module)
    names = (
        name
        for kind in type(module).__mro__
        if kind.__module__.startswith(_TORCH)
        for name in vars(kind).get("__constants__", ())
    )
    return tuple(name for name in dict.fromkeys(names) if name in held and _is_plain(held[name]))


def _told(value: object) -> object:
    """A value as the record holds it, no text longer than :data:`MAX_TEXT`."""
    told = declare.hyper(value)
    return told[:MAX_TEXT] if isinstance(told, str) else told


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
