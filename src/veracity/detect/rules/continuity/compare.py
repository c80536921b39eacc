"""Values after one step against the values before the next, bit for bit."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ....core.finding import Evidence
from ....core.quantity import quantity
from ....core.sample import TensorSample
from ....core.sweep import Sweep

_GRADIENT = "grad"
_SHOWN = 5
_EXACT = 1e-5  # spread of a common factor: float32 rounding stays far below
_BY_CHANCE = 1e-2
_ROUGH = 1e-2  # the same for 16-bit parameters


@dataclass(frozen=True, slots=True)
class Change:
    """A field of one tensor whose sampled elements differ; ``later`` is empty when the field is gone.

    ``changed`` of ``count`` elements differ; ``former``/``later`` are those elements. ``least`` is the
    smallest size among the others, infinite when there are none.
    """

    tensor: int
    field: str
    changed: int
    count: int
    former: Sequence[float]
    later: Sequence[float]
    least: float = math.inf

    @property
    def gaps(self) -> list[float]:
        """Absolute differences, infinite where one side is not a number."""
        pairs = zip(self.former, self.later, strict=False)
        return [math.inf if math.isnan(new - old) else abs(new - old) for old, new in pairs]

    @property
    def largest(self) -> float:
        """The largest absolute difference, infinite when the field is gone."""
        return max(self.gaps, default=math.inf)

    @property
    def worst(self) -> int:
        """Where among the changed elements the difference is largest."""
        gaps = self.gaps
        return gaps.index(max(gaps)) if gaps else 0


def compare(earlier: TensorSample, later: TensorSample) -> tuple[int, list[Change]]:
    """How many fields were compared, and the changes between ``earlier.after`` and ``later.before``.

    Both samples must hold the same elements; otherwise nothing is compared. Gradients are not weights.
    A field that appears is the optimizer's or the program's to add; one that disappears is a change.
    """
    if earlier.count != later.count:
        return 0, []
    compared = 0
    changes = []
    for field, former in earlier.after.items():
        if field == _GRADIENT:
            continue
        compared += 1
        current = later.before.get(field)
        if current is None:
            changes.append(Change(earlier.tensor, field, len(former), len(former), former, ()))
        elif (change := _change(earlier.tensor, field, former, current)) is not None:
            changes.append(change)
    if earlier.step_after is not None and later.step_before is not None:
        compared += 1
        steps = array("d", (earlier.step_after,)), array("d", (later.step_before,))
        if (change := _change(earlier.tensor, "step", *steps)) is not None:
            changes.append(change)
    return compared, changes


def compare_sweeps(earlier: Sweep, later: Sweep) -> tuple[int, list[Change]]:
    """How many tensors both sweeps hold, and which of them changed. ``later`` may hold fewer."""
    count = earlier.count
    if not count or count != later.count:
        return 0, []
    if earlier.tensors == later.tensors and earlier.values.tobytes() == later.values.tobytes():
        return len(earlier.tensors), []
    at = {tensor: place for place, tensor in enumerate(earlier.tensors)}
    compared, changes = 0, []
    for place, tensor in enumerate(later.tensors):
        before = at.get(tensor)
        if before is None:
            continue
        compared += 1
        former = earlier.values[before * count : (before + 1) * count]
        current = later.values[place * count : (place + 1) * count]
        if (change := _change(tensor, "param", former, current)) is not None:
            changes.append(change)
    return compared, changes


def _change(tensor: int, field: str, former: array[float], current: array[float]) -> Change | None:
    if former.typecode != current.typecode:
        # A block is float64 as soon as one of its tensors is; float32 values survive that unchanged.
        former, current = array("d", former), array("d", current)
    if former.tobytes() == current.tobytes():
        return None
    size = former.itemsize
    old, new = former.tobytes(), current.tobytes()
    if len(old) != len(new):
        return None
    places = [at for at in range(len(former)) if old[at * size :][:size] != new[at * size :][:size]]
    picked = [former[at] for at in places], [current[at] for at in places]
    chosen = set(places)
    least = min((abs(value) for at, value in enumerate(former) if at not in chosen), default=math.inf)
    return Change(tensor, field, len(places), len(former), *picked, least)


def common_factor(changes: Iterable[Change]) -> str:
    """``multiplied by 0.9`` when all changed parameter elements went by one factor, else empty."""
    ratios = []
    for change in changes:
        if change.field != "param":
            continue
        for old, new in zip(change.former, change.later, strict=False):
            if old == 0 or not math.isfinite(old) or not math.isfinite(new):
                return ""
            ratios.append(new / old)
    if len(ratios) < 2:
        return ""
    spread = max(ratios) - min(ratios)
    middle = sorted(ratios)[len(ratios) // 2]
    away = abs(middle - 1)
    if spread <= _EXACT * abs(middle) and away > 10 * _EXACT:
        return f"multiplied by {middle:.5g}"
    if spread <= _ROUGH * abs(middle) and away > 5 * _ROUGH:
        return f"multiplied by about {middle:.2g}"
    return ""


def clamp_bound(changes: Sequence[Change]) -> float | None:
    """``c`` when every changed parameter element lay beyond ±c and now lies on it: weights were clamped."""
    bounds: set[float] = set()
    for change in changes:
        if change.field != "param" or len(change.former) != len(change.later):
            return None
        for old, new in zip(change.former, change.later, strict=True):
            if not math.isfinite(new) or abs(old) <= abs(new) or old * new <= 0:
                return None
            bounds.add(abs(new))
    return bounds.pop() if len(bounds) == 1 else None


def zeroed(changes: Sequence[Change]) -> bool:
    """Whether all that changed are weights, and they are zero now."""
    return all(
        change.field == "param" and len(change.later) > 0 and not any(change.later) for change in changes
    )


def pruned(changes: Sequence[Change]) -> bool:
    """Whether nothing changed but the smallest weights of each tensor, which are zero now.

    That it is the smallest is told by how unlikely it would be of any others.
    """
    chance = 1.0
    for change in changes:
        if not zeroed([change]) or max(map(abs, change.former)) > change.least:
            return False
        chance /= math.comb(change.count, change.changed)
    return chance <= _BY_CHANCE


def change_evidence(changes: Sequence[Change], names: Sequence[str]) -> tuple[Evidence, ...]:
    """The worst changes by tensor name: value after the step before, value now."""
    worst = sorted(changes, key=lambda change: (change.field == "param", change.largest), reverse=True)
    found = []
    for change in worst[:_SHOWN]:
        name = f"{name_of(change.tensor, names)} {change.field}"
        place = change.worst
        former = repr(change.former[place]) if change.former else ""
        now = repr(change.later[place]) if change.later else "gone"
        found.append(
            Evidence(f"{name}, {change.changed} of {quantity(change.count, 'element')}", former, now)
        )
    return tuple(found)


def name_of(tensor: int, names: Sequence[str]) -> str:
    """A tensor's declared name."""
    return names[tensor] if 0 <= tensor < len(names) else f"tensor {tensor}"
