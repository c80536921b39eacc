"""Values held from before the program's own step hooks ran, so that it shows what the hooks changed.

The update law is about the optimizer's own step, which lies between the hooks before it and those after it.
What a hook does to weights or optimizer state is no part of that step, and is reported by itself.
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from .declare import place_of
from .elements import Reading, read

if TYPE_CHECKING:
    import torch

    from .hooks import Hooks
    from .sweep import Swept
    from .tracked import Picks, Tracked

MAX_HOOKS = 4
MAX_VALUES = 32
MAX_NAMED = 64


@dataclass(frozen=True, slots=True)
class Held:
    """What an optimizer's tensors, and those of the ``others``, were before some hooks ran."""

    hooks: Hooks
    swept: Swept
    picks: Picks
    readings: list[Reading]
    others: list[tuple[torch.optim.Optimizer, Tracked, Swept]]


def hold(
    optimizer: torch.optim.Optimizer,
    tracked: Tracked,
    hooks: Hooks,
    swept: Swept,
    picks: Picks,
    others: Sequence[tuple[torch.optim.Optimizer, Tracked]],
) -> Held:
    """Read ``picks`` of an optimizer whose ``swept`` has just been read, and sweeps of other optimizers."""
    return Held(
        hooks,
        swept,
        picks,
        read(optimizer, tracked, [(tensor, picked, False) for tensor, picked in picks]),
        [
            (other, known, known.sweeper.again(known.swept))
            for other, known in others
            if known.sweeper is not None and known.swept is not None and known.pending is None
        ],
    )


def moved(held: Held, optimizer: torch.optim.Optimizer, tracked: Tracked) -> Iterator[dict[str, object]]:
    """Bodies of ``HooksMoved``, of all optimizers whose tensors differ from what was held.

    What remains to be compared with later readings is set to what it is now.
    """
    now = tracked.sweeper.again(held.swept) if tracked.sweeper is not None else held.swept
    fresh = read(optimizer, tracked, [(tensor, picked, False) for tensor, picked in held.picks])
    fields = {name for old, new in zip(held.readings, fresh, strict=True) for name in _apart(old, new)}
    changed = held.swept.changed(now)
    if changed or fields:
        values = _swept(held.swept, now, changed) if changed else _picked(held.readings, fresh)
        yield {
            **_body(tracked, *values),
            "tensors": changed[:MAX_NAMED] or [tensor for tensor, _ in held.picks][:MAX_NAMED],
            "fields": sorted(fields | {"param"} if changed else fields),
        }
    for _, other, before in held.others:
        later = other.sweeper.again(before) if other.sweeper is not None else before
        # Hooks may have changed what the sweep does not meet: nothing else of them is compared later.
        other.picks, other.finger_tensors = [], []
        if changed := before.changed(later):
            other.swept, other.home = later, None
            values = _swept(before, later, changed)
            yield {**_body(other, *values), "tensors": changed[:MAX_NAMED], "fields": ["param"]}


def _apart(old: Reading, new: Reading) -> Iterator[str]:
    """Names of the fields whose sampled values differ or that are gone, ``step`` for a tensor's own count."""
    later = dict(zip(new[0], new[1], strict=True))
    for name, piece in zip(old[0], old[1], strict=True):
        if later.get(name) != piece:
            yield name
    if old[2] is not None and old[2] != new[2]:
        yield "step"


Values = Sequence[tuple[str, bytes]]
"""Type code and raw values of elements of some tensors, one after the other."""


def _swept(before: Swept, now: Swept, changed: Sequence[int]) -> tuple[Values, Values]:
    """The elements that were swept of the tensors that changed."""
    chosen = set(changed)
    return [("f", before.of(chosen).words)], [("f", now.of(chosen).words)]


def _picked(before: Sequence[Reading], now: Sequence[Reading]) -> tuple[Values, Values]:
    """The elements of parameters that were picked, of those that changed."""
    pairs = [
        (old[1][old[0].index("param")], new[1][new[0].index("param")])
        for old, new in zip(before, now, strict=True)
        if "param" in old[0] and "param" in new[0]
    ]
    pairs = [(old, new) for old, new in pairs if old != new and old[0] == new[0]]
    return [old for old, _ in pairs], [new for _, new in pairs]


def _body(tracked: Tracked, before: Values, now: Values) -> dict[str, object]:
    """How many of these elements were compared and differ, and some of their values."""
    old, new = _numbers(before), _numbers(now)
    # Bit for bit, since a value that is not a number differs from itself.
    places = [place for place, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    step = max(1, len(places) // MAX_VALUES)
    shown = [(old[place][1], new[place][1]) for place in places[::step][:MAX_VALUES]]
    if not all(isfinite(former) and isfinite(later) for former, later in shown):
        shown = []
    return {
        "optimizer": tracked.index,
        "changed": len(places),
        "compared": len(old),
        "former": [former for former, _ in shown],
        "later": [later for _, later in shown],
    }


def _numbers(values: Values) -> list[tuple[bytes, float]]:
    """Each value as its bytes and as a number."""
    return [(struct.pack(code, number), number) for code, data in values for number in array(code, data)]


def named(hooks: Hooks) -> dict[str, object]:
    """Names of the hooks, and where each is defined."""
    names, paths, lines = zip(*map(where, list(hooks.values())[:MAX_HOOKS]), strict=True)
    return {"hooks": list(names), "paths": list(paths), "lines": list(lines)}


def where(hook: object) -> tuple[str, str, int]:
    """A hook's name, and the file and line of the function that it calls."""
    function = _function_of(hook)
    return (str(getattr(function, "__qualname__", type(hook).__name__))[:120], *place_of(function))


def _function_of(hook: object) -> object:
    """The function that a hook calls: of a partial, of a method, of an object that can be called."""
    while isinstance(hook, functools.partial):
        hook = hook.func
    bare = getattr(hook, "__func__", hook)
    return bare if hasattr(bare, "__code__") else vars(type(bare)).get("__call__", bare)


def since(known: dict[int, int], hooks: Hooks, step: int) -> int:
    """The first step of the one among ``hooks`` that came last; ``known`` remembers that of each."""
    found = {number: known.get(number, step) for number in hooks}
    known.clear()
    known.update(found)
    return max(found.values(), default=step)
