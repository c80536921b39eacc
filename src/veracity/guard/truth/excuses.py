"""Code of the program that may replace derivatives: its autograd functions, and what its hooks put in.

Straight-through estimators and gradient reversal are such code, and wrong on purpose. What they explain is
the gradient of those tensors alone that lie below them in the graph; and where all of a tensor's gradient
came through one of them and was right, it did not replace anything then.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..declare import place_of

if TYPE_CHECKING:
    import torch
    from torch.autograd.graph import Node

MAX_PLACES = 8
MAX_NODES = 50_000
_HIDING = {
    "CompiledFunctionBackward": "compiled code",
    "CheckpointFunctionBackward": "a checkpointed part of the forward pass",
}


@dataclass(frozen=True, slots=True)
class Excuse:
    """One such place; ``below`` and ``through`` are ids of leaves: all of these tensors' gradient came by."""

    text: str
    below: frozenset[int]
    through: frozenset[int]


@dataclass(frozen=True, slots=True)
class MadeByHook:
    """Numbers of the first and last node that a hook made in one call."""

    place: str
    first: int
    last: int


@dataclass(slots=True)
class _Graph:
    """The nodes above a module's outputs, those that excuse something by its text."""

    roots: list[Node]
    found: dict[str, set[Node]] = field(default_factory=dict)


def of_hook(place: str) -> str:
    """What a hook on a forward pass, at this place in the program, is called."""
    return f"hook on the forward pass at {place}"


def excuses_above(outputs: Iterable[torch.Tensor], made: Sequence[MadeByHook]) -> list[Excuse]:
    """What may replace derivatives in the graph of ``outputs``, where ``made`` is what hooks put into it."""
    graph = _graph([output.grad_fn for output in outputs if output.grad_fn is not None], made)
    excuses = []
    for text, nodes in graph.found.items():
        below = _leaves(nodes, ())
        excuses.append(Excuse(text, below, below - _leaves(graph.roots, nodes)))
    return excuses


def _graph(roots: list[Node], made: Sequence[MadeByHook]) -> _Graph:
    import torch

    graph = _Graph(roots)
    kind = torch.autograd.function.BackwardCFunction
    seen: set[Node] = set(roots)
    todo = list(roots)
    while todo and len(seen) < MAX_NODES:
        node = todo.pop()
        texts = [text_of(node)] if isinstance(node, kind) else []
        if made:
            number = int(node._sequence_nr())
            texts += [of_hook(one.place) for one in made if one.first <= number <= one.last]
        for text in texts:
            if text and (text in graph.found or len(graph.found) < MAX_PLACES):
                graph.found.setdefault(text, set()).add(node)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return graph


def text_of(node: Node) -> str:
    """What an autograd function is and where it stands; empty for torch's own that hide none."""
    owner = node._forward_cls
    path, line = place_of(owner.backward)
    if not _of_torch(path):
        return f"autograd function {owner.__qualname__} at {path}:{line}"
    hiding = _HIDING.get(type(node).__name__, "")
    inside = _functions_of_the_program() if hiding else []
    return f"autograd function {inside[0]}, if it is within {hiding}" if inside else ""


def _functions_of_the_program() -> list[str]:
    """All autograd functions that were defined outside torch."""
    import torch

    found: list[str] = []
    todo: list[type] = [torch.autograd.Function]
    while todo:
        kinds: list[type] = todo.pop().__subclasses__()
        for kind in kinds:
            todo.append(kind)
            path, line = place_of(getattr(kind, "backward", None))
            if path and not _of_torch(path):
                found.append(f"{kind.__qualname__} at {path}:{line}")
    return found


def _leaves(roots: Iterable[Node], without: Collection[Node]) -> frozenset[int]:
    """Ids of the leaves that lie below ``roots``, on paths that avoid ``without``."""
    todo = [root for root in roots if root not in without]
    seen: set[Node] = set(todo)
    found: set[int] = set()
    while todo and len(seen) < MAX_NODES:
        node = todo.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.add(id(variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen and following not in without:
                seen.add(following)
                todo.append(following)
    return frozenset(found)


def _of_torch(path: str) -> bool:
    import torch

    return path.startswith(os.path.dirname(torch.__file__) + os.sep)
