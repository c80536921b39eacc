"""What data loaders draw and deliver: indices, order, batch digests.

The sampler runs in the main process, with or without workers, so the indices it yields are seen there. Its
generator is captured at its first draw, not when iteration begins: a program may use the same generator in
between, and prefetching workers draw early.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING

from . import declare, tensors
from .batching import batching_of
from .datasets import Datasets
from .patching import replace
from .weakmap import WeakMap

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Sampler

    from .session import Session
    from .steps import Steps

MAX_BATCH_BYTES = 1 << 20
FLUSH_BATCHES = 128
MAX_INDICES = 4096


@dataclass(slots=True)
class Iteration:
    """One pass over one loader."""

    loader: int
    number: int
    drawn: int = 0
    first: int = 0
    indices: list[list[int]] = field(default_factory=list)
    delivered: int = 0
    digests: list[str] = field(default_factory=list)
    hidden: bool = False


class Loaders:
    """All DataLoaders and samplers of this process."""

    def __init__(self, session: Session, steps: Steps) -> None:
        self._session = session
        self._steps = steps
        self._loaders: weakref.WeakKeyDictionary[object, list[int]] = weakref.WeakKeyDictionary()
        self._samplers: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()
        self._iterations: WeakMap[object, Iteration] = WeakMap()
        # Counted, never derived from how many are alive: a number is not given twice.
        self._loader_numbers = itertools.count()
        self._sampler_numbers = itertools.count()
        self._beginning: list[Iteration] = []
        self.datasets = Datasets(session)
        self._epochs: weakref.WeakKeyDictionary[object, tuple[object, object]] = weakref.WeakKeyDictionary()
        self._open: list[Iteration] = []

    # --- loaders ---------------------------------------------------------------------------------

    def begin(self, loader: DataLoader[object]) -> Iteration:
        """``iter(loader)`` was called: number this pass and declare the loader."""
        known = self._loaders.get(loader)
        if known is None:
            known = self._loaders[loader] = [next(self._loader_numbers), 0]
        number, known[1] = known[1], known[1] + 1
        iteration = Iteration(known[0], number)
        plan = batching_of(loader)
        dataset = loader.dataset
        iterable = loader._dataset_kind == 1
        body = {
            "loader": {
                "index": known[0],
                "dataset_class": declare.class_name(dataset),
                "dataset_length": -1 if iterable else _length(dataset),
                "batch_size": plan.batch_size,
                "drop_last": plan.drop_last,
                "sampler_class": declare.class_name(plan.sampler),
                "batch_sampler_class": plan.batch_sampler_class,
                "num_workers": loader.num_workers,
                "persistent_workers": bool(getattr(loader, "persistent_workers", False)),
                "iterable": iterable,
                "parts": plan.parts,
                "part": plan.part,
                "split": plan.split,
                "even": plan.even,
                "skipped": plan.skipped,
            },
            "iteration": number,
            "sampler": self._sampler_number(plan.sampler),
            "exchanged": self.datasets.exchanged(loader),
        }
        self._session.emit("loader", body)
        if not iterable:
            self._session.shield.run("data set", self.datasets.begin, known[0], number, dataset)
        self._beginning.append(iteration)
        return iteration

    def begun(self, iteration: Iteration, iterator: object) -> None:
        """``iter(loader)`` returned ``iterator``."""
        self._beginning.remove(iteration)
        self._iterations[iterator] = iteration
        self._open = [*[one for one in self._open if one is not iteration][-8:], iteration]

    def drew(self, iterator: object, indices: object) -> None:
        """The iterator drew the indices of its next batch."""
        iteration = self._iterations.find(iterator)
        if self._beginning and (iteration is None or self._beginning[-1].loader == iteration.loader):
            iteration = self._beginning[-1]
        if iteration is None:
            return
        listed = _plain_indices(indices)
        if listed is None:
            iteration.hidden = True
            return
        iteration.indices.append(listed)
        iteration.drawn += 1
        if len(iteration.indices) >= FLUSH_BATCHES:
            self._flush(iteration, ended=False)

    def delivered(self, iterator: object, batch: object, started: int) -> None:
        """A batch was handed to the program."""
        iteration = self._iterations.find(iterator)
        self._steps.phases.data(started, perf_counter_ns())
        if self._steps.rest.on:
            if iteration is not None:
                iteration.delivered += 1
                iteration.digests.append("")
            return
        self._steps.batch_came()
        if iteration is None:
            return
        self._session.shield.run(
            "data content",
            self._steps.contents.delivered,
            iteration.loader,
            iteration.number,
            iteration.delivered,
            batch,
        )
        iteration.delivered += 1
        self._session.shield.run("data set", self.datasets.delivered, iteration.loader, iteration.number)
        iteration.digests.append(batch_digest(batch))
        if len(iteration.digests) >= FLUSH_BATCHES:
            self._flush(iteration, ended=False)

    def ended(self, iterator: object) -> None:
        """The iterator has no more batches."""
        iteration = self._iterations.get(iterator)
        if iteration is not None:
            self._flush(iteration, ended=True)

    def flush(self) -> None:
        """Ship what is pending of every pass (called with each optimizer step)."""
        for iteration in self._open:
            if iteration.indices or iteration.digests:
                self._flush(iteration, ended=False)

    def _flush(self, iteration: Iteration, *, ended: bool) -> None:
        body = {
            "loader": iteration.loader,
            "iteration": iteration.number,
            "first": iteration.first,
            "indices": iteration.indices,
            "delivered": iteration.delivered,
            "digests": iteration.digests,
            "ended": ended,
        }
        self._session.emit("batches", body)
        iteration.first = iteration.drawn
        iteration.indices = []
        iteration.digests = []
        if ended:
            self._open = [one for one in self._open if one is not iteration]

    # --- samplers --------------------------------------------------------------------------------

    def _sampler_number(self, sampler: object) -> int:
        try:
            known = self._samplers.get(sampler)
            if known is None:
                known = self._samplers[sampler] = next(self._sampler_numbers)
        except TypeError:
            return -1
        return known

    def epoch_set(self, sampler: object, epoch: object) -> None:
        """The program called ``set_epoch``."""
        self._epochs[sampler] = epoch, getattr(sampler, "epoch", None)

    def sampler_starts(self, sampler: Sampler[object], exact: type) -> None:
        """A sampler is about to draw: capture what decides its order."""
        import torch

        generator = getattr(sampler, "generator", None)
        draws = type(sampler).__name__ not in ("SequentialSampler", "DistributedSampler")
        state = ""
        if draws:
            source = generator if generator is not None else torch.random.default_generator
            state = tensors.raw_bytes(source.get_state()).hex() if source.device.type == "cpu" else ""
        parameters = _sampler_parameters(sampler)
        said, kept = self._epochs.get(sampler, (None, None))
        if type(sampler) is exact and said is not None and getattr(sampler, "epoch", None) == kept:
            # What the program said counts, whatever the sampler made of it.
            parameters["epoch"] = declare.hyper(said)
        body = {
            "sampler": self._sampler_number(sampler),
            "sampler_class": declare.class_name(sampler),
            "length": _length(sampler),
            "own_generator": generator is not None,
            "generator_state": state,
            "parameters": parameters,
            "exact_class": type(sampler) is exact,
        }
        self._session.emit("sampler", body)


def _sampler_parameters(sampler: object) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("replacement", "num_replicas", "rank", "epoch", "seed", "shuffle", "drop_last"):
        if hasattr(sampler, name):
            found[name] = declare.hyper(getattr(sampler, name))
    seed = getattr(sampler, "initial_seed", None)  # accelerate's SeedableRandomSampler
    if type(seed) is int:
        found["initial_seed"] = seed & 0xFFFFFFFF  # all that torch's CPU generator takes of it
    found["num_samples"] = declare.hyper(getattr(sampler, "num_samples", None))
    found["total_size"] = declare.hyper(getattr(sampler, "total_size", None))
    for name in ("data_source", "dataset"):
        source = getattr(sampler, name, None)
        if source is not None:
            found["dataset_length"] = _length(source)
    indices = getattr(sampler, "indices", None)
    if isinstance(indices, (list, tuple, range)) and len(indices) <= declare.MAX_LIST:
        found["indices"] = declare.hyper(list(indices))
    return found


def _length(value: object) -> int:
    try:
        return len(value)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError, AttributeError):
        return -1


def _plain_indices(indices: object) -> list[int] | None:
    if type(indices) is int:
        return [indices]
    if isinstance(indices, (list, tuple)) and len(indices) <= MAX_INDICES:
        listed = [index for index in indices if type(index) is int]
        return listed if len(listed) == len(indices) else None
    return None


def batch_digest(batch: object) -> str:
    """A 128-bit digest of a delivered batch: all of its tensors up to 1 MiB, a stride of larger ones."""
    state = hashlib.sha256()
    budget = MAX_BATCH_BYTES
    for key, tensor in tensors.walk(batch):
        if not tensors.is_plain(tensor) or tensor.device.type != "cpu":
            continue
        state.update(f"{key}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        size = tensor.numel() * tensor.element_size()
        if size <= budget:
            tensors.feed(state, tensor)
            budget -= size
        elif tensor.dim() and budget:
            step = -(-size // budget)
            tensors.feed(state, tensor.detach().reshape(-1)[::step])
    return state.hexdigest()[:32]


def watch_loaders(session: Session, steps: Steps) -> Loaders:
    """Wrap DataLoader iteration and torch's own samplers. Nothing they return is changed."""
    from torch.utils.data import dataloader

    loaders = Loaders(session, steps)
    run = session.shield.run

    def around_iter(original: Callable[..., object]) -> Callable[..., object]:
        def __iter__(self: DataLoader[object]) -> object:
            iteration = run("loader", loaders.begin, self)
            iterator = original(self)
            if iteration is not None:
                run("loader", loaders.begun, iteration, iterator)
            return iterator

        return __iter__

    def around_index(original: Callable[..., object]) -> Callable[..., object]:
        def _next_index(self: object) -> object:
            indices = original(self)
            run("loader", loaders.drew, self, indices)
            return indices

        return _next_index

    def around_next(original: Callable[..., object]) -> Callable[..., object]:
        def __next__(self: object) -> object:
            started = perf_counter_ns()
            try:
                batch = original(self)
            except StopIteration:
                run("loader", loaders.ended, self)
                raise
            run("loader", loaders.delivered, self, batch, started)
            return batch

        return __next__

    def around_init(original: Callable[..., object]) -> Callable[..., object]:
        def __init__(self: DataLoader[object], *args: object, **kwargs: object) -> None:
            original(self, *args, **kwargs)
            run("data set", loaders.datasets.constructed, self)

        return __init__

    replace(dataloader.DataLoader, "__init__", around_init)
    replace(dataloader.DataLoader, "__iter__", around_iter)
    replace(dataloader._BaseDataLoaderIter, "_next_index", around_index)
    replace(dataloader._BaseDataLoaderIter, "__next__", around_next)

    _watch_samplers(session, loaders)
    return loaders


