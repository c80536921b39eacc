"""``contract.toml``: what the run declares, for people. Derived from the record.

Written when training begins and again at the end. All values here are of origin ``read``: taken from the
program's own objects before the first step, so they protect against later change only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..core.contract import Hyper, LoaderDeclaration, OptimizerDeclaration, SchedulerDeclaration
from ..core.observation import LoaderStarted, Observation, OptimizerDeclared, SchedulerDeclared
from ..ledger.files import write_private
from .accounts import recorded

MAX_ITEMS = 64


class ContractFile:
    """Collects the declarations of rank 0 (or of the only process)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._optimizers: dict[int, OptimizerDeclaration] = {}
        self._schedulers: dict[int, SchedulerDeclaration] = {}
        self._loaders: dict[int, LoaderDeclaration] = {}

    def take(self, observation: Observation) -> None:
        """Note a declaration; the first one of each object counts."""
        if observation.origin.rank > 0:
            return
        if isinstance(observation, OptimizerDeclared) and len(self._optimizers) < MAX_ITEMS:
            self._optimizers.setdefault(observation.optimizer.index, observation.optimizer)
        elif isinstance(observation, SchedulerDeclared) and len(self._schedulers) < MAX_ITEMS:
            self._schedulers.setdefault(observation.scheduler.index, observation.scheduler)
        elif isinstance(observation, LoaderStarted) and len(self._loaders) < MAX_ITEMS:
            self._loaders.setdefault(observation.loader.index, observation.loader)

    @recorded
    def write(self) -> None:
        """Write the file; raises OSError when the disk refuses."""
        write_private(self._path, "\n".join(self._lines()).encode() + b"\n")

    def _lines(self) -> Iterator[str]:
        yield '# what this run declared before its first step; origin = "read" from its own objects'
        yield 'origin = "read"'
        for optimizer in self._optimizers.values():
            yield from ("", "[[optimizer]]")
            yield from _pairs({"class": optimizer.class_name, "tensors": len(optimizer.tensors)})
            yield from _pairs({"parameters": sum(tensor.numel for tensor in optimizer.tensors)})
            for group in optimizer.groups:
                yield from ("", "[[optimizer.group]]")
                yield from _pairs(group)
        for scheduler in self._schedulers.values():
            yield from ("", "[[schedule]]")
            yield from _schedule(scheduler)
            for child in scheduler.children:
                yield from ("", "[[schedule.child]]")
                yield from _schedule(child)
        for loader in self._loaders.values():
            yield from ("", "[[loader]]")
            yield from _pairs(
                {
                    "dataset": loader.dataset_class,
                    "length": loader.dataset_length,
                    "batch_size": loader.batch_size,
                    "drop_last": loader.drop_last,
                    "sampler": loader.sampler_class,
                    "workers": loader.num_workers,
                }
            )


def _schedule(scheduler: SchedulerDeclaration) -> Iterator[str]:
    yield from _pairs({"class": scheduler.class_name, "base_lrs": list(scheduler.base_lrs)})
    yield from _pairs(scheduler.parameters)
    if scheduler.functions:
        yield from _pairs({"functions": [str(function) for function in scheduler.functions]})


def _pairs(values: dict[str, Hyper]) -> Iterator[str]:
    """``key = value`` lines; what TOML has no value for (None) is left out."""
    for key, value in values.items():
        if value is not None:
            yield f"{_string(key)} = {_value(value)}"


def _value(value: Hyper) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value if item is not None) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in ".en") else text + ".0"
    return _string(value) if isinstance(value, str) else str(value)


def _string(text: str) -> str:
    """A TOML basic string: as JSON writes it, but TOML has no surrogates and wants DEL escaped."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
