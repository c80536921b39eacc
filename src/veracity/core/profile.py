"""The course of a run in few numbers: loss and gradient norm of each optimizer, as means of windows.

Monitor and rule make it of the same observations. Of several processes it is that of the first one of rank 0
to step, so of several ranks it is rank 0's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .likeness import optimizer_likeness
from .observation import Observation, OptimizerDeclared, StateRestored, StepRecord
from .shift import measure
from .windows import Windows

MAX_SERIES = 8
"""The first: of 64 earlier runs they take some two seconds to work out."""
MAX_DECLARED = 1024
LOSS, NORM = "loss", "gradient norm"


@dataclass(frozen=True, slots=True)
class Mean:
    """A window of a series is complete: ``mean`` is of the values' logarithms."""

    series: str
    window: int
    mean: float


def subject_of(series: str) -> str:
    """What a series is, for people: ``loss of optimizer 0``."""
    return series.rpartition(" ")[0]


class Course:
    """Follows one run. A series is named by what it is and by what the optimizer declares."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._declared: dict[tuple[int, int], str] = {}
        self._series: dict[str, Windows] = {}
        self._left: set[int] = set()

    def take(self, observation: Observation) -> Iterator[Mean]:
        """One more observation; the windows that it completes."""
        pid = observation.origin.pid
        if observation.origin.rank > 0 or self.pid not in (None, pid):
            return
        if isinstance(observation, OptimizerDeclared):
            if len(self._declared) < MAX_DECLARED:
                index = observation.optimizer.index
                self._declared.setdefault((pid, index), optimizer_likeness(observation.optimizer))
        elif isinstance(observation, StateRestored):
            # Weights set back in mid-run: its later steps are no longer those of their numbers.
            if self.pid is not None and observation.step > 0:
                self._left.add(observation.optimizer)
        elif isinstance(observation, StepRecord):
            self.pid = pid
            if observation.optimizer not in self._left:
                yield from self._step(observation)

    def _step(self, step: StepRecord) -> Iterator[Mean]:
        declared = self._declared.get((step.origin.pid, step.optimizer), "")
        for name, value in ((LOSS, step.loss), (NORM, step.total_norm)):
            if value is None:
                continue
            series = f"{name} of optimizer {step.optimizer} {declared}"
            windows = self._series.get(series)
            if windows is None:
                if len(self._series) >= MAX_SERIES:
                    continue
                windows = self._series[series] = Windows()
            found = windows.add(step.step, measure(value))
            if found is not None:
                yield Mean(series, *found)