def _watch_samplers(session: Session, loaders: Loaders) -> None:
    from torch.utils.data import distributed, sampler

    run = session.shield.run

    def around_epoch(original: Callable[..., object]) -> Callable[..., object]:
        def set_epoch(self: object, epoch: object) -> object:
            result = original(self, epoch)
            run("loader", loaders.epoch_set, self, epoch)
            return result

        return set_epoch

    replace(distributed.DistributedSampler, "set_epoch", around_epoch)
    for kind in (
        sampler.SequentialSampler,
        sampler.RandomSampler,
        sampler.SubsetRandomSampler,
        sampler.WeightedRandomSampler,
        distributed.DistributedSampler,
    ):
        replace(kind, "__iter__", _around_sampler(session, loaders, kind))


def _around_sampler(
    session: Session, loaders: Loaders, kind: type
) -> Callable[[Callable[..., Iterator[object]]], Callable[..., Iterator[object]]]:
    def make(original: Callable[..., Iterator[object]]) -> Callable[..., Iterator[object]]:
        def __iter__(self: Sampler[object]) -> Iterator[object]:
            session.shield.run("loader", loaders.sampler_starts, self, kind)
            yield from original(self)

        def eager(self: Sampler[object]) -> Iterator[object]:
            session.shield.run("loader", loaders.sampler_starts, self, kind)
            return original(self)

        # DistributedSampler computes its list when iter() is called, the others at their first draw.
        return eager if kind.__name__ in ("DistributedSampler", "SequentialSampler") else __iter__

    return make
