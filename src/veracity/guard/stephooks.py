"""Hooks of the program before an optimizer's step: do they go on leaving gradients alone?

What such hooks do to gradients shows at the elements that are read around them, and in torch's count of
writes. Nothing is judged here. What they do in their first calls is their habit and not told; of hooks that
wrote nothing in them, each later change is shipped, with norms that tell a clipping from a factor.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING

from .held import where
from .norms import own_norm
from .relation import Relation, relation_of

if TYPE_CHECKING:
    import torch

    from .gradients import ByHooks
    from .hooks import Hooks
    from .session import Session
    from .tracked import Tracked

HABIT_CALLS = 10
EVERY = 8
KEPT_NORMS = 8
MAX_KEPT = 256
MAX_RECORDS = 64


@dataclass(slots=True)
class _Habit:
    """Of the same hooks at the steps of one optimizer. ``norms`` are some that they left as they were."""

    calls: int = 0
    writes: bool = False
    records: int = 0
    norms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_NORMS))


class StepHookHabits:
    """What hooks before steps have done so far, by optimizer and hooks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._habits: OrderedDict[tuple[int, ...], _Habit] = OrderedDict()

    def ran(self, tracked: Tracked, hooks: Hooks) -> None:
        """These hooks have run before a step of this optimizer, which is about to be made."""
        did = tracked.trail.by_hooks
        if not hooks or did is None:
            return
        habit = self._habits.setdefault((tracked.index, *hooks), _Habit())
        if len(self._habits) > MAX_KEPT:
            self._habits.popitem(last=False)
        habit.calls += 1
        if habit.writes:
            return
        if did.changed or did.wrote:
            if habit.calls <= HABIT_CALLS:
                habit.writes = True
            elif did.changed and habit.records < MAX_RECORDS:
                habit.records += 1
                self._ship(tracked, hooks, habit, did)
        elif habit.calls <= HABIT_CALLS or habit.calls % EVERY == 0:
            norm = _norm(tracked)
            if norm is not None:
                habit.norms.append(norm)

    def _ship(self, tracked: Tracked, hooks: Hooks, habit: _Habit, did: ByHooks) -> None:
        relation = _relation(did)
        if relation is None:
            return
        after = _norm(tracked) if relation.ratio else None
        places = [where(hook) for hook in hooks.values()]
        _, path, line = next((place for place in places if place[1]), ("", "", 0))
        self._session.emit(
            "hook",
            {
                "hook": "step",
                "name": " or ".join(name for name, _, _ in places)[:200],
                "path": path,
                "line": line,
                "step": tracked.steps,
                "steps": habit.calls - 1,
                "relation": relation.kind,
                "ratio": relation.ratio,
                "norm": after / abs(relation.ratio) if after is not None else relation.norm,
                "share": relation.share,
                "quiet": max(habit.norms, default=0.0),
                "usual": median(habit.norms) if habit.norms else 0.0,
            },
        )


def _norm(tracked: Tracked) -> float | None:
    """The norm of all gradients as they are now."""
    gradients = [one.grad for one in tracked.parameters if one.grad is not None]
    norm = own_norm(gradients, 2.0)
    value = norm() if norm is not None else 0.0
    return value if value > 0.0 and isfinite(value) else None


def _relation(did: ByHooks) -> Relation | None:
    """What the hooks made of the elements that were read; ``clamped`` where each tensor has its own bound.

    Tensors that became zero as a whole are frozen, or their batch is passed over: ``cleared``.
    """
    everything = b"".join(was for was, _ in did.changed), b"".join(now for _, now in did.changed)
    alone = not _any(did.same)
    pieces = [everything] if alone and _factor(*everything) else did.changed
    found = [one for one in (_of_one(was, now) for was, now in pieces) if one is not None]
    worst = max(found, key=lambda one: one.weight, default=None)
    if worst is not None and worst.kind == "scaled" and not (alone and len(pieces) == 1):
        smaller = all(one.ratio < 1.0 for one in found if one.kind == "scaled")
        return replace(worst, kind="clamped" if smaller else "other", ratio=0.0)
    return worst


def _factor(was: bytes, now: bytes) -> bool:
    relation = relation_of(_tensor(was), _tensor(now))
    return relation is not None and relation.kind == "scaled"


def _of_one(was: bytes, now: bytes) -> Relation | None:
    return relation_of(_tensor(was), _tensor(now)) if _any(now) else Relation("cleared")


def _any(words: bytes) -> bool:
    return any(memoryview(words).cast("f"))


def _tensor(words: bytes) -> torch.Tensor:
    import torch

    return torch.tensor(memoryview(words).cast("f").tolist(), dtype=torch.float32, device="cpu")
