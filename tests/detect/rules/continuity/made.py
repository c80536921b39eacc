"""Observations for the laws of continuity, made by hand."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from veracity.core.contract import OptimizerDeclaration, TensorDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import (
    CheckpointLoaded,
    CheckpointSaved,
    FileDigested,
    Observation,
    OptimizerDeclared,
    StateRestored,
    StepRecord,
    TensorDigest,
    WeightsMoved,
)
from veracity.core.origin import Origin, Trust
from veracity.core.sample import TensorSample
from veracity.core.sweep import NOT_SWEPT, Sweep
from veracity.detect.detector import Detector

NAMES = ["layers.0.weight", "layers.0.bias", "head.weight", "head.bias"]
PATH = "/data/out/checkpoint.pt"


def judge(detector: Detector, observations: Iterable[Observation]) -> list[Finding]:
    found = [finding for seen in observations for finding in detector.observe(seen)]
    return found + list(detector.finish())


def digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


def tensor(
    key: str, content: object = None, shape: Sequence[int] = (3, 4), dtype: str = "float32"
) -> TensorDigest:
    return TensorDigest(key, digest(key if content is None else content), dtype, list(shape))


def sample(
    place: int,
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    *,
    repeated: bool = False,
    steps: tuple[float | None, float | None] = (None, None),
    typecode: str = "f",
) -> TensorSample:
    count = len(next(iter(after.values()), next(iter(before.values()), ())))
    made = [{name: array(typecode, values) for name, values in part.items()} for part in (before, after)]
    return TensorSample(place, repeated, count, *steps, *made)


@dataclass
class Story:
    """One process, told in order."""

    pid: int = 100
    rank: int = 0
    seq: int = 0
    seen: list[Observation] = field(default_factory=list)

    def origin(self) -> Origin:
        self.seq += 1
        return Origin("guard", Trust.USERLAND, self.pid, self.rank, self.seq, self.seq * 10)

    def monitor(self, at: int | None = None) -> Origin:
        return Origin(
            "monitor", Trust.SERVICE, self.pid, self.rank, -1, self.seq * 10 + 1 if at is None else at
        )

    def lose(self) -> None:
        self.seq += 1

    def declare(
        self,
        index: int = 0,
        names: Sequence[str] = NAMES,
        class_name: str = "torch.optim.AdamW",
        *,
        inherits: bool = False,
    ) -> None:
        tensors = [TensorDeclaration(name, [3, 4], "float32", 12, 0) for name in names]
        made = OptimizerDeclaration(index, class_name, "adamw.py", 1, [{}], tensors, inherits=inherits)
        self.seen.append(OptimizerDeclared(self.origin(), made))

    def step(
        self,
        number: int,
        samples: Sequence[TensorSample] = (),
        *,
        optimizer: int = 0,
        before: Sequence[Sequence[int]] = (),
        after: Sequence[Sequence[int]] = (),
        swept: tuple[Sweep, Sweep] = (NOT_SWEPT, NOT_SWEPT),
    ) -> None:
        fingers = [list(pair) for pair in before], [list(pair) for pair in after]
        origin = self.origin()
        self.seen.append(
            StepRecord(
                origin,
                optimizer,
                number,
                [],
                {},
                None,
                1,
                {},
                *fingers,
                None,
                None,
                False,
                False,
                list(samples),
                *swept,
            )
        )

    def moved(self, after_step: int, *, step_replaced: str = "", optimizer: int = 0) -> None:
        place = ("train.py", 7) if step_replaced else ("", 0)
        self.seen.append(
            WeightsMoved(self.origin(), optimizer, after_step, [0, 2], 32, step_replaced, *place)
        )

    def saved(self, tensors: Sequence[TensorDigest], path: str = PATH, *, truncated: bool = False) -> int:
        self.seen.append(CheckpointSaved(self.origin(), path, 9, list(tensors), truncated))
        return self.seq

    def loaded(self, tensors: Sequence[TensorDigest], path: str = PATH) -> int:
        self.seen.append(CheckpointLoaded(self.origin(), path, -1, list(tensors), False))
        return self.seq

    def restored(
        self,
        step: int,
        tensors: Sequence[TensorDigest],
        state: Sequence[TensorDigest] = (),
        *,
        module: bool = True,
        own: bool = True,
        optimizer: int = 0,
    ) -> None:
        self.seen.append(
            StateRestored(self.origin(), optimizer, step, module, own, list(tensors), list(state))
        )

    def file(self, event: str, seq: int, *, at: int | None = None, path: str = PATH, **changes: Any) -> None:
        values: dict[str, Any] = {
            "digest": digest("file"),
            "storages": [],
            "known": [],
            "path_known": False,
            "last_digest": "",
            "last_run": "",
            "saved_tensors": [],
        } | changes
        self.seen.append(FileDigested(self.monitor(at), event, seq, path, **values))
