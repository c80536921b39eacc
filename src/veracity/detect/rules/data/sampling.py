"""Which indices a sampler of torch must yield, derived from what was captured at its first draw."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ....core.errors import EvidenceError
from ....core.observation import SamplerStarted
from .permutation import LIMIT_32_BIT_DRAW, Twister

MAX_DERIVED = 2_000_000
SEEDABLE = "accelerate.data_loader.SeedableRandomSampler"
_HOME = "torch.utils.data."
_TOO_LONG = f"a pass of more than {MAX_DERIVED:,} indices is not re-derived"
_MAX_ROUNDS = 10_000
_CHUNK = 32  # RandomSampler with replacement draws that many at once


@dataclass(frozen=True, slots=True)
class Order:
    """The indices of one pass.

    ``settled``: how many of them rest on draws made at once when the pass began. Later ones are drawn while
    the pass goes on, so a generator that the program uses too may legitimately give others.
    """

    indices: Sequence[int]
    settled: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """The pass cannot be derived, and why."""

    reason: str


def kind_of(sampler_class: str) -> str:
    """The bare name of one of torch's own samplers, or accelerate's; empty for any other class."""
    if sampler_class == SEEDABLE:
        return sampler_class.rpartition(".")[2]
    return sampler_class.rpartition(".")[2] if sampler_class.startswith(_HOME) else ""


def whole(started: SamplerStarted, name: str) -> int | None:
    """A parameter that is an integer, else None."""
    value = started.parameters.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class Derivation:
    """Derives orders; ranks of one job share the permutation of a DistributedSampler, so the last is kept."""

    def __init__(self) -> None:
        self._last: tuple[tuple[int, int], array[int]] | None = None

    def order(self, started: SamplerStarted) -> Order | Unknown:
        """The order that ``started`` implies. Never raises: what cannot be derived is an :class:`Unknown`."""
        kind = kind_of(started.sampler_class)
        if started.sampler_class == SEEDABLE:
            return _seedable(started)
        if not started.exact_class or not kind:
            return Unknown(f"sampler class {started.sampler_class} is not one of torch's own")
        try:
            if kind == "SequentialSampler":
                return _sequential(started)
            if kind == "RandomSampler":
                return _random(started)
            if kind == "SubsetRandomSampler":
                return _subset(started)
            if kind == "DistributedSampler":
                return self._distributed(started)
        except EvidenceError as error:
            return Unknown(f"{kind}: {error}")
        return Unknown(f"{kind} is not re-derived")

    def _distributed(self, started: SamplerStarted) -> Order | Unknown:
        size, replicas = whole(started, "dataset_length"), whole(started, "num_replicas")
        rank, seed, epoch = whole(started, "rank"), whole(started, "seed"), whole(started, "epoch")
        shuffle, drop_last = started.parameters.get("shuffle"), started.parameters.get("drop_last")
        if size is None or replicas is None or rank is None or not 0 <= rank < replicas or size < 0:
            return Unknown("DistributedSampler: its parameters could not be read")
        if size > MAX_DERIVED or replicas > MAX_DERIVED:
            return Unknown(_TOO_LONG)
        base: Sequence[int] = range(size)
        if shuffle is not False:
            if seed is None or epoch is None:
                return Unknown("DistributedSampler: its seed or epoch could not be read")
            base = self._shared(seed + epoch, size)
        each = -(-size // replicas)
        if drop_last is True and size % replicas:
            each = max(-(-(size - replicas) // replicas), 0)
        # Padding repeats the permutation from its start; dropping the tail is the same without it.
        places = range(rank, each * replicas, replicas)
        return Order(array("q", (base[place % size] for place in places)) if size else array("q"), each)

    def _shared(self, seed: int, size: int) -> array[int]:
        if self._last is None or self._last[0] != (seed, size):
            self._last = (seed, size), Twister.seeded(seed).permutation(size)
        return self._last[1]


def _sequential(started: SamplerStarted) -> Order | Unknown:
    if started.length < 0:
        return Unknown("SequentialSampler: the length of its data is unknown")
    return Order(range(started.length), started.length)


def _seedable(started: SamplerStarted) -> Order | Unknown:
    """Accelerate's sampler is torch's with its generator seeded anew, by seed and epoch, for each pass."""
    seed, epoch = whole(started, "initial_seed"), whole(started, "epoch")
    if seed is None or epoch is None or not started.generator_state:
        return Unknown("SeedableRandomSampler: its seed or epoch could not be read")
    try:
        return _shuffled(started, Twister.seeded(seed + epoch), own=True)
    except EvidenceError as error:
        return Unknown(f"SeedableRandomSampler: {error}")


def _random(started: SamplerStarted) -> Order | Unknown:
    if not started.generator_state:
        return Unknown("RandomSampler: the state of its generator could not be read")
    twister = Twister.from_state(started.generator_state)
    if not started.own_generator:
        twister = Twister.seeded(twister.seed_value())
    return _shuffled(started, twister, own=started.own_generator)


def _shuffled(started: SamplerStarted, twister: Twister, *, own: bool) -> Order | Unknown:
    """What RandomSampler yields from a generator, which is its ``own`` or seeded for this pass alone."""
    size = whole(started, "dataset_length")
    size = started.length if size is None else size
    count = whole(started, "num_samples")
    count = started.length if count is None else count
    if size < 0 or count < 0:
        return Unknown("RandomSampler: the length of its data is unknown")
    if max(size, count) > MAX_DERIVED:
        return Unknown(_TOO_LONG)
    if size == 0:
        return Order((), 0)
    if count // size > _MAX_ROUNDS:
        return Unknown(_TOO_LONG)
    if started.parameters.get("replacement") is True:
        if size >= LIMIT_32_BIT_DRAW:
            return Unknown(_TOO_LONG)
        drawn = twister.below(size, count)
        return Order(array("q", drawn), min(_CHUNK, count) if own else count)
    order = array("I")
    while len(order) < count:
        order += twister.permutation(size)
    return Order(order[:count], min(size, count) if own else count)


def _subset(started: SamplerStarted) -> Order | Unknown:
    given = started.parameters.get("indices")
    if not isinstance(given, list) or len(given) != started.length:
        return Unknown("SubsetRandomSampler: the indices it was given are too many to be captured")
    indices = [index for index in given if isinstance(index, int)]
    if len(indices) != len(given):
        return Unknown("SubsetRandomSampler: the indices it was given are not integers")
    if not started.generator_state:
        return Unknown("SubsetRandomSampler: the state of its generator could not be read")
    places = Twister.from_state(started.generator_state).permutation(len(indices))
    return Order([indices[place] for place in places], len(indices))
