"""Where a step's time goes: data, forward, backward, optimizer, other. All in nanoseconds."""

from __future__ import annotations

from time import perf_counter_ns


class Phases:
    """Accumulates phase times between two optimizer steps.

    ``forward`` is what passes between the delivery of a batch and the call of ``backward``; whatever is in
    none of the other phases is ``other``. What the guard took for dear checks stands apart as ``guard``.
    """

    def __init__(self) -> None:
        self._begun = perf_counter_ns()
        self._data = self._forward = self._backward = self._optimizer = self._guard = 0
        self._delivered = self._begun

    def data(self, started: int, ended: int) -> None:
        """A batch was fetched between two ``perf_counter_ns`` readings."""
        self._data += ended - started
        self._delivered = ended

    def backward(self, started: int, ended: int) -> None:
        """A backward pass ran."""
        self._forward += max(0, started - self._delivered)
        self._backward += ended - started
        self._delivered = ended

    def optimizer(self, started: int, ended: int) -> None:
        """The optimizer's own step ran."""
        self._optimizer += ended - started

    def guard(self, took: int) -> None:
        """A check of the guard took so long."""
        self._guard += took

    def passed(self) -> int:
        """How long it is since the last call, and a new beginning."""
        now, begun = perf_counter_ns(), self._begun
        self._begun = self._delivered = now
        self._data = self._forward = self._backward = self._optimizer = self._guard = 0
        return now - begun

    def close(self) -> dict[str, int]:
        """The phases since the last call, and a new beginning."""
        now = perf_counter_ns()
        total = now - self._begun
        known = self._data + self._forward + self._backward + self._optimizer + self._guard
        phases = {
            "data": self._data,
            "forward": self._forward,
            "backward": self._backward,
            "optimizer": self._optimizer,
            "other": max(0, total - known),
        }
        if self._guard:
            phases["guard"] = self._guard
        self._begun = self._delivered = now
        self._data = self._forward = self._backward = self._optimizer = self._guard = 0
        return phases
