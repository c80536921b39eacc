"""What the loaders and samplers did."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract import Hyper, LoaderDeclaration
from .root import Observation


@dataclass(frozen=True, slots=True)
class LoaderStarted(Observation):
    """An iteration over a DataLoader begins. ``iteration`` counts those of this loader from 0.

    ``exchanged``: parts of the loader (``sampler``, ``collate_fn``) that are others than it was built with.
    """

    loader: LoaderDeclaration
    iteration: int
    sampler: int
    exchanged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DatasetWritten(Observation):
    """Something was written into the tensors or arrays that a loader's data set holds.

    ``deliveries`` counts the loader's batches before, ``changed`` names what changed among the ``held`` that
    are looked at. ``at_begin``: it happened between two passes. ``before_step`` is the step to come.
    """

    loader: int
    iteration: int
    deliveries: int
    changed: list[str]
    held: int
    at_begin: bool
    before_step: int


@dataclass(frozen=True, slots=True)
class SamplerStarted(Observation):
    """A sampler is about to produce the indices of one pass, captured at its first draw.

    ``generator_state`` is torch's CPU generator state (5,056 bytes, hexadecimal) just before the draw;
    empty when the sampler draws nothing. ``own_generator``: it holds a generator itself; otherwise it
    takes a seed from the default generator. DistributedSampler's fields are in ``parameters``.
    """

    sampler: int
    sampler_class: str
    length: int
    own_generator: bool
    generator_state: str
    parameters: dict[str, Hyper]
    exact_class: bool


@dataclass(frozen=True, slots=True)
class BatchesDrawn(Observation):
    """Indices that a loader drew from its sampler, batch by batch, and how many batches it delivered.

    ``first`` is the ordinal of the first batch in ``indices`` within the iteration. ``delivered`` is the
    number of batches handed to the program so far; ``digests`` are those of the batches delivered since
    the last record. ``ended``: the iteration ran to its end (not abandoned by a ``break``).
    """

    loader: int
    iteration: int
    first: int
    indices: list[list[int]]
    delivered: int
    digests: list[str]
    ended: bool
