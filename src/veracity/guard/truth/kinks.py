"""Elements that are zero and have a gradient of zero: where a loss has no derivative, or where it is masked.

A normalisation whose weights and biases are held at zero feeds zeros into the ReLU behind it. There the loss
has a kink: it rises one way and stays as it is the other way, and autograd gives zero by convention. Random
signs find that a wrong gradient. A gradient that somebody masked is wrong as well, but the loss is smooth
there: it changes by the same both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from .direction import RANDOM
from .rerun import NotRepeatableError

if TYPE_CHECKING:
    import torch

    from ...core.trial import GradientTrial
    from .direction import Direction
    from .trial import Bench

DRAWS = 4
"""Subsets of these elements at which a kink is looked for: in one of them both ways may cancel by chance."""
FEW = 8
"""Fewer elements than these have no subsets that are much different, and are taken to be at a kink."""


def refuse_kink(
    bench: Bench,
    name: str,
    direction: Direction | None,
    trial: GradientTrial,
    wrong: Callable[[GradientTrial], bool],
) -> None:
    """Raises NotRepeatableError when ``trial`` is wrong only for elements without a derivative.

    It went along ``direction``; ``wrong`` says whether another trial of the tensor ``name`` is wrong as well.
    """
    if direction is None or direction.kind != RANDOM:
        return
    still = (direction.parameter.detach() == 0) & (direction.gradient == 0)
    if not bool(still.any()):
        return
    if not bool(still.all()) and wrong(bench.trial(trial.tensor, name, replace(direction, where=~still))):
        return
    if int(still.sum()) < FEW or any(bench.bends(name, one) for one in _subsets(direction, still)):
        raise NotRepeatableError(
            "the loss has no derivative where elements are held at zero", lasting=False, counts=False
        )


def _subsets(direction: Direction, still: torch.Tensor) -> Iterator[Direction]:
    """Directions that move about half of the elements ``still`` each."""
    import torch

    generator = torch.Generator(still.device).manual_seed(direction.seed)
    for _ in range(DRAWS):
        half = torch.empty(still.shape, device=still.device).bernoulli_(0.5, generator=generator) > 0
        yield replace(direction, where=still & half)
