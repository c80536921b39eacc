"""When two runs train the same: a digest over what defines a training, and over nothing else.

In it: optimizers with their hyper-parameters and tensors, schedules, loaders and their data's size, the
number of ranks, and the weights that a checkpoint brought. Not in it: seeds, paths, lines, times, the number
of loading processes, and how an optimizer's arithmetic is laid out (``foreach``, ``fused``): honest repeats
of a training, on another machine too, differ in these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from .contract import LoaderDeclaration, OptimizerDeclaration, SchedulerDeclaration

_DEPTH = 8
"""Schedules within schedules; what a hostile record nests deeper is left out."""
_LAYOUT = frozenset({"foreach", "fused", "capturable", "differentiable"})
LENGTH = 32


def likeness(
    optimizers: Mapping[int, OptimizerDeclaration],
    schedulers: Mapping[int, SchedulerDeclaration],
    loaders: Mapping[int, LoaderDeclaration],
    *,
    world: int,
    began_from: Sequence[str],
) -> str:
    """The digest of a training as it stood before its first step, 32 hexadecimal digits.

    All are keyed by their index in the program. ``began_from``: digests of weights that were loaded.
    """
    return _digest(
        [
            [[index, _optimizer(one)] for index, one in sorted(optimizers.items())],
            [[index, _scheduler(one)] for index, one in sorted(schedulers.items())],
            [[index, _loader(one)] for index, one in sorted(loaders.items())],
            world,
            list(began_from),
        ]
    )


def optimizer_likeness(optimizer: OptimizerDeclaration) -> str:
    """The digest of one optimizer alone: programs make some only after training has begun."""
    return _digest(_optimizer(optimizer))


def _optimizer(one: OptimizerDeclaration) -> object:
    groups = [{key: value for key, value in group.items() if key not in _LAYOUT} for group in one.groups]
    tensors = [[tensor.name, tensor.shape, tensor.dtype, tensor.group] for tensor in one.tensors]
    return [one.class_name, groups, tensors, len(one.replicas), one.sharded]


def _scheduler(one: SchedulerDeclaration, depth: int = 0) -> object:
    functions = [[function.name, function.arguments] for function in one.functions]
    children = [_scheduler(child, depth + 1) for child in one.children] if depth < _DEPTH else []
    return [one.optimizer, one.class_name, one.parameters, one.base_lrs, functions, children]


def _loader(one: LoaderDeclaration) -> object:
    return [
        one.dataset_class, one.dataset_length, one.batch_size, one.drop_last, one.sampler_class,
        one.batch_sampler_class, one.iterable, one.parts, one.split, one.even,
    ]  # fmt: skip


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:LENGTH]
