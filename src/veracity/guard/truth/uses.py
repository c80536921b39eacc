"""Who uses a parameter: only the forward passes that were captured, or the rest of the program as well?

A penalty on the weights, or a head that multiplies with the embedding's matrix, adds to a parameter's
gradient what no repetition of its module can show. So does a tensor that a module keeps beside what it
returns, and the derivative of a gradient. autograd numbers the nodes of its graph in the order in which they
were made, so a node that was made outside the captured calls has a number outside theirs; whatever such a
node leads to must be what a call returned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Span:
    """The nodes of one captured call: numbers of the first, the last, and those that what it returned ends in."""

    first: int
    last: int
    ends: frozenset[int] = frozenset()


def used_outside(
    roots: Sequence[torch.Tensor], wanted: Collection[int], calls: Sequence[Span]
) -> set[int]:
    """Ids of those parameters, among ``wanted``, that the backward pass reaches by another way than outputs.

    ``roots`` are the tensors that it begins from. Raises TooLargeError.
    """
    todo = [(root.grad_fn, False) for root in roots if root.grad_fn is not None]
    seen: set[tuple[object, bool]] = set(todo)
    found: set[int] = set()
    while todo:
        node, leaked = todo.pop()
        span = _span_of(node, calls)
        for following, _ in node.next_functions:
            if following is None:
                continue
            variable = getattr(following, "variable", None)
            if variable is not None:
                if (leaked or span is None) and id(variable) in wanted:
                    found.add(id(variable))
                continue
            into = _span_of(following, calls)
            entered = into is not None and into is not span
            beside = entered and following._sequence_nr() not in into.ends
            way = following, into is not None and (beside or (leaked and not entered))
            if way not in seen:
                if len(seen) >= MAX_NODES:
                    raise TooLargeError
                seen.add(way)
                todo.append(way)
    return found


def _span_of(node: torch.autograd.graph.Node, calls: Sequence[Span]) -> Span | None:
    number = int(node._sequence_nr())
    return next((span for span in calls if span.first <= number <= span.last), None)
