"""Who uses a parameter: only the forward passes that were captured, or the rest of the program as well?

A penalty on the weights, or a head that multiplies with the embedding's matrix, adds to a parameter's
gradient what no repetition of its module can show. autograd numbers the nodes of its graph in the order in
which they were made, so a node that was made outside the captured calls has a number outside theirs. The same
goes for what a module computes within and does not return (a feature that a hook keeps for another loss).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_NODES = 50_000


class TooLargeError(Exception):
    """The graph has more nodes than are looked at."""


def node_number() -> int:
    """The number of a node made now, in this thread."""
    import torch

    with torch.enable_grad():
        node = torch.zeros(1, requires_grad=True, device="cpu").view(1).grad_fn
    return int(node._sequence_nr()) if node is not None else -1


@dataclass(frozen=True, slots=True)
class Captured:
    """Numbers of the first and last node of a captured call, and which of its nodes' results it returned."""

    first: int
    last: int
    returned: frozenset[tuple[int, int]]


@dataclass(slots=True)
class Uses:
    """What the rest of the program uses: ids of parameters, and whether a result that was not returned."""

    parameters: set[int] = field(default_factory=set)
    inner: bool = False


def used_outside(roots: Sequence[torch.Tensor], wanted: Collection[int], calls: Sequence[Captured]) -> Uses:
    """Which of the parameters ``wanted``, and whether any inner result, a node outside the calls leads to.

    ``roots`` are the tensors that a backward pass begins from. Raises TooLargeError.
    """
    uses = Uses()
    todo = []
    seen: set[object] = set()
    for root in roots:
        if root.grad_fn is not None and root.grad_fn not in seen:
            call = _call_of(root.grad_fn, calls)
            uses.inner |= _leaks(root.grad_fn, root.output_nr, None, call)
            seen.add(root.grad_fn)
            todo.append((root.grad_fn, call))
    while todo:
        node, call = todo.pop()
        for following, place in node.next_functions:
            if following is None:
                continue
            variable = getattr(following, "variable", None)
            if variable is not None:
                if call is None and id(variable) in wanted:
                    uses.parameters.add(id(variable))
                continue
            its = _call_of(following, calls)
            uses.inner |= _leaks(following, place, call, its)
            if following not in seen:
                if len(seen) >= MAX_NODES:
                    raise TooLargeError
                seen.add(following)
                todo.append((following, its))
    return uses


def _call_of(node: torch.autograd.graph.Node, calls: Sequence[Captured]) -> Captured | None:
    number = int(node._sequence_nr())
    return next((call for call in calls if call.first <= number <= call.last), None)


def _leaks(
    node: torch.autograd.graph.Node, place: int, user: Captured | None, maker: Captured | None
) -> bool:
    """Whether a result made in one call and not returned by it is used elsewhere."""
    if maker is None or maker is user:
        return False
    return (int(node._sequence_nr()), place) not in maker.returned
