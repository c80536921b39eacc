"""Made-up training curves and what programs log of them, handed to the rule as guard and monitor would."""

from __future__ import annotations

import json
import math
import random
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.detect.recording import origin, step_record
from veracity.core.finding import Finding
from veracity.core.observation import Hello, LoggedValue, MetricsLogged, Observation, StepRecord, StepsPassed
from veracity.core.origin import Origin, Trust
from veracity.detect.rules.metric.loss_misreported import LossMisreported
from veracity.observe.metrics import reading

PATH = "/job/out/metrics.jsonl"
SAID_EVERY = 200


def single(value: float) -> float:
    """Rounded to 32 bits, as losses are."""
    return array("f", [value])[0]


def curve(steps: int, *, seed: int = 0, noise: float = 0.03, begin: float = 4.0) -> list[float]:
    """A loss that falls and trembles."""
    chance = random.Random(seed)
    return [
        single((1 + (begin - 1) * math.exp(-step / 150)) * (1 + chance.gauss(0, noise)))
        for step in range(steps)
    ]


def logged(key: str, step: int | None, text: str) -> LoggedValue:
    found = reading(text)
    assert found is not None, text
    return LoggedValue(key, step, *found)


def full(value: float) -> str:
    """As JSON prints it."""
    return json.dumps(value)


@dataclass
class Program:
    """A training program: its losses, and the rows it logs, each after its step."""

    losses: Sequence[float]
    pid: int = 100
    rank: int = 0
    micro: Sequence[Sequence[float]] | None = None
    rows: list[tuple[int, LoggedValue]] = field(default_factory=list)
    held: bool = True
    path: str = PATH
    looked: Collection[int] | None = None
    """Steps that the guard looks at, all of them when None. It says every ``SAID_EVERY`` what passed."""
    _first: int = 0

    def log(self, after: int, text: str, *, step: int | None = -1, key: str = "loss") -> None:
        """The program logs ``text`` after its step ``after``, under that step unless another is given."""
        self.rows.append((after, logged(key, after if step == -1 else step, text)))

    def record(self, step: int) -> StepRecord:
        made = step_record(step, [], rank=self.rank)
        where = origin(self.rank, step, self.pid)
        parts = self.micro[step] if self.micro is not None else [self.losses[step]]
        total = math.fsum(parts) if len(parts) > 1 else None
        return StepRecord(
            where, 0, step, made.groups, {}, parts[-1], len(parts), {}, [], [], None, None, False, False,
            loss_sum=total,
        )  # fmt: skip

    def observations(self, *, lag: int = 7) -> list[Observation]:
        """Records as they come; what is logged is read every ``lag`` steps, a little too early at that."""
        made: list[Observation] = []
        waiting = sorted(self.rows, key=lambda row: row[0])
        for step in range(len(self.losses)):
            if step % lag == 0:
                due = [value for after, value in waiting if after <= step]
                waiting = [row for row in waiting if row[0] > step]
                made += self._batch(due)
            if self.looked is None or step in self.looked:
                made += self._passed(step)
                made.append(self.record(step))
                self._first = step + 1
                rests = self.looked is not None and step + 1 not in self.looked
                made += self._passed(step + 1) if rests else []
            elif step + 1 - self._first >= SAID_EVERY:
                made += self._passed(step + 1)
        made += self._passed(len(self.losses))
        return [*made, *self._batch([value for _, value in waiting])]

    def _passed(self, until: int) -> list[Observation]:
        """What the guard says of the steps since the last one it told of: 0 of them where a rest begins."""
        if self.looked is None:
            return []
        first, self._first = self._first, until
        if until == first and (until in self.looked or until == len(self.losses)):
            return []
        return [StepsPassed(origin(self.rank, until, self.pid), 0, first, until - first, 0)]

    def _batch(self, values: list[LoggedValue]) -> list[Observation]:
        where = Origin("monitor", Trust.SERVICE, self.pid if self.held else 0, -1, -1, 0)
        return [MetricsLogged(where, self.path, self.held, values)] if values else []


def hello(pid: int, rank: int, world: int) -> Hello:
    ids = {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_PORT": "1"}
    return Hello(origin(rank, 0, pid), 1, "rank", "python", "3.11", "2.1", 0, ids, {})


def judge(
    observations: Sequence[Observation], detector: LossMisreported | None = None
) -> tuple[list[Finding], LossMisreported]:
    """All findings, and the detector to ask for its coverage."""
    detector = detector or LossMisreported()
    found: list[Finding] = []
    for one in observations:
        found += detector.observe(one)
    return [*found, *detector.finish()], detector
