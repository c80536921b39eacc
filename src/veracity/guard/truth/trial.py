"""One tensor moved along one direction: three evaluations, and the reach that makes them worth something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.trial import GradientTrial
from .direction import RANDOM, Direction
from .rerun import Rerun

if TYPE_CHECKING:
    import torch

# The change aimed at, in roundings of the evaluation: far above them, and far below what bends the loss.
TARGET = 4000.0
FAR_OFF = 8.0
# How far parameters may be moved: half their own length, and a little for those that begin at zero.
SHARE = 0.5
FLOOR = 0.01
# A kink is looked for at a reach and at so small a part of it, and counts from so many roundings on.
NEARER = 4
SEEN = 16.0
ERRORS = 8.0
ROUNDINGS = 4.0


class Bench:
    """Trials on the captured calls of one module; ``rounding`` is that of an evaluation (``Rerun.null``)."""

    def __init__(self, rerun: Rerun, rounding: float) -> None:
        self._rerun = rerun
        self._target = TARGET * rounding

    def trial(
        self, tensor: int, name: str, direction: Direction, reach: float | None = None
    ) -> GradientTrial:
        """Move the parameter ``name``; a given ``reach`` is taken as it is, else a fitting one is found."""
        found = self._reached(name, direction) if reach is None else None
        if found is None:
            found = (reach or 0.0, *self._move(name, direction, reach or 0.0))
        reach, plus, inner_plus = found
        minus, inner_minus = self._move(name, direction, -reach)
        half, _ = self._move(name, direction, reach / 2)
        return GradientTrial(
            tensor, direction.kind, reach, plus, minus, half, inner_plus, inner_minus, direction.norm
        )

    def bends(self, name: str, direction: Direction) -> bool:
        """Whether the loss has a kink here: what it changes by forwards and backwards does not cancel.

        What is left over shrinks with the reach then, and with its square where the loss is smooth.
        """
        reach, plus, _ = self._reached(name, direction)
        left = abs(plus + self._move(name, direction, -reach)[0])
        near = reach / NEARER
        left_near = abs(self._move(name, direction, near)[0] + self._move(name, direction, -near)[0])
        return left_near > max(left / NEARER**1.5, self._target / TARGET * SEEN)

    def _reached(self, name: str, direction: Direction) -> tuple[float, float, float]:
        """A reach at which the change is far above rounding and far below what bends the loss.

        Returns it with the change and the inner product there.
        """
        numel = direction.parameter.numel()
        longest = SHARE * direction.parameter.detach().norm().item() + FLOOR * numel**0.5
        steepness = direction.steepness
        reach = min(longest, self._target / steepness) if steepness > 0 else longest / FAR_OFF
        plus, inner = self._move(name, direction, reach)
        # Scaled losses and wrong gradients make the first guess a bad one.
        change = abs(plus)
        better = reach
        if change > FAR_OFF * self._target:
            better = reach * max(self._target / change, 1e-6)
        elif change < self._target / FAR_OFF:
            better = min(longest, reach * (self._target / change if change else FAR_OFF))
        return (reach, plus, inner) if better == reach else (better, *self._move(name, direction, better))

    def _move(self, name: str, direction: Direction, reach: float) -> tuple[float, float]:
        moved = direction.moved(reach)
        return self._rerun.change(name, moved), direction.inner(moved)


def is_suspicious(trial: GradientTrial, numel: int, rounding: float, factor: float, share: float) -> bool:
    """Whether a trial looks wrong, and is worth a second look while the step's inputs are there."""
    scale = trial.reach * trial.norm
    if trial.direction == RANDOM:
        scale /= numel**0.5
    allowed = ERRORS * (trial.error + ROUNDINGS * rounding) * abs(factor) + share * scale
    return not abs(trial.slope * factor - trial.inner) <= allowed


def direction_for(kind: str, parameter: torch.Tensor, seed: int) -> Direction | None:
    """A direction along which to move ``parameter``; None when it has no gradient that can be read."""
    gradient = parameter.grad
    if gradient is None or gradient.layout != parameter.layout or not bool(gradient.isfinite().all()):
        return None
    norm = gradient.norm().item()
    return Direction(kind if norm > 0 else RANDOM, parameter, gradient.detach(), norm, seed)
