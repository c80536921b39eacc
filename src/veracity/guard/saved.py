"""What autograd keeps for a backward pass: the targets of losses, the inputs of first layers.

Read by walking from the loss' node before the backward pass begins. A tensor that was packed by hooks (an
activation checkpoint would compute its block again) is left alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    import torch

    Node: TypeAlias = torch.autograd.graph.Node

MAX_WAY = 256

Place: TypeAlias = tuple[tuple[int, ...], str, str]
"""Where a tensor is kept: which way to go from the loss' node, the class of the node there, the attribute."""

_TARGET = ("_raw_saved_target",)
_SELF = ("_raw_saved_self",)
_INPUT = ("_raw_saved_input",)
_INDICES = ("_raw_saved_indices",)
LOSSES = {
    "NllLossBackward0": _TARGET,
    "NllLoss2DBackward0": _TARGET,
    "MseLossBackward0": (*_TARGET, *_SELF),
    "SmoothL1LossBackward0": (*_TARGET, *_SELF),
    "HuberLossBackward0": (*_TARGET, *_SELF),
    "BinaryCrossEntropyBackward0": _TARGET,
    "BinaryCrossEntropyWithLogitsBackward0": _TARGET,
    "KlDivBackward0": _TARGET,
    "SoftMarginLossBackward0": _TARGET,
    "MultiMarginLossBackward0": _TARGET,
    "MultilabelMarginLossBackward0": _TARGET,
}
_OTHERS = {
    "MulBackward0": (*_SELF, "_raw_saved_other"),
    "GatherBackward0": ("_raw_saved_index",),
    "AddmmBackward0": ("_raw_saved_mat1",),
    "MmBackward0": _SELF,
    "BmmBackward0": _SELF,
    "LinearBackward0": _INPUT,
    "ConvolutionBackward0": _INPUT,
    "CudnnConvolutionBackward0": _INPUT,
    "EmbeddingBackward0": _INDICES,
    "EmbeddingBagBackward0": _INDICES,
    "NativeLayerNormBackward0": _INPUT,
    "NativeBatchNormBackward0": _INPUT,
    "CudnnBatchNormBackward0": _INPUT,
    "MkldnnRnnLayerBackward0": _INPUT,
    "CudnnRnnBackward0": _INPUT,
}
_ATTRIBUTES = LOSSES | _OTHERS


def can_see() -> bool:
    """Whether this torch tells if hooks packed a tensor; without that, no look is safe."""
    import torch

    return hasattr(getattr(torch._C._autograd, "SavedTensor", None), "unpack_hook")


def at(root: Node, place: Place) -> torch.Tensor | None:
    """The tensor kept at ``place``, None when the graph is another one now."""
    way, kind, attribute = place
    node: Node | None = root
    for turn in way:
        following = node.next_functions if node is not None else ()
        if turn >= len(following):
            return None
        node = following[turn][0]
    return kept(node, attribute) if type(node).__name__ == kind else None


def walk(root: Node, limit: int) -> Iterator[tuple[Place, torch.Tensor] | None]:
    """Places and what they keep, those nearest to the loss first; a last None when all were seen."""
    waiting: deque[tuple[Node, tuple[int, ...]]] = deque([(root, ())])
    # Kept as they are: a node that nobody holds is another object at the next visit.
    seen = {root}
    for _ in range(limit):
        if not waiting:
            yield None
            return
        node, way = waiting.popleft()
        kind = type(node).__name__
        for attribute in _ATTRIBUTES.get(kind, ()):
            found = kept(node, attribute)
            if found is not None:
                yield (way, kind, attribute), found
        if len(way) >= MAX_WAY:
            continue
        for turn, (following, _) in enumerate(node.next_functions):
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append((following, (*way, turn)))


def kept(node: Node | None, attribute: str) -> torch.Tensor | None:
    """What a node keeps there; None where nothing is, hooks packed it, or it has been freed."""
    try:
        raw = getattr(node, attribute, None)
        if raw is None or raw.unpack_hook is not None:
            return None
        return cast("torch.Tensor | None", raw.data)
    except RuntimeError:
        return None  # an earlier backward pass has freed it
