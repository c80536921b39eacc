"""Parameters that several optimizers of one process hold: whose turn it was last, and what that one left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .sweep import NOTHING, Swept

if TYPE_CHECKING:
    import torch

    from .tracked import Picks, Tracked

MAX_OTHERS = 16

Known = Sequence[tuple["torch.optim.Optimizer", "Tracked"]]


class Sharing:
    """Which optimizer was the last to step on a parameter; nothing is kept while there is only one."""

    def __init__(self) -> None:
        self.several = False
        self._last: dict[int, int] = {}
        self._with_gradient: dict[int, int] = {}

    def takes(self, tracked: Tracked, known: Known) -> list[list[int]]:
        """An optimizer is about to step: who stepped last on the parameters that it now has gradients for.

        With how many parameters each. One whose own step is running now, a wrapper, is no other.
        """
        if not self.several:
            return []
        own, last, others = tracked.index, self._with_gradient, dict[int, int]()
        for parameter in tracked.parameters:
            if parameter.grad is not None:
                before = last.get(id(parameter), own)
                last[id(parameter)] = own
                if before != own:
                    others[before] = others.get(before, 0) + 1
        if others:
            running = {one.index for _, one in known if one.pending is not None}
            others = {index: count for index, count in others.items() if index not in running}
        return [[index, count] for index, count in others.items()][:MAX_OTHERS]

    def stepped(self, tracked: Tracked) -> None:
        """An optimizer has made a step."""
        if self.several:
            for parameter in tracked.parameters:
                self._last[id(parameter)] = tracked.index

    def is_own(self, tracked: Tracked, tensor: int) -> bool:
        """Whether this optimizer was the last to step on that parameter (two may share it)."""
        return self._last.get(id(tracked.parameters[tensor]), tracked.index) == tracked.index

    def swept(self, tracked: Tracked) -> Swept:
        """The places of the sweep after the last step as they are now, but for what others stepped on."""
        last = tracked.swept
        if last is None or tracked.sweeper is None:
            return NOTHING
        if not self.several:
            return tracked.sweeper.again(last)
        own = {tensor for tensor in last.tensors if self.is_own(tracked, tensor)}
        return tracked.sweeper.again(last.of(own))

    def written(self, tracked: Tracked) -> list[list[int]] | None:
        """Parameters written in place since the last step, and how often; None when that is not known.

        But for what others stepped on.
        """
        if tracked.swept is None or tracked.sweeper is None:
            return None
        written = tracked.sweeper.written()
        return [one for one in written if self.is_own(tracked, one[0])] if written else written

    def picks(self, tracked: Tracked) -> Picks:
        """What is to be read again before a step, but for what others stepped on."""
        return [(tensor, picked) for tensor, picked in tracked.picks if self.is_own(tracked, tensor)]

    def fingers(self, tracked: Tracked) -> list[int]:
        """The tensors whose fingerprint is to be taken again, but for what others stepped on."""
        return [tensor for tensor in tracked.finger_tensors if self.is_own(tracked, tensor)]

    def others(self, tracked: Tracked, known: Known) -> Known:
        """All optimizers but this one."""
        return [one for one in known if one[1] is not tracked] if self.several else []

    def changed(self, tracked: Tracked, known: Known) -> Iterator[tuple[Tracked, list[int], int, bool]]:
        """Optimizers that stepped last on parameters of this one, which are no longer as those left them.

        With the tensors that changed, how many elements were compared, and whether they only came back from
        where they were last seen, as a wrapper puts weights back before the step of what it wraps.
        """
        if not self.several:
            return
        mine = set(map(id, tracked.parameters))
        for _, other in self.others(tracked, known):
            if other.swept is None or other.sweeper is None or other.restore:
                continue
            if other.pending is not None:
                continue  # a wrapper that moves weights and calls this step within its own
            theirs = {
                tensor
                for tensor in other.swept.tensors
                if id(other.parameters[tensor]) in mine and self.is_own(other, tensor)
            }
            before = other.swept.of(theirs)
            now = other.sweeper.again(before)
            changed = before.changed(now)
            if changed:
                back = other.home is not None and other.home.of(theirs) == now
                yield other, changed, len(theirs) * before.count, back
