"""Contract: what a run declares about itself, read from its own objects before step 0.

The contract is fixed as early as each field can be read and kept outside the training process, so that
laws compare what happens with what was declared and not with what a later edit would like to declare.
Hyper-parameters keep torch's own names (``lr``, ``betas``, ``weight_decay`` …).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = "None | bool | int | float | str"
Hyper: TypeAlias = "None | bool | int | float | str | list[None | bool | int | float | str]"


@dataclass(frozen=True, slots=True)
class TensorDeclaration:
    """One parameter tensor: ``shape`` in elements, ``dtype`` in torch's spelling without ``torch.``."""

    name: str
    shape: list[int]
    dtype: str
    numel: int
    group: int


@dataclass(frozen=True, slots=True)
class OptimizerDeclaration:
    """An optimizer as it stood before its first step.

    ``class_name`` is ``module.QualName``; ``path``/``line`` say where its ``step`` is defined.
    ``groups`` holds each parameter group's hyper-parameters; ``tensors`` are in the order of the groups.
    ``replicas`` are the global ranks whose copies of all its parameters DistributedDataParallel keeps equal.
    """

    index: int
    class_name: str
    path: str
    line: int
    groups: list[dict[str, Hyper]]
    tensors: list[TensorDeclaration]
    replicas: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SchedulerDeclaration:
    """A learning-rate scheduler as constructed.

    ``parameters`` are the public constructor values by torch's names (``T_max``, ``eta_min``, ``gamma``,
    ``milestones`` …). ``children`` are the schedulers inside SequentialLR and ChainedScheduler.
    ``last_epoch`` is the position at the time of the declaration; ``lrs`` the rates at that time.
    """

    index: int
    optimizer: int
    class_name: str
    parameters: dict[str, Hyper]
    base_lrs: list[float]
    lrs: list[float]
    last_epoch: int
    children: list[SchedulerDeclaration] = field(default_factory=list)
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class LoaderDeclaration:
    """A DataLoader as it stood when an iteration over it began."""

    index: int
    dataset_class: str
    dataset_length: int
    batch_size: int
    drop_last: bool
    sampler_class: str
    batch_sampler_class: str
    num_workers: int
    persistent_workers: bool
    iterable: bool
