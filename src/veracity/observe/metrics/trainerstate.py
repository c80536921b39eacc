"""``trainer_state.json`` of the Hugging Face Trainer: written anew, whole, with every checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.observation import LoggedValue
from .lines import parsed, values_of


class TrainerState:
    """The rows of ``log_history`` that were not there before."""

    whole = True

    def __init__(self) -> None:
        self.damaged = ""
        self._taken = 0

    def feed(self, data: bytes) -> Iterator[LoggedValue]:
        """``data`` is the whole file, perhaps caught while it is being written."""
        found = parsed(data.decode("utf-8", "replace"))
        history = found.get("log_history") if isinstance(found, dict) else None
        if not isinstance(history, list):
            return
        fresh, self._taken = history[self._taken :], max(self._taken, len(history))
        for row in fresh:
            if isinstance(row, dict):
                yield from values_of(row)
