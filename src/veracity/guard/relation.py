"""What a hook made of a gradient: clamped it, cleared what is not finite, scaled it, or something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_ELEMENTS = 1 << 18
UNIFORM = 1e-3
EQUAL = 1e-6
_WEIGHTS = {"cleared": 0, "clamped": 1, "scaled": 2}


@dataclass(frozen=True, slots=True)
class Relation:
    """``ratio``: of all elements when scaled, below 0 when turned round as well. ``norm``: before.

    ``share``: of the elements that changed.
    """

    kind: str
    ratio: float = 0.0
    norm: float = 0.0
    share: float = 1.0

    @property
    def weight(self) -> int:
        """Which of several to speak of: the one that says most."""
        return _WEIGHTS.get(self.kind, 3)


def relation_of(before: torch.Tensor, after: torch.Tensor) -> Relation | None:
    """How ``after`` came of ``before`` (gradients of any shape); None when they are equal.

    Of tensors larger than 256 Ki elements a regular share is compared.
    """
    import torch

    if before.shape != after.shape or before.layout != after.layout or before.layout != torch.strided:
        return Relation("other")
    with torch.no_grad():
        old, new = _flat(before), _flat(after)
        changed = (old != new) & ~(old.isnan() & new.isnan())
        if not bool(changed.any()):
            return None
        share = float(changed.double().mean())
        finite = old.isfinite()
        if not bool((changed & finite).any()):
            return Relation("cleared", share=share)
        norm = float(old[finite].norm())
        ratio = _ratio(old, new)
        if ratio > 0:
            return Relation("scaled", ratio, norm, share)
        kind = "clamped" if _clamped(old, new, changed) else "other"
        return Relation(kind, min(0.0, ratio), norm, share)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().reshape(-1)
    return flat[:: -(-flat.numel() // MAX_ELEMENTS) or 1].double()


def _ratio(old: torch.Tensor, new: torch.Tensor) -> float:
    """The factor on all elements; 0 when there is none."""
    there = old != 0
    if bool((new[~there] != 0).any()):
        return 0.0
    ratios = new[there] / old[there]
    low, high = float(ratios.min()), float(ratios.max())
    # What a low precision rounds may lie further apart.
    return (low + high) / 2 if high - low <= 16 * UNIFORM * abs(high) else 0.0


def _clamped(old: torch.Tensor, new: torch.Tensor, changed: torch.Tensor) -> bool:
    """Whether what changed was brought to one bound above and one below, within which all else lies."""
    if not bool(new.any()):
        return False
    kept = new[~changed]
    for sign in (1, -1):
        moved = changed & (sign * old > sign * new)
        if not bool(moved.any()):
            continue
        bounds = sign * new[moved]
        high = float(bounds.max())
        if high < 0 or high - float(bounds.min()) > EQUAL * high:
            return False
        if kept.numel() and float((sign * kept).max()) > high + EQUAL * high:
            return False
    return True
