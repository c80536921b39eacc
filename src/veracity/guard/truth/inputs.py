"""A protected loss function as a module whose parameters are the tensors that it is given.

So the check of a module's gradients serves for it as well: an input takes the place of a parameter, and the
gradient that left the function towards it the place of ``.grad``. That gradient is read at the edges of the
graph that lead from the function's own nodes to the input, which are found by their numbers. Nothing is put
into the graph: an alias of an input would change the order in which the program's gradients are added up.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from ..tensors import MAX_DEPTH, is_plain, walk
from .excuses import MAX_NODES, MAX_PLACES, Excuse, text_of
from .uses import TooLargeError

if TYPE_CHECKING:
    import torch
    from torch.autograd.graph import Node

Function = Callable[..., object]
Arguments = tuple[tuple[object, ...], dict[str, object]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input comes from: its name, and the node and place that its gradient goes to.

    ``node`` is None of a leaf, which is then ``leaf``. ``given`` is the input without its graph: to hold on
    to that would keep alive what a backward pass lets go.
    """

    name: str
    given: torch.Tensor
    node: Node | None
    place: int
    leaf: torch.Tensor | None

    def alone(self) -> Source:
        """The same without a hold on the program's graph."""
        return replace(self, node=None, leaf=None)

    def is_target(self, node: Node, place: int) -> bool:
        """Whether an edge to ``node`` at ``place`` leads to this input."""
        if self.leaf is not None:
            return getattr(node, "variable", None) is self.leaf
        return node is self.node and place == self.place


@dataclass(slots=True)
class Edges:
    """What lies in a call between its outputs and one input: edges by their node, and what may be wrong
    on purpose, with whether all of the gradient comes by there.
    """

    into: list[tuple[Node, list[int]]] = field(default_factory=list)
    above: dict[str, bool] = field(default_factory=dict)

    def excuses(self, of: torch.Tensor) -> list[Excuse]:
        """The same as of the one parameter ``of``."""
        mine = frozenset({id(of)})
        return [Excuse(text, mine, mine if whole else frozenset()) for text, whole in self.above.items()]


def without_graph(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Arguments, list[Source]]:
    """The arguments with everything detached that hangs on the program's graph; and the inputs among them.

    Inputs are the floating-point tensors that ask for a gradient, each once.
    """
    named = [*walk(list(args), "input"), *walk(dict(kwargs))]
    bare = {id(one): one.detach() for _, one in named if one.requires_grad}
    arguments = _both(args, kwargs, bare)
    there = {id(one) for _, one in [*walk(list(arguments[0])), *walk(arguments[1])]}
    found: dict[int, Source] = {}
    for name, tensor in named:
        given = bare.get(id(tensor))
        if given is None or id(given) not in there or id(tensor) in found:
            continue
        if is_plain(tensor) and tensor.is_floating_point() and tensor.numel():
            node = tensor.grad_fn
            leaf = tensor if node is None else None
            text = name.replace("input.", "input ", 1)
            found[id(tensor)] = Source(text, given, node, tensor.output_nr, leaf)
    return arguments, list(found.values())


def substituted(value: object, by: Mapping[int, object], depth: int = 0) -> object:
    """``value`` with the tensors whose ids are in ``by`` exchanged; containers of none of them stay."""
    import torch

    if isinstance(value, torch.Tensor) or depth >= MAX_DEPTH:
        return by.get(id(value), value)
    if isinstance(value, MutableMapping):
        fresh = {key: substituted(one, by, depth + 1) for key, one in value.items()}
        changed = {key: one for key, one in fresh.items() if one is not value[key]}
        if not changed:
            return value
        other = copy.copy(value)
        for key, one in changed.items():
            other[key] = one
        return other
    if isinstance(value, (tuple, list)):
        parts: list[Any] = [substituted(one, by, depth + 1) for one in value]
        if all(one is part for one, part in zip(value, parts, strict=True)):
            return value
        # A named tuple takes its parts one by one.
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _both(args: Sequence[object], kwargs: Mapping[str, object], by: Mapping[int, object]) -> Arguments:
    return (
        tuple(substituted(one, by) for one in args),
        {name: substituted(one, by) for name, one in kwargs.items()},
    )


def edges_to(source: Source, outputs: Sequence[torch.Tensor], first: int, last: int) -> Edges:
    """The edges from nodes numbered ``first`` to ``last`` above ``outputs`` that lead to ``source``.

    Raises TooLargeError.
    """
    import torch

    kind = torch.autograd.function.BackwardCFunction
    roots = [one.grad_fn for one in outputs if one.grad_fn is not None]
    graph = _Graph(source, first, last)
    for root in roots:
        graph.look(root)
    edges = Edges(list(graph.into.items()))
    texts: dict[str, set[Node]] = {}
    for node in graph.nodes:
        text = text_of(node) if isinstance(node, kind) and graph.reaches([node]) else ""
        if text and (text in texts or len(texts) < MAX_PLACES):
            texts.setdefault(text, set()).add(node)
    for text, nodes in texts.items():
        edges.above[text] = not graph.reaches([one for one in roots if one in graph.nodes], nodes)
    return edges


