"""Whether a step is the first since a pass over a loader began, where a program's new phase may begin."""

from __future__ import annotations

from collections.abc import Hashable

MAX_KEPT = 4096


class NewPasses:
    """Passes over loaders as they begin, by process, and which optimizers have stepped since.

    ``pid`` is whatever tells processes apart: rules that see several machines add the rank.
    """

    def __init__(self) -> None:
        self._begun: dict[Hashable, int] = {}
        self._seen: dict[tuple[Hashable, int], int] = {}
        self._waiting: set[Hashable] = set()

    def begin(self, pid: Hashable) -> None:
        """A pass began in this process."""
        if pid in self._begun or len(self._begun) < MAX_KEPT:
            self._begun[pid] = self._begun.get(pid, 0) + 1
            self._waiting.add(pid)

    def step(self, pid: Hashable, optimizer: int) -> bool:
        """An optimizer stepped: whether a pass began since its last step."""
        self._waiting.discard(pid)
        key, begun = (pid, optimizer), self._begun.get(pid, 0)
        first = begun > self._seen.get(key, 0)
        if key in self._seen or len(self._seen) < MAX_KEPT:
            self._seen[key] = begun
        return first

    def waiting(self, pid: Hashable) -> bool:
        """Whether a pass began and no optimizer has stepped since."""
        return pid in self._waiting
