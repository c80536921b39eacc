"""The step counts that an optimizer keeps for each tensor, from one look at a tensor to the next.

A tensor is looked at every few steps. Its count may stand still in between, for want of a gradient, and never
goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ....core.observation import StepRecord
from .compare import Change


@dataclass(slots=True)
class Counts:
    """Of each of so many ``tensors`` the step at which its count was last read, and what it was after it."""

    tensors: int
    last: dict[int, tuple[int, float]] = field(default_factory=dict)

    def take(self, record: StepRecord, *, comparable: bool) -> tuple[int, list[Change]]:
        """Counts that went back, and the last step at which none of them had.

        Without ``comparable`` what was read before says nothing any more.
        """
        if not comparable:
            self.last.clear()
        fallen: list[Change] = []
        since = record.step - 1
        for sample in record.samples:
            if sample.repeated or sample.tensor >= self.tensors:
                continue
            step, former = self.last.get(sample.tensor, (since, None))
            now = sample.step_before
            if former is not None and now is not None and now < former:
                fallen.append(Change(sample.tensor, "step", 1, 1, (former,), (now,)))
                since = min(since, step)
            if sample.step_after is not None:
                self.last[sample.tensor] = record.step, sample.step_after
        return since, fallen
