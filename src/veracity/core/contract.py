"""Contract: what a run declares about itself, read from its own objects before step 0.

The contract is fixed as early as each field can be read and kept outside the training process, so that
laws compare what happens with what was declared and not with what a later edit would like to declare.
Hyper-parameters keep torch's own names (``lr``, ``betas``, ``weight_decay`` …).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

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
    ``sharded`` is the number of tensors that are dealt out over ranks (FSDP2, tensor parallelism): their
    ``shape`` and ``numel`` are those of the whole, samples are of the part that this rank holds.
    ``base`` is the nearest of its class' bases that is torch's own (itself, for one of those), empty without;
    ``inherits``: what takes the step is that base's, unchanged.
    """

    index: int
    class_name: str
    path: str
    line: int
    groups: list[dict[str, Hyper]]
    tensors: list[TensorDeclaration]
    replicas: list[int] = field(default_factory=list)
    sharded: int = 0
    base: str = ""
    inherits: bool = False


@dataclass(frozen=True, slots=True)
class RateFunction:
    """A function that gives the rate as a share of the base rate: its place, and what was bound to it."""

    name: str
    arguments: dict[str, Hyper] = field(default_factory=dict)

    def __str__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name.rpartition('.')[2] or self.name}({bound})"


@dataclass(frozen=True, slots=True)
class SchedulerDeclaration:
    """A learning-rate scheduler as constructed.

    ``parameters`` are the public constructor values by torch's names (``T_max``, ``eta_min``, ``gamma``,
    ``milestones`` …). ``children`` are the schedulers inside SequentialLR and ChainedScheduler.
    ``last_epoch`` is the position at the time of the declaration; ``lrs`` the rates at that time.
    ``functions`` are those that LambdaLR calls: one for all groups, or one for each. ``unreadable`` was why a
    schedule could not be derived, in records from before functions were named.
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
    functions: list[RateFunction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LoaderDeclaration:
    """A DataLoader as it stood when an iteration over it began.

    Of the batches made of the sampler's indices it receives those of ``part`` of ``parts`` ranks: whole ones
    in turn, or with ``split`` a piece of each; ``even``: the beginning is repeated until all ranks receive as
    many. The first ``skipped`` of its batches are passed over, as after a resume.
    """

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
    parts: int = 1
    part: int = 0
    split: bool = False
    even: bool = False
    skipped: int = 0
