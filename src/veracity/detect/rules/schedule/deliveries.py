"""How many batches loaders delivered from one step of an optimizer to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from ....core.observation import BatchesDrawn

MAX_LOADERS = 64


@dataclass(slots=True)
class Deliveries:
    """Batches by loader. What became of a step's batches is told right after its record.

    ``now`` are those of the interval that ended with the last step, ``usual`` those of the last one in which
    nothing was odd; ``reached`` is how far each loader is.
    """

    now: dict[int, int] = field(default_factory=dict)
    usual: dict[int, int] = field(default_factory=dict)
    reached: dict[int, tuple[int, int]] = field(default_factory=dict)

    def came(self, drawn: BatchesDrawn) -> None:
        """A loader delivered more batches."""
        if drawn.loader not in self.reached and len(self.reached) >= MAX_LOADERS:
            return
        iteration, before = self.reached.get(drawn.loader, (drawn.iteration, 0))
        self.reached[drawn.loader] = drawn.iteration, drawn.delivered
        new = drawn.delivered - (before if iteration == drawn.iteration else 0)
        self.now[drawn.loader] = self.now.get(drawn.loader, 0) + new

    def explain(self, times: float) -> bool:
        """Whether some loader delivered so many times what is usual."""
        return any(0 < self.usual.get(loader, 0) * times <= count for loader, count in self.now.items())

    def close(self, *, usual: bool) -> None:
        """The interval is over; ``usual``: nothing was odd in it."""
        if usual:
            self.usual = self.now
        self.now = {}
