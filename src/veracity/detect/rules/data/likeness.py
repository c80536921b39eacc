"""What a batch that should not be looks like, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ....core.quantity import quantity

SHOWN = 16


def shown(indices: Sequence[int]) -> str:
    """Indices as people read them, cut after :data:`SHOWN`."""
    text = ", ".join(str(index) for index in indices[:SHOWN])
    more = len(indices) - SHOWN
    return f"[{text}, … {more} more]" if more > 0 else f"[{text}]"


def likeness(
    batch: Sequence[int],
    order: Sequence[int],
    start: int,
    earlier: Sequence[tuple[int, Sequence[int]]],
    bound: int,
) -> str:
    """What ``batch``, found where ``order[start:]`` should be, looks like.

    ``earlier`` are the beginnings of the orders seen in earlier iterations of this loader, with their
    numbers; ``bound`` is the length of the dataset, or negative when it is unknown.
    """
    expected = list(order[start : start + len(batch)])
    for number, seen in earlier:
        if batch and list(seen[start : start + len(batch)]) == list(batch):
            return f"the same order as in iteration {number}"
    if not batch:
        return "an empty batch"
    if bound >= 0 and any(not 0 <= index < bound for index in batch):
        return "indices outside the dataset"
    return (
        _edit(batch, expected, order[start : start + len(batch) + SHOWN])
        or _sequence(batch)
        or _shift(batch, order, start)
        or "another shuffle: as if from another seed or generator state"
    )


def _edit(batch: Sequence[int], expected: Sequence[int], ahead: Sequence[int]) -> str:
    """A small edit of what was expected: one index replaced, repeated or left out, or another order."""
    if len(batch) != len(expected):
        return ""
    differing = [place for place, pair in enumerate(zip(batch, expected, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return ""
    first = differing[0]
    repeated = len(set(batch)) < len(set(expected))
    rest = list(batch[first:])
    for skipped in range(1, SHOWN + 1):
        if len(rest) > 1 and rest == list(ahead[first + skipped : len(batch) + skipped]):
            return f"indices {shown(ahead[first : first + skipped])} are left out"
    if repeated:
        return f"index {batch[first]} is repeated in place of {expected[first]}"
    if len(differing) == 1:
        return f"index {expected[first]} is replaced by {batch[first]}"
    if sorted(batch) == sorted(expected):
        return "the right indices in another order"
    return ""


def _sequence(batch: Sequence[int]) -> str:
    if len(batch) < 2:
        return ""
    steps = {later - former for former, later in pairwise(batch)}
    if steps == {1}:
        return "data in its stored order, not shuffled"
    if steps == {0}:
        return f"index {batch[0]} alone, over and over"
    if min(steps) > 0:
        return "indices sorted, not shuffled"
    return ""


def _shift(batch: Sequence[int], order: Sequence[int], start: int) -> str:
    try:
        found = order.index(batch[0])
    except ValueError:
        return ""
    if len(batch) < 2 or list(order[found : found + len(batch)]) != list(batch):
        return ""
    distance = found - start
    return (
        f"the right order shifted by {quantity(abs(distance), 'index', 'indices')} "
        f"{'ahead' if distance > 0 else 'back'}"
    )
