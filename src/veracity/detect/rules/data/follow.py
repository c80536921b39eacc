"""Follows every pass over every loader and says where it leaves the derived order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ....core.contract import LoaderDeclaration
from ....core.coverage import Coverage
from ....core.observation import BatchesDrawn, LoaderStarted
from ....core.quantity import quantity
from .dealing import dealt, piece_size
from .likeness import likeness, shown
from .passes import MAX_PROCESSES, REMEMBERED, Pass, Process, flat
from .sampling import Derivation, Order, kind_of

LISTED = 4096
"""Larger batches are not listed by the guard."""

_BATCH_SAMPLER = "torch.utils.data.sampler.BatchSampler"
_NO_BATCH_SAMPLER = ("", "builtins.NoneType")


@dataclass(frozen=True, slots=True)
class Deviation:
    """One departure of a pass from its order. ``what`` completes "batch 3 … as the sampler implies"."""

    owner: Pass
    batch: int
    what: str
    expected: str
    observed: str
    step: int
    looks_like: str = ""


def unlisted(loader: LoaderDeclaration) -> str:
    """Why the batches of a loader cannot be followed, empty when they can."""
    if loader.iterable:
        return "the dataset is an IterableDataset: it decides its order itself"
    if loader.batch_size < 0 or piece_size(loader) > LISTED:
        return f"batches of more than {LISTED} indices are not listed"
    batch_sampler = loader.batch_sampler_class
    wanted = (_BATCH_SAMPLER,) if loader.batch_size else _NO_BATCH_SAMPLER
    if batch_sampler not in wanted:
        return f"the loader was given a batch sampler of its own ({batch_sampler})"
    return ""


class Follower:
    """Keeps the passes of all processes and compares what they draw; counts into ``coverage``."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._processes: OrderedDict[int, Process] = OrderedDict()
        self._derivation = Derivation()

    def process(self, pid: int) -> Process:
        """The bookkeeping of one process; the one not heard of for longest is forgotten above a bound."""
        if pid in self._processes:
            self._processes.move_to_end(pid)
        else:
            self._processes[pid] = Process()
        if len(self._processes) > MAX_PROCESSES:
            self._processes.popitem(last=False)
        return self._processes[pid]

    def begin(self, process: Process, seen: LoaderStarted) -> None:
        """A loader's iteration begins."""
        process.begin(seen).reason = unlisted(seen.loader)

    def drawn(self, process: Process, seen: BatchesDrawn) -> Iterator[Deviation]:
        """Compare a record of drawn batches."""
        owner = process.passes.get((seen.loader, seen.iteration))
        if owner is None:
            self._skip(len(seen.indices), "the beginning of an iteration was not seen")
            return
        owner.delivered = max(owner.delivered, seen.delivered)
        # A pass that ended without a batch is compared too: its sampler may have been silenced.
        bare = seen.ended and not seen.delivered
        if (seen.indices or bare) and owner.order is None and not owner.reason:
            self._bind(process, owner, seen)
        if len(owner.beginning) < REMEMBERED and seen.first == owner.drawn:
            owner.beginning += flat(seen)[: REMEMBERED - len(owner.beginning)]
        if owner.order is None:
            if seen.indices or seen.ended:
                self._skip(len(seen.indices), owner.reason or "the indices of its batches were not listed")
            owner.drawn += len(seen.indices)
        else:
            yield from self._record(process, owner, seen)
        if seen.ended:
            process.close(owner)

    def _record(self, process: Process, owner: Pass, seen: BatchesDrawn) -> Iterator[Deviation]:
        if seen.indices and seen.first != owner.drawn:
            owner.whole = False
            self._coverage.skip("a record of drawn batches was lost")
        for position, batch in enumerate(seen.indices, seen.first):
            if owner.reason:
                self._coverage.count(checked=False, reason=owner.reason)
                continue
            self._coverage.count(checked=True)
            if not owner.deviated and (deviation := self._compare(process, owner, position, batch)):
                yield deviation
        owner.drawn = max(owner.drawn, seen.first + len(seen.indices))
        if owner.whole and not owner.deviated and not owner.reason:
            yield from self._tally(process, owner, seen)

    def _bind(self, process: Process, owner: Pass, seen: BatchesDrawn) -> None:
        """Find the sampler's pass that feeds ``owner``: the one that fits, else the only one."""
        chosen = None
        reason = ""
        for candidate in list(process.candidates(owner.sampler)):
            derived = self._derivation.order(candidate)
            if isinstance(derived, Order):
                derived = dealt(owner.loader, derived)
            if not isinstance(derived, Order):
                reason = derived.reason
                continue
            fits = _fits(owner, derived, seen)
            if fits or process.owns(owner, candidate):
                chosen = candidate, derived
            if fits:
                break
            reason = "which pass of the sampler fed the iteration could not be told"
        if chosen is not None:
            process.claim(owner, chosen[0])
            owner.order = chosen[1]
        else:
            name = kind_of(owner.loader.sampler_class)
            owner.reason = reason or (
                f"the first draw of {name} was not seen"
                if name
                else f"sampler class {owner.loader.sampler_class} is not one of torch's own"
            )

    def _compare(self, process: Process, owner: Pass, position: int, batch: list[int]) -> Deviation | None:
        expected = owner.expected(position)
        if expected is not None and list(expected) == batch:
            return None
        order = owner.order
        start = position * owner.batch_size
        if order is None:
            return None
        open_ended = order.settled < len(order.indices) and len(batch) == len(expected or ())
        if open_ended and start + _agreeing(batch, expected or ()) >= order.settled:
            owner.reason = "the sampler's generator is drawn from by others during the pass"
            self._coverage.skip(owner.reason)
            return None
        owner.deviated = True
        what = "is not"
        if expected is None:
            what = f"comes after all {quantity(owner.batches, 'batch')}, not"
        elif len(batch) != len(expected):
            what = f"has {len(batch)} instead of {quantity(len(expected), 'index', 'indices')}, not"
        return Deviation(
            owner,
            position,
            what,
            shown(expected) if expected is not None else "no such batch",
            shown(batch),
            process.consuming_step(owner, position),
            likeness(batch, order.indices, start, process.other_orders(owner), owner.loader.dataset_length),
        )

    def _tally(self, process: Process, owner: Pass, seen: BatchesDrawn) -> Iterator[Deviation]:
        """Delivered batches must have been drawn; a pass that ended must have drawn and delivered all."""
        if seen.delivered > owner.drawn:
            what, expected = "was delivered but never drawn, not", f"at most {owner.drawn} delivered"
        elif seen.ended and owner.drawn < owner.batches:
            what, expected = "is missing, not", quantity(owner.batches, "batch")
        elif seen.ended and seen.delivered < owner.drawn:
            what, expected = "was drawn but not delivered, not", f"{owner.drawn} delivered"
        else:
            return
        owner.deviated = True
        batch = min(owner.drawn, seen.delivered)
        observed = f"{owner.drawn} drawn, {seen.delivered} delivered"
        yield Deviation(owner, batch, what, expected, observed, process.consuming_step(owner, batch))

    def _skip(self, batches: int, reason: str) -> None:
        self._coverage.possible += batches
        self._coverage.skip(reason)


def _fits(owner: Pass, derived: Order, seen: BatchesDrawn) -> bool:
    start = seen.first * owner.batch_size
    first = seen.indices[0] if seen.indices else []
    return bool(first) and list(derived.indices[start : start + len(first)]) == first


def _agreeing(batch: Sequence[int], expected: Sequence[int]) -> int:
    """How many indices agree before the first that does not."""
    for place, (seen, wanted) in enumerate(zip(batch, expected, strict=False)):
        if seen != wanted:
            return place
    return min(len(batch), len(expected))
