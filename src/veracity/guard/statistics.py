"""Running statistics derived again: from those before a forward pass and from the batch that it saw.

Autograd keeps a batch's mean and spread at the node of a batch normalisation until the backward pass. With
them, its momentum and what the running statistics were when the backward pass before began, what they must be
now follows, and shows every write in between that torch does not count (``.data``, NumPy, other memory).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..core.sample import keyed_order
from .saved import can_see, kept
from .truth.uses import node_number

if TYPE_CHECKING:
    import torch

    from .saved import Node

    Norm: TypeAlias = torch.nn.modules.batchnorm._BatchNorm

FOLLOWED = 4
YOUNG = 16
"""So many times they are derived whatever else is looked at: what a program does itself shows early."""
EVERY = 4
"""Of so many backward passes one is taken for it by the key, besides those that are looked at closely."""
MAX_NODES = 4096
MAX_TOLD = 8
_NODES = ("NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0")
_EPSILONS = ("_saved_eps", "_saved_epsilon")


@dataclass(frozen=True, slots=True)
class _Before:
    """A normalisation when a backward pass began: counts of the writes into its buffers, and their copies."""

    identity: tuple[int, int]
    versions: tuple[int, int]
    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor


class Derived:
    """Some normalisations at a time, by turns, of those that compute by torch's own forward."""

    def __init__(self, key: bytes, norms: Sequence[tuple[str, weakref.ref[Norm]]]) -> None:
        self._key = key + b"statistics"
        self._norms = [(name, ref) for name, ref in norms if _is_followed(ref())] if can_see() else []
        self._turn = 0
        self._due = YOUNG
        self._passes = 0
        self._before: dict[int, _Before] = {}
        self._sequence = -1
        self._followed = 0
        self._odd: list[list[object]] = []

    def resumed(self) -> None:
        """What came before was not followed. The look that begins is a short one: one of its steps counts."""
        self._before, self._followed, self._odd = {}, 0, []
        self._due = max(self._due, 1)

    def backward(self, roots: Sequence[object], *, compare: bool) -> None:
        """A backward pass from ``roots`` begins."""
        import torch

        if not self._norms:
            return
        with torch.no_grad():
            self._passes += 1
            if self._before and (compare or self._due or self._is_drawn()):
                self._compare(roots)
                self._turn += 1
                self._due = max(self._due - 1, 0)
            self._before = {place: before for place in self._chosen() if (before := self._now(place))}
        self._sequence = node_number()

    def taken(self) -> tuple[int, list[list[object]]]:
        """How many were derived since the last call, and which are otherwise: ``[name, what, off, size]``."""
        followed, odd = self._followed, self._odd
        self._followed, self._odd = 0, []
        return followed, odd[:MAX_TOLD]

    def _is_drawn(self) -> bool:
        cycle, place = divmod(self._passes, EVERY)
        return keyed_order(self._key + b"pass", cycle, EVERY)[0] == place

    def _chosen(self) -> tuple[int, ...]:
        total = len(self._norms)
        cycle, part = divmod(self._turn, -(-total // FOLLOWED))
        return keyed_order(self._key, cycle, total)[part * FOLLOWED :][:FOLLOWED]

    def _now(self, place: int) -> _Before | None:
        norm = self._norms[place][1]()
        if norm is None or not norm.training:
            return None
        mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
        if mean is None or variance is None or count is None or mean.is_inference():
            return None
        identity = id(mean), id(variance)
        versions = mean._version, variance._version
        return _Before(identity, versions, mean.clone(), variance.clone(), count.clone())

    def _compare(self, roots: Sequence[object]) -> None:
        """Derive those that made one forward pass since, the one that is in this graph."""
        wanted: dict[int, int] = {}
        for place in self._before:
            norm = self._norms[place][1]()
            mean = norm.running_mean if norm is not None else None
            if mean is not None:
                wanted[mean.data_ptr()] = place
        found: dict[int, list[Node]] = {}
        for node in _nodes(roots):
            mean = kept(node, "_raw_saved_running_mean")
            place = wanted.get(mean.data_ptr(), -1) if mean is not None else -1
            if place >= 0:
                found.setdefault(place, []).append(node)
        for place, nodes in found.items():
            # One of before the last look belongs to another pass than the one that was made since.
            if len(nodes) == 1 and nodes[0]._sequence_nr() > self._sequence:
                self._derive(place, nodes[0])

    def _derive(self, place: int, node: Node) -> None:
        name, ref = self._norms[place]
        norm, before, now = ref(), self._before[place], self._now(place)
        if norm is None or now is None or (now.identity, now.versions) != (before.identity, before.versions):
            return
        if int(now.count) - int(before.count) != 1:
            return
        batch = _batch(node)
        if batch is None:
            return
        share = norm.momentum if norm.momentum is not None else 1.0 / int(now.count)
        self._followed += 1
        pairs = (before.mean, now.mean, batch[0]), (before.variance, now.variance, batch[1])
        for what, (old, new, of_batch) in zip(("running_mean", "running_var"), pairs, strict=True):
            due = old.double() * (1 - share) + of_batch.double() * share
            off = float((new.double() - due).abs().max())
            size = max(float(one.abs().max()) for one in (old, new, of_batch))
            if off > 0 and len(self._odd) < MAX_TOLD:
                self._odd.append([name, what, off, size])


def _is_followed(norm: Norm | None) -> bool:
    """Whether its forward pass is torch's own, in a precision that leaves nothing to rounding."""
    import torch

    own = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    if norm is None or type(norm) not in own or norm.running_mean is None:
        return False
    return bool(norm.running_mean.dtype == torch.float32)


def _nodes(roots: Sequence[object]) -> Iterator[Node]:
    """The normalisations' nodes in the graph, of so many nodes as are looked at."""
    waiting = [node for root in roots if (node := getattr(root, "grad_fn", None)) is not None]
    seen = set(waiting)
    while waiting and len(seen) < MAX_NODES:
        node = waiting.pop()
        if type(node).__name__ in _NODES:
            yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def _batch(node: Node) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Mean and unbiased variance of the batch that a node has seen; None where they cannot be read."""
    taken = kept(node, "_raw_saved_input")
    mean, spread = kept(node, "_raw_saved_result1"), kept(node, "_raw_saved_result2")
    epsilon = next((value for name in _EPSILONS if (value := getattr(node, name, None)) is not None), None)
    if taken is None or mean is None or spread is None or epsilon is None or mean.numel() == 0:
        return None
    number = taken.numel() // mean.numel()
    if number < 2:
        return None
    return mean, (spread.double() ** -2 - epsilon) * number / (number - 1)
