"""What happened between two optimizer steps of one process: samples, and whether it was an ordinary step."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import accumulate

from ....core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    CheckpointSaved,
    Observation,
    StackSampled,
    StepRecord,
    StepsPassed,
)

WINDOW = 101
MAX_SAMPLES = 64
MAX_LOADERS = 1024
_COMPILERS = ("/torch/_dynamo/", "/torch/_inductor/", "/torch/_functorch/")


@dataclass(frozen=True, slots=True)
class Closed:
    """A step that is complete: its ``samples``, and its time over the median (``excess``, ns).

    ``calm``: there was no checkpoint in it, no compilation, no batches of more than one loader (an
    evaluation). ``ordinary``: nor a check that ran the forward pass again, beside which nothing is known of
    how long the step takes by itself.
    """

    samples: list[StackSampled]
    excess: int
    calm: bool
    ordinary: bool


class Intervals:
    """Collects what falls between steps. ``total`` is the time of all steps so far in ns."""

    def __init__(self) -> None:
        self.total = 0
        self._samples: list[StackSampled] = []
        self._durations: deque[int] = deque(maxlen=WINDOW)
        self._delivered: dict[int, int] = {}
        self._loaders: set[int] = set()
        self._busy = False

    def take(self, observation: Observation) -> None:
        """Note what belongs to the step that comes next."""
        if isinstance(observation, StackSampled):
            if len(self._samples) < MAX_SAMPLES:
                self._samples.append(observation)
            if any(part in frame.path for frame in observation.frames for part in _COMPILERS):
                self._busy = True
        elif isinstance(observation, StepsPassed):
            self.total += observation.took
        elif isinstance(observation, (CheckpointSaved, CheckpointLoaded)):
            self._busy = True
        elif isinstance(observation, BatchesDrawn):
            before = self._delivered.get(observation.loader, 0)
            known = observation.loader in self._delivered
            if observation.delivered != before and (known or len(self._delivered) < MAX_LOADERS):
                self._loaders.add(observation.loader)
                self._delivered[observation.loader] = observation.delivered

    def rested(self, passed: StepsPassed) -> list[tuple[int, StackSampled]]:
        """Steps passed unseen: the sleeps that fell among them, each with the step that it was in.

        None when anything of the stretch was not ordinary, or when it is not known how long each step took.
        What spins is not told from what computes there, since its stack was not read at a late step. Sleeps
        after the last of them (before a save, say) belong to the step that comes next.
        """
        if not passed.count:
            return []
        known = len(passed.each) == passed.count
        ordinary = not self._busy and len(self._loaders) <= 1 and known
        ended = passed.origin.at - passed.since
        samples = self._until(ended)
        self._busy, self._loaders = False, set()
        if not ordinary:
            return []
        ends = list(accumulate(passed.each))
        begun = ended - 1000 * ends[-1]
        found = []
        for sample in samples:
            middle = (_moment(sample) - begun) // 1000
            if sample.asleep:
                at = min(max(0, bisect_left(ends, middle)), passed.count - 1)
                found.append((passed.first + at, sample))
        return found

    def close(self, record: StepRecord) -> Closed:
        """A step is complete. Samples of a later time belong to a step whose record was not read yet: stacks
        are looked at more often than records are read.
        """
        checked = record.phases.get("guard", 0)
        duration = sum(record.phases.values()) - checked
        usual = sorted(self._durations)[len(self._durations) // 2] if self._durations else duration
        calm = not self._busy and len(self._loaders) <= 1
        samples = self._until(record.origin.at)
        self._busy, self._loaders = False, set()
        self.total += duration
        self._durations.append(duration)
        return Closed(samples, max(0, duration - usual), calm=calm, ordinary=calm and not checked)

    def _until(self, moment: int) -> list[StackSampled]:
        """Take the samples up to ``moment``."""
        taken = [one for one in self._samples if _moment(one) <= moment]
        self._samples = [one for one in self._samples if _moment(one) > moment]
        return taken


def _moment(sample: StackSampled) -> int:
    """When a sample was taken; of a sleep its middle, for that it is over is seen a while after."""
    return sample.origin.at - (sample.span // 2 if sample.asleep else 0)