class _Graph:
    """The nodes that were made within a call, and those of them that an input's gradient leaves by."""

    def __init__(self, source: Source, first: int, last: int) -> None:
        self._source, self._first, self._last = source, first, last
        self.nodes: dict[Node, list[Node]] = {}
        self.into: dict[Node, list[int]] = {}

    def look(self, root: Node) -> None:
        todo = [root] if self._is_in(root) and root not in self.nodes else []
        while todo:
            node = todo.pop()
            if node in self.nodes:
                continue
            if len(self.nodes) >= MAX_NODES:
                raise TooLargeError
            below = self.nodes[node] = []
            for at, (following, place) in enumerate(node.next_functions):
                if following is None:
                    continue
                if self._source.is_target(following, place):
                    self.into.setdefault(node, []).append(at)
                elif self._is_in(following):
                    below.append(following)
                    todo.append(following)

    def _is_in(self, node: Node) -> bool:
        return self._first <= int(node._sequence_nr()) <= self._last

    def reaches(self, roots: Sequence[Node], without: set[Node] | frozenset[Node] = frozenset()) -> bool:
        """Whether the input can be reached from ``roots`` on a way that avoids some nodes."""
        todo = [root for root in roots if root not in without]
        seen = set(todo)
        while todo:
            node = todo.pop()
            if node in self.into:
                return True
            for following in self.nodes.get(node, ()):
                if following not in seen and following not in without:
                    seen.add(following)
                    todo.append(following)
        return False


def as_module(function: Function, arguments: Arguments, sources: Sequence[Source]) -> torch.nn.Module:
    """A module that calls ``function`` with these arguments, the inputs being its parameters ``x0``, ``x1`` …

    A module that the function is, or is a method of, is a child of it, called ``loss``.
    """
    import torch

    module = _inputs_class()()
    module.__dict__["function"] = function  # a module among the attributes would be a child twice
    module.arguments = arguments
    module.names = {id(source.given): f"x{at}" for at, source in enumerate(sources)}
    owner = function.__self__ if isinstance(function, MethodType) else function
    # Into the tables themselves: a program may be told of modules and parameters that are registered.
    if isinstance(owner, torch.nn.Module):
        module._modules["loss"] = owner
    else:
        module.owner = owner
    for at, source in enumerate(sources):
        module._parameters[f"x{at}"] = torch.nn.Parameter(source.given)
    return cast("torch.nn.Module", module)


def widened(module: torch.nn.Module) -> None:
    """Give the function float32 in the place of all tensors of half precision from now on."""
    import torch

    inputs = cast("Any", module)
    args, kwargs = inputs.arguments
    everything = [tensor for _, tensor in [*walk(list(args)), *walk(kwargs)]]
    wide = {id(one): one.float() for one in everything if one.dtype in (torch.bfloat16, torch.float16)}
    for name, parameter in list(module._parameters.items()):
        if parameter is not None:
            module._parameters[name] = torch.nn.Parameter(parameter.detach().float())
    inputs.names = {id(wide[one]) if one in wide else one: name for one, name in inputs.names.items()}
    inputs.arguments = _both(args, kwargs, wide)


@functools.cache
def _inputs_class() -> Callable[[], Any]:
    import torch

    class Inputs(torch.nn.Module):
        """See ``as_module``."""

        function: Function
        arguments: Arguments
        names: Mapping[int, str]
        owner: object = None

        def forward(self) -> object:
            """Call the function, each input as the program gave it: no leaf, and no Parameter."""
            args, kwargs = self.arguments
            given = self._parameters
            by = {one: cast("Any", given[name]).view_as(given[name]) for one, name in self.names.items()}
            args, kwargs = _both(args, kwargs, by)
            with _put_back(self.owner):
                return self.function(*args, **kwargs)

    return Inputs


@contextlib.contextmanager
def _put_back(owner: object) -> Iterator[None]:
    """Rebind what a call rebinds among the attributes of the object that it belongs to."""
    kept = None if isinstance(owner, (ModuleType, type)) else getattr(owner, "__dict__", None)
    before = dict(kept) if isinstance(kept, dict) else {}
    try:
        yield
    finally:
        if isinstance(kept, dict) and (
            len(kept) != len(before)
            or any(kept.get(name, before) is not value for name, value in before.items())
        ):
            kept.clear()
            kept.update(before)
