"""Joining what the guard said of a checkpoint with what the monitor read from its file.

The monitor reads a file a moment after the program used it, and the program may be writing it again by then.
A finding about a file therefore waits until a step of the same process, made after the reading, shows that no
save was under way; a save to the same path that appears first takes the finding back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ....core.coverage import Coverage
from ....core.finding import Finding
from ....core.observation import (
    CheckpointLoaded,
    CheckpointSaved,
    FileDigested,
    Observation,
    StepRecord,
)
from ....core.origin import Origin

MAX_KEPT = 64
MAX_PATHS = 8192
REWRITTEN = "a file was written again before it was read"


@dataclass(slots=True)
class _Held:
    digested: FileDigested
    paths: frozenset[str]
    finding: Finding


class Files:
    """Recent saves and loads by (pid, sequence number), and findings that wait."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._spoken: OrderedDict[tuple[int, int], CheckpointSaved | CheckpointLoaded] = OrderedDict()
        self._saves: OrderedDict[str, Origin] = OrderedDict()
        self._held: list[_Held] = []
        self._next_step: dict[int, int] = {}
        self._step_at: dict[tuple[int, int], int] = {}

    def observe(self, seen: Observation) -> Iterator[Finding]:
        """Take an observation in; yield the findings whose wait is over."""
        if isinstance(seen, (CheckpointSaved, CheckpointLoaded)):
            key = (seen.origin.pid, seen.origin.seq)
            self._spoken[key] = seen
            self._step_at[key] = self._next_step.get(seen.origin.pid, 0)
            if len(self._spoken) > MAX_KEPT:
                self._step_at.pop(self._spoken.popitem(last=False)[0], None)
        if isinstance(seen, CheckpointSaved):
            self._saves[seen.path] = seen.origin
            self._saves.move_to_end(seen.path)
            if len(self._saves) > MAX_PATHS:
                self._saves.popitem(last=False)
            yield from self._settle([held for held in self._held if seen.path in held.paths], kept=False)
        elif isinstance(seen, StepRecord):
            pid, at = seen.origin.pid, seen.origin.at
            self._next_step[pid] = max(self._next_step.get(pid, 0), seen.step + 1)
            if self._held:
                ready = [
                    held
                    for held in self._held
                    if held.digested.origin.pid == pid and held.digested.origin.at < at
                ]
                yield from self._settle(ready, kept=True)

    def finish(self) -> Iterator[Finding]:
        """The run is over: nothing is written any more."""
        yield from self._settle(list(self._held), kept=True)

    def spoken(self, digested: FileDigested) -> CheckpointSaved | CheckpointLoaded | None:
        """What the guard said of the save or load that ``digested`` belongs to."""
        return self._spoken.get((digested.origin.pid, digested.seq))

    def next_step(self, digested: FileDigested) -> int:
        """The step that followed the save or load: training goes on while the file is read."""
        pid = digested.origin.pid
        return self._step_at.get((pid, digested.seq), self._next_step.get(pid, 0))

    def hold(self, digested: FileDigested, finding: Finding) -> Iterator[Finding]:
        """Let ``finding`` wait; it comes out of :meth:`observe` or :meth:`finish`, or never.

        With too many waiting the oldest is released.
        """
        spoken = self.spoken(digested)
        # A program may have saved beside and renamed: the file is found under another name then.
        paths = frozenset({digested.path, spoken.path} if spoken is not None else {digested.path})
        for path in paths:
            latest = self._saves.get(path)
            if latest is not None and (spoken is None or _later(latest, spoken.origin)):
                self._coverage.skip(REWRITTEN)
                return
        self._held.append(_Held(digested, paths, finding))
        if len(self._held) > MAX_KEPT:
            yield from self._settle(self._held[:1], kept=True)

    def _settle(self, ready: list[_Held], *, kept: bool) -> Iterator[Finding]:
        for held in ready:
            self._held.remove(held)
            if kept:
                yield held.finding
            else:
                self._coverage.skip(REWRITTEN)


def _later(save: Origin, spoken: Origin) -> bool:
    return save.seq > spoken.seq if save.pid == spoken.pid else save.at > spoken.at
