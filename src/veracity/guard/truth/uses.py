"""Who uses a parameter: only the forward passes that were captured, or the rest of the program as well?

A penalty on the weights, or a head that multiplies with the embedding's matrix, adds to a parameter's
gradient what no repetition of its module can show. autograd numbers the nodes of its graph in the order in
which they were made, so a node that was made outside the captured calls has a number outside theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        node = torch.zeros(1, requires_grad=True).view(1).grad_fn
    return int(node._sequence_nr()) if node is not None else -1


def used_outside(
    roots: Sequence[torch.Tensor], wanted: Collection[int], calls: Sequence[tuple[int, int]]
) -> set[int]:
    """Ids of those parameters, among ``wanted``, that a node outside the calls' ranges of numbers leads to.

    ``roots`` are the tensors that a backward pass begins from. Raises TooLargeError.
    """
    todo = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen: set[object] = set(todo)
    found: set[int] = set()
    while todo:
        node = todo.pop()
        inside: bool | None = None
        for following, _ in node.next_functions:
            if following is None:
                continue
            variable = getattr(following, "variable", None)
            if variable is not None and id(variable) in wanted and id(variable) not in found:
                if inside is None:
                    number = int(node._sequence_nr())
                    inside = any(first <= number <= last for first, last in calls)
                if not inside:
                    found.add(id(variable))
            if following not in seen:
                if len(seen) >= MAX_NODES:
                    raise TooLargeError
                seen.add(following)
                todo.append(following)
    return found
