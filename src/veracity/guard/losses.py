"""The losses that backward passes began from since the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_LOSSES = 64


class Losses:
    """Of each backward pass one, while they are not too many."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._all: list[torch.Tensor] = []
        self._count = 0

    def saw(self, loss: torch.Tensor | None) -> None:
        """A backward pass ran from ``loss``; None when it began at no single number."""
        self._count += 1
        if loss is not None:
            # A copy: programs go on adding to a tensor that shares its memory.
            self._last = loss.detach().clone()
            if len(self._all) < MAX_LOSSES:
                self._all.append(self._last)

    def told(self) -> dict[str, object]:
        """The last one, how many there were, and of several the sum where all are known."""
        known = self._count > 1 and len(self._all) == self._count
        return {
            "loss": float(self._last) if self._last is not None else None,
            "losses": self._count,
            "loss_sum": sum(float(loss) for loss in self._all) if known else None,
        }

    def clear(self) -> None:
        """A step was made."""
        self._last, self._count = None, 0
        self._all.clear()
