"""Copies of one parameter moved along a direction: its reported gradient, or keyed random signs.

Along the gradient sign and scale are seen. A gradient that was masked or zeroed is right along itself by
construction, so every other time the direction is one that nobody without the key can foresee.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Elements at a time in float64, so that no second copy of a large tensor is made.
CHUNK = 1 << 20

GRADIENT = "gradient"
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Direction:
    """A unit direction for ``parameter``: ``kind`` and, for random signs, the seed they come from.

    ``where``: a mask of the elements that random signs move; all of them without.
    """

    kind: str
    parameter: torch.Tensor
    gradient: torch.Tensor
    norm: float
    seed: int
    where: torch.Tensor | None = None

    @property
    def steepness(self) -> float:
        """What the gradient lets expect of the inner product with the unit direction."""
        return self.norm if self.kind == GRADIENT else self.norm / self.parameter.numel() ** 0.5

    def moved(self, reach: float) -> torch.Tensor:
        """A leaf of the parameter's kind at ``reach`` along the direction (Euclidean length)."""
        import torch

        with torch.no_grad():
            if self.kind == GRADIENT:
                moved = torch.add(
                    self.parameter, self.gradient.to(self.parameter.dtype), alpha=reach / self.norm
                )
            else:
                generator = torch.Generator(self.parameter.device).manual_seed(self.seed)
                signs = torch.empty_like(self.parameter).bernoulli_(0.5, generator=generator)
                signs.mul_(2.0).sub_(1.0)
                if self.where is not None:
                    signs.mul_(self.where)
                moved = signs.mul_(reach / self.parameter.numel() ** 0.5).add_(self.parameter)
        return torch.nn.Parameter(moved, requires_grad=self.parameter.requires_grad)

    def inner(self, moved: torch.Tensor) -> float:
        """<gradient, displacement> with the displacement as rounding left it, in float64."""
        places = [tensor.detach().reshape(-1) for tensor in (moved, self.parameter, self.gradient)]
        total = 0.0
        for begin in range(0, self.parameter.numel(), CHUNK):
            there, here, gradient = (place[begin : begin + CHUNK].double() for place in places)
            total += float(((there - here) * gradient).sum().item())
        return total


def seed_of(key: bytes, step: int, tensor: int) -> int:
    """The seed of the random signs: the same on every rank, foreseeable by none without the key."""
    data = hashlib.sha256(key + b"direction" + struct.pack("<QQ", step, tensor)).digest()
    return int.from_bytes(data[:8], "little") >> 1
