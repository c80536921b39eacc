"""One call of a protected loss function, kept with what it returned and the gradients on both its sides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from ..protection import Function, Loss
from .calls import MAX_BYTES, MAX_COPIED, MAX_OUTPUTS, Call, Output, tensors_in
from .circumstances import Autocast, Generators
from .fitness import collectives_so_far, compiled_around
from .inputs import Edges, Source, as_module, edges_to, without_graph
from .keeping import Marks, marks_of
from .muted import forward_hooks
from .uses import Captured, TooLargeError, node_number

if TYPE_CHECKING:
    import torch

SITE = "loss truth"
MAX_INPUT = 1 << 28


@dataclass(slots=True)
class Kept:
    """A call, the input that is to be moved, and the gradient that left the call towards it.

    ``first`` is the number of the last node before it, ``marks`` are those of what the function
    keeps and ``backwards`` the number of backward passes, both from before it. A gradient of None is zero.
    """

    call: Call
    sources: list[Source]
    first: int
    at: int = 0
    edges: Edges = field(default_factory=Edges)
    given: tuple[Function, Sequence[object], Mapping[str, object]] | None = None
    marks: Marks = field(default_factory=list)
    backwards: int = 0
    gradient: torch.Tensor | None = None
    done: bool = False

    @property
    def source(self) -> Source:
        """The input that is to be moved."""
        return self.sources[self.at]

    @property
    def parameter(self) -> torch.Tensor:
        """It again, as a parameter of the module that repeats the call."""
        return self.call.module.get_parameter(f"x{self.at}")


class LossCapture:
    """Looks at the calls of one loss for the length of one step, and keeps that numbered ``wanted``."""

    def __init__(self, loss: Loss, wanted: int, draw: int, run: Callable[..., object]) -> None:
        self.loss = loss
        self.kept: Kept | None = None
        self.failed = ""
        self.seen = self.backwards = 0
        self.seconds = 0.0
        self.counts = self.inside = self.aside = self.over = False
        self._wanted, self._draw, self._run = wanted, draw, run
        self._opened: Kept | None = None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        module = loss.module() if loss.module is not None else None
        if module is None:
            loss.watcher = self
        else:
            self._watch(module)

    def end(self) -> None:
        """Calls are no longer looked at."""
        if self.loss.watcher is self:
            self.loss.watcher = None
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def drop(self) -> None:
        """Let go of what the call was given."""
        if self.kept is not None:
            self.kept.done = True
        self.kept = self._opened = None

    def called(self, function: Function, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """Call a function; its result is handed back as it is."""
        opened = self._run(SITE, self._before, function, args, kwargs)
        result = function(*args, **kwargs)
        if opened is not None:
            self._run(SITE, self._after, opened, result)
        return result

    def _watch(self, module: torch.nn.Module) -> None:
        import torch

        # Through the shield, and without returning anything: a hook's result would replace the output.
        def before(of: Function, args: object, kwargs: object) -> None:
            self._opened = None
            self._run(SITE, self._open, of, args, kwargs)

        def after(of: object, args: object, kwargs: object, result: object) -> None:
            opened, self._opened = self._opened, None
            if opened is not None:
                self._run(SITE, self._after, opened, result)

        for hook in (before, after):
            # torch.compile leaves functions with this mark alone.
            vars(hook)["_torchdynamo_disable"] = True
        # As torch has them: the guard does not watch its own hooks.
        first = inspect.unwrap(torch.nn.Module.register_forward_pre_hook)
        last = inspect.unwrap(torch.nn.Module.register_forward_hook)
        self._handles = [
            first(module, before, prepend=True, with_kwargs=True),
            last(module, after, with_kwargs=True),
        ]

    def _open(self, of: Function, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        self._opened = self._before(of, args, kwargs)

    def _before(
        self, function: Function, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> Kept | None:
        import torch

        # Within a backward pass it is called again only for what a checkpoint did not keep.
        if self.aside or self.inside or not torch.is_grad_enabled():
            return None
        self.seen += 1
        if self.over or self.kept is not None or self.failed or self.seen <= self._wanted:
            return None
        started = perf_counter()
        try:
            self.failed, opened = self._opening(function, args, kwargs)
        except Exception as error:
            self.failed, opened = f"its arguments cannot be kept: {type(error).__name__}: {error}"[:300], None
        self.seconds += perf_counter() - started
        return opened

    def _opening(
        self, function: Function, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[str, Kept | None]:
        """Why the call cannot be kept, or the call."""
        if compiled_around() or _is_compiled(function):
            return "the loss function is compiled, or called within compiled code", None
        arguments, sources = without_graph(args, kwargs)
        if not sources:
            return "the loss function was given no tensor with a gradient that could be moved", None
        if sum(one.given.numel() * one.given.element_size() for one in sources) > MAX_INPUT:
            return "the loss function's inputs are too large to be copied", None
        module = as_module(function, arguments, sources)
        buffers = dict(module.named_buffers())
        if sum(buffer.numel() * buffer.element_size() for buffer in buffers.values()) > MAX_BYTES:
            return "the loss function's buffers are too large to be copied", None
        call = Call(
            module,
            (),
            {},
            tuple((tensor, tensor._version) for tensor in tensors_in(arguments)),
            Generators.read(),
            Autocast.read(),
            {name: buffer.detach().clone() for name, buffer in buffers.items()},
            module.training,
            collectives_so_far(),
            forward_hooks(module),
            Captured(0, 0, frozenset()),
        )
        kept = Kept(call, sources, node_number(), self._draw % len(sources))
        kept.given, kept.backwards = (function, args, kwargs), self.backwards
        kept.marks = marks_of(*kept.given)
        return "", kept

    def _after(self, kept: Kept, result: object) -> None:
        started = perf_counter()
        try:
            self.failed = self._closing(kept, list(tensors_in(result)))
        except Exception as error:
            self.failed = f"its result cannot be kept: {type(error).__name__}: {error}"[:300]
        self.seconds += perf_counter() - started

    def _closing(self, kept: Kept, results: Sequence[torch.Tensor]) -> str:
        """Why the call cannot be kept; else it is, and what comes back to it is waited for."""
        import torch

        last = node_number()
        # Both would be done again by a repetition, and could not be undone.
        if self.backwards != kept.backwards:
            self.loss.off = True
            return "the loss function runs a backward pass itself"
        given, kept.given = kept.given, None
        if given is None or marks_of(*given) != kept.marks:
            self.loss.off = True
            return "the loss function keeps something from call to call"
        why = self._unfit(kept, results)
        if why:
            return why
        try:
            kept.edges = edges_to(kept.source, results, kept.first, last)
        except TooLargeError:
            return "the loss function's graph is too large"
        # From here on no node is held on to but by hooks that lie on it.
        into, kept.edges.into = kept.edges.into, []
        kept.sources = [one.alone() for one in kept.sources]
        for node, places in into:
            node.register_hook(self._passed(kept, places))
        hook = inspect.unwrap(torch.Tensor.register_hook)
        for place, tensor in enumerate(results):
            if tensor.requires_grad:
                small = tensor.numel() <= MAX_COPIED
                bare = tensor.detach().clone() if small else tensor.detach()
                output = Output(place, bare, bare._version)
                kept.call.outputs.append(output)
                hook(tensor, self._came(kept, output))
        self.kept = kept
        return ""

    @staticmethod
    def _unfit(kept: Kept, results: Sequence[torch.Tensor]) -> str:
        call = kept.call
        if call.collectives is None or collectives_so_far() != call.collectives:
            return "the loss function has collectives, which other ranks would have to repeat as well"
        if len(results) > MAX_OUTPUTS:
            return f"the loss function returns more than {MAX_OUTPUTS} tensors"
        size = sum(one.numel() * one.element_size() for one in results)
        if size > MAX_BYTES:
            return "the loss function's outputs are too large to be kept"
        given = {(id(one.node), one.place) for one in kept.sources if one.node is not None}
        leaves = {id(one.leaf) for one in kept.sources if one.leaf is not None}
        if any(id(one) in leaves or (id(one.grad_fn), one.output_nr) in given for one in results):
            return "the loss function returns what it was given"
        return "" if any(one.requires_grad for one in results) else "its result has no gradient"

    def _came(self, kept: Kept, output: Output) -> Callable[[torch.Tensor], None]:
        def add(gradient: torch.Tensor) -> None:
            was = output.cotangent
            output.cotangent = gradient.detach().clone() if was is None else was + gradient.detach()

        def came(gradient: torch.Tensor) -> None:
            if self.counts and not kept.done:
                self._run(SITE, add, gradient)

        return came

    def _passed(self, kept: Kept, places: Sequence[int]) -> Callable[[object, object], None]:
        def add(gone: Sequence[torch.Tensor | None]) -> None:
            like = kept.source.given
            for gradient in (gone[place] for place in places):
                if gradient is not None:
                    bare = gradient.detach()
                    # As autograd does it after this hook: gradients of what was broadcast are summed.
                    bare = bare if bare.shape == like.shape else bare.sum_to_size(like.shape)
                    bare = bare.to(like.dtype)
                    kept.gradient = bare.clone() if kept.gradient is None else kept.gradient + bare

        def passed(gone: object, came: object) -> None:
            if self.counts and not kept.done and isinstance(gone, tuple):
                self._run(SITE, add, gone)

        return passed


def _is_compiled(function: Function) -> bool:
    return hasattr(function, "_torchdynamo_orig_callable") or hasattr(function, "_orig_mod")
