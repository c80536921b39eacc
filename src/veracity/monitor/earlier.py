"""What earlier runs of the same contract were like: asked at a run's first step, kept when it held."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

from ..core.contract import LoaderDeclaration, OptimizerDeclaration, SchedulerDeclaration
from ..core.likeness import likeness
from ..core.observation import (
    EarlierRun,
    EarlierRuns,
    EarlierSeries,
    Hello,
    LoaderStarted,
    Observation,
    OptimizerDeclared,
    SchedulerDeclared,
    StateRestored,
    StepRecord,
)
from ..core.origin import monitor_origin
from ..core.profile import Course
from .profiles import Profiles

MAX_ITEMS = 64
_HEX = re.compile(r"[0-9a-f]{1,64}\Z")
DIGITS = 7
"""Of a mean: far below what two runs are told apart by."""


class EarlierKept:
    """Follows one run of ``home``. The contract is that of the first process of rank 0 to step."""

    def __init__(self, home: Path, run: str) -> None:
        self._profiles = Profiles(home)
        self._run = run
        self._optimizers: dict[int, OptimizerDeclaration] = {}
        self._schedulers: dict[int, SchedulerDeclaration] = {}
        self._loaders: dict[int, LoaderDeclaration] = {}
        self._began_from: list[str] = []
        self._world = 1
        self._bits: dict[int, str] = {}
        self._course = Course()
        self._means: dict[str, dict[int, float]] = {}
        self._likeness = self._seed = ""
        self._asked = False

    def take(self, observation: Observation) -> None:
        """One more observation, live or of the record."""
        if isinstance(observation, EarlierRuns):
            self._asked = True
        if observation.origin.rank > 0:
            return
        if isinstance(observation, Hello):
            self._greeted(observation)
        elif not self._likeness:
            self._declared(observation)
        for mean in self._course.take(observation):
            self._means.setdefault(mean.series, {})[mean.window] = round(mean.mean, DIGITS)

    def ask(self, step: StepRecord) -> EarlierRuns | None:
        """Before a run's first step is taken: what earlier runs were like. None at other steps."""
        if step.origin.rank > 0 or self._likeness or self._asked:
            return None
        self._begin(step)
        self._asked = True
        runs = self._profiles.read(self._likeness, apart_from=self._run)
        origin = monitor_origin(time.time_ns(), pid=step.origin.pid, rank=step.origin.rank)
        return EarlierRuns(origin, self._likeness, self._seed, self._bits.get(step.origin.pid, ""), runs)

    def held(self, size: int, root: str) -> None:
        """The run has held: keep what it was like. Its ledger has ``size`` entries and this ``root``.

        Raises OSError when the home cannot be written.
        """
        series = [
            EarlierSeries(name, sorted(windows), [windows[at] for at in sorted(windows)])
            for name, windows in sorted(self._means.items())
        ]
        if series and self._likeness:
            bits = self._bits.get(self._course.pid or 0, "")
            self._profiles.write(self._likeness, EarlierRun(self._run, size, root, self._seed, bits, series))

    def _begin(self, step: StepRecord) -> None:
        seed = step.rng.get("torch", "")
        self._seed = seed if _HEX.match(seed) else ""
        self._likeness = likeness(
            self._optimizers,
            self._schedulers,
            self._loaders,
            world=self._world,
            began_from=self._began_from,
        )

    def _greeted(self, hello: Hello) -> None:
        size = hello.ids.get("WORLD_SIZE", "1")
        if size.isascii() and size.isdecimal() and len(size) <= 7:
            self._world = max(self._world, int(size))
        if len(self._bits) < MAX_ITEMS:
            self._bits[hello.origin.pid] = _digest([hello.torch, hello.numerics])

    def _declared(self, observation: Observation) -> None:
        if isinstance(observation, OptimizerDeclared) and len(self._optimizers) < MAX_ITEMS:
            self._optimizers.setdefault(observation.optimizer.index, observation.optimizer)
        elif isinstance(observation, SchedulerDeclared) and len(self._schedulers) < MAX_ITEMS:
            self._schedulers.setdefault(observation.scheduler.index, observation.scheduler)
        elif isinstance(observation, LoaderStarted) and len(self._loaders) < MAX_ITEMS:
            self._loaders.setdefault(observation.loader.index, observation.loader)
        elif isinstance(observation, StateRestored) and len(self._began_from) < MAX_ITEMS:
            found = [[one.key, one.sha256] for one in (*observation.tensors, *observation.state)]
            self._began_from.append(_digest(found))
        elif isinstance(observation, StepRecord):
            self._begin(observation)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
