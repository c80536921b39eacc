"""Bookkeeping of the data-order law: which pass of which sampler feeds which iteration of which loader."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ....core.contract import LoaderDeclaration
from ....core.observation import BatchesDrawn, LoaderStarted, SamplerStarted
from .dealing import is_dealt, piece_size
from .sampling import Order

MAX_PROCESSES = 1024
MAX_ITERATIONS = 8
MAX_SAMPLERS = 64
MAX_UNCLAIMED = 4
REMEMBERED = 512


@dataclass(slots=True)
class Pass:
    """One iteration over one loader, as far as it was seen.

    ``start_step`` is the optimizer step that would consume its first batch, ``begun_at`` the sequence number
    of the record that announced it. ``drawn`` counts batches;
    ``sampled`` is the sampler's pass that feeds it, once known. ``reason`` is why it is not checked.
    """

    loader: LoaderDeclaration
    number: int
    sampler: int
    start_step: int
    begun_at: int
    sampled: SamplerStarted | None = None
    order: Order | None = None
    reason: str = ""
    drawn: int = 0
    delivered: int = 0
    whole: bool = True
    deviated: bool = False
    beginning: list[int] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """Indices per batch; 1 for a loader that does not collate."""
        return piece_size(self.loader)

    @property
    def batches(self) -> int:
        """How many batches the derived order gives."""
        length = len(self.order.indices) if self.order is not None else 0
        if self.loader.batch_size and self.loader.drop_last and not is_dealt(self.loader):
            return length // self.batch_size
        return -(-length // self.batch_size)

    def expected(self, batch: int) -> Sequence[int] | None:
        """The indices of a batch, None when the order gives no such batch."""
        if self.order is None or not 0 <= batch < self.batches:
            return None
        return self.order.indices[batch * self.batch_size : (batch + 1) * self.batch_size]


@dataclass(slots=True)
class Process:
    """What is remembered of one process. ``per_step`` is each loader's batches per step, 0 without steps."""

    next_step: int = 0
    passes: OrderedDict[tuple[int, int], Pass] = field(default_factory=OrderedDict)
    unclaimed: OrderedDict[int, deque[SamplerStarted]] = field(default_factory=OrderedDict)
    earlier: dict[int, deque[tuple[int, list[int]]]] = field(default_factory=dict)
    per_step: dict[int, int] = field(default_factory=dict)

    def begin(self, seen: LoaderStarted) -> Pass:
        """A loader's iteration begins."""
        begun = Pass(seen.loader, seen.iteration, seen.sampler, self.next_step, seen.origin.seq)
        self.passes.pop((seen.loader.index, seen.iteration), None)
        self.passes[seen.loader.index, seen.iteration] = begun
        while len(self.passes) > MAX_ITERATIONS:
            self.close(next(iter(self.passes.values())))
        return begun

    def sampler(self, seen: SamplerStarted) -> None:
        """A sampler begins a pass; which iteration it feeds shows with the first batch."""
        waiting = self.unclaimed.setdefault(seen.sampler, deque(maxlen=MAX_UNCLAIMED))
        waiting.append(seen)
        self.unclaimed.move_to_end(seen.sampler)
        if len(self.unclaimed) > MAX_SAMPLERS:
            self.unclaimed.popitem(last=False)

    def candidates(self, sampler: int) -> Iterator[SamplerStarted]:
        """The passes of a sampler that no iteration has claimed, newest first."""
        yield from reversed(self.unclaimed.get(sampler, ()))

    def owns(self, owner: Pass, sampled: SamplerStarted) -> bool:
        """Whether ``sampled`` can feed no other iteration than ``owner``, even when records were lost."""
        rivals = [
            one
            for one in self.passes.values()
            if one.sampler == owner.sampler and one.sampled is None and one.begun_at > owner.begun_at
        ]
        since = [one for one in self.candidates(owner.sampler) if one.origin.seq >= owner.begun_at]
        return not rivals and since == [sampled]

    def claim(self, owner: Pass, sampled: SamplerStarted) -> None:
        """``sampled`` feeds ``owner``."""
        owner.sampled = sampled
        self.unclaimed[owner.sampler].remove(sampled)

    def close(self, ended: Pass) -> None:
        """An iteration is over or given up: keep its beginning and its pace."""
        self.passes.pop((ended.loader.index, ended.number), None)
        kept = self.earlier.setdefault(ended.loader.index, deque(maxlen=3))
        kept.append((ended.number, ended.beginning))
        if len(self.earlier) > MAX_SAMPLERS:
            self.earlier.pop(next(iter(self.earlier)))
        if ended.delivered:
            steps = self.next_step - ended.start_step
            self.per_step[ended.loader.index] = max(1, round(ended.delivered / steps)) if steps else 0
        if len(self.per_step) > MAX_SAMPLERS:
            self.per_step.pop(next(iter(self.per_step)))

    def other_orders(self, owner: Pass) -> list[tuple[int, list[int]]]:
        """Numbers and first indices of other passes over the same loader, latest first."""
        loader = owner.loader.index
        live = [(one.number, one.beginning) for one in self.passes.values() if one.loader.index == loader]
        known = [*self.earlier.get(loader, ()), *live]
        return [one for one in reversed(known) if one[0] != owner.number]

    def consuming_step(self, owner: Pass, batch: int) -> int:
        """The optimizer step that uses a batch, by the pace of this pass, else of an earlier one."""
        per_step = self.per_step.get(owner.loader.index)
        if per_step is None:
            # The step under way counts: at this point it may or may not have been reported.
            per_step = max(1, -(-owner.delivered // (self.next_step - owner.start_step + 1)))
        return owner.start_step + (batch // per_step if per_step else 0)


def flat(seen: BatchesDrawn) -> list[int]:
    """All indices of a record in order."""
    return [index for batch in seen.indices for index in batch]
