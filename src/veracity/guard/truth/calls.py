"""Forward passes of the checked modules, captured whole: arguments, circumstances, outputs, what came back.

Cotangents are the gradients that the rest of the program hands to a module's outputs in its backward pass.
With them the check need not know the loss: a parameter's gradient must be the derivative of the sum over
outputs of cotangent times output, which is the loss itself, times its scale, where a module returns it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, cast

from .. import programhooks
from .circumstances import Autocast, Generators
from .excuses import Excuse, MadeByHook, excuses_above
from .fitness import collectives_so_far, compiled_around
from .muted import ForwardHook, forward_hooks
from .uses import Captured, node_number

if TYPE_CHECKING:
    import torch

MAX_CALLS = 16
MAX_OUTPUTS = 64
MAX_DEPTH = 4
MAX_BYTES = 1 << 26
MAX_MADE = 4096
# Losses are returned and then scaled in place; a copy of so few elements costs nothing.
MAX_COPIED = 64


@dataclass(slots=True)
class Output:
    """One tensor among what a call returned. ``value`` is detached; ``cotangent`` comes with the backward."""

    place: int
    value: torch.Tensor
    version: int
    cotangent: torch.Tensor | None = None


@dataclass(slots=True)
class Call:
    """One forward pass of a module in training; ``nodes`` are autograd's that were made in it."""

    module: torch.nn.Module
    args: tuple[object, ...]
    kwargs: dict[str, object]
    versions: tuple[tuple[torch.Tensor, int], ...]
    generators: Generators
    autocasts: tuple[Autocast, ...]
    buffers: dict[str, torch.Tensor]
    training: bool
    collectives: tuple[int, ...] | None
    hooks: list[ForwardHook]
    nodes: Captured
    outputs: list[Output] = field(default_factory=list)
    excuses: list[Excuse] = field(default_factory=list)

    @property
    def used(self) -> list[Output]:
        """The outputs that a backward pass has come back to."""
        return [output for output in self.outputs if output.cotangent is not None]

    def touched(self) -> bool:
        """Whether an argument or an output has been changed in place since."""
        return any(tensor._version != version for tensor, version in self.versions) or any(
            output.value._version != output.version for output in self.outputs
        )


def tensors_in(value: object, depth: int = 0) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists, dictionaries and dataclass-like outputs, in a fixed order."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif depth < MAX_DEPTH:
        parts: Sequence[object] = ()
        if isinstance(value, Mapping):
            parts = list(value.values())
        elif isinstance(value, (tuple, list)):
            parts = value
        elif hasattr(type(value), "__dataclass_fields__"):
            parts = list(vars(value).values())
        for part in parts:
            yield from tensors_in(part, depth + 1)


class Capture:
    """Hooks on the modules of one optimizer for the length of one step; ``within`` is called in each pass."""

    def __init__(
        self,
        modules: Sequence[torch.nn.Module],
        run: Callable[..., object],
        within: Callable[[], None],
    ) -> None:
        self.calls: list[Call] = []
        self.failed = ""
        self.counts = False
        self.seconds = 0.0
        self._made: list[MadeByHook] = []
        self._open: list[Call] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        programhooks.tap = self
        import torch

        for module in modules:
            # Through the shield, and without returning anything: a hook's result would replace the output.
            def before(of: object, args: object, kwargs: object) -> None:
                run("gradient truth", self._before, of, args, kwargs)

            def after(of: object, args: object, kwargs: object, result: object) -> None:
                run("gradient truth", self._after, of, result)
                run("functions", within)

            for hook in (before, after):
                # torch.compile leaves functions with this mark alone.
                vars(hook)["_torchdynamo_disable"] = True
            # As torch has them: the guard does not watch its own hooks.
            first = inspect.unwrap(torch.nn.Module.register_forward_pre_hook)
            last = inspect.unwrap(torch.nn.Module.register_forward_hook)
            self._handles.append(first(module, before, prepend=True, with_kwargs=True))
            self._handles.append(last(module, after, with_kwargs=True))

    def end(self) -> None:
        """Take the hooks away."""
        if programhooks.tap is self:
            programhooks.tap = None
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def drop_consumed(self) -> None:
        """Gradients were zeroed: what earlier backward passes brought is gone."""
        self.calls = [call for call in self.calls if not call.used]

    def _before(self, module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        import torch

        if not torch.is_grad_enabled() or self.failed:
            return
        if compiled_around():
            self.failed = "the module's call lies within compiled code"
            return
        if len(self.calls) >= MAX_CALLS:
            self.failed = f"the module is called more than {MAX_CALLS} times in a step"
            return
        buffers = dict(module.named_buffers())
        if sum(buffer.numel() * buffer.element_size() for buffer in buffers.values()) > MAX_BYTES:
            self.failed = "the module's buffers are too large to be copied"
            return
        if not self._open:
            self._made = []
        self._open.append(
            Call(
                module,
                args,
                kwargs,
                tuple((tensor, tensor._version) for tensor in tensors_in((args, kwargs))),
                Generators.read(),
                Autocast.read(),
                {name: buffer.detach().clone() for name, buffer in buffers.items()},
                module.training,
                collectives_so_far(),
                forward_hooks(module),
                Captured(node_number(), 0, frozenset()),
            )
        )

    def _after(self, module: torch.nn.Module, result: object) -> None:
        if not self._open or self._open[-1].module is not module:
            return
        call = self._open.pop()
        started = perf_counter()
        results = list(tensors_in(result))
        returned = frozenset(
            (int(one.grad_fn._sequence_nr()), one.output_nr) for one in results if one.grad_fn is not None
        )
        call.nodes = Captured(call.nodes.first, node_number(), returned)
        call.excuses = excuses_above(results, self._made)
        self.seconds += perf_counter() - started
        if call.collectives is None or collectives_so_far() != call.collectives:
            self.failed = "the forward pass has collectives, which other ranks would have to repeat as well"
            return
        for place, tensor in enumerate(results):
            if place >= MAX_OUTPUTS:
                self.failed = f"the module returns more than {MAX_OUTPUTS} tensors"
                return
            if not tensor.requires_grad:
                continue
            if tensor.numel() * tensor.element_size() > MAX_BYTES:
                self.failed = "the module's outputs are too large to be kept"
                return
            small = tensor.numel() <= MAX_COPIED
            bare = tensor.detach().clone() if small else tensor.detach()
            output = Output(place, bare, bare._version)
            call.outputs.append(output)
            tensor.register_hook(self._keeper(output))
        self.calls.append(call)

    def _keeper(self, output: Output) -> Callable[[torch.Tensor], None]:
        def keep(gradient: torch.Tensor) -> None:
            if not self.counts:
                return
            # Several backward passes through one output (retain_graph) add up, as their gradients do.
            kept = output.cotangent
            output.cotangent = gradient.detach().clone() if kept is None else kept + gradient.detach()

        return keep

    def hook_begins(self) -> int:
        """A hook of the program is about to run: the number of the last node before its own."""
        return node_number() if self._open else -1

    def hook_ended(self, place: str, first: int) -> None:
        """It has run: what it put into the graph since ``first`` is its."""
        if self._open and first >= 0 and len(self._made) < MAX_MADE:
            self._made.append(MadeByHook(place, first, node_number()))


def holders(
    parameters: Sequence[torch.Tensor], candidates: Sequence[torch.nn.Module]
) -> list[torch.nn.Module]:
    """The outermost modules among ``candidates`` that hold one of ``parameters``, below their wrappers."""
    wanted = {id(parameter) for parameter in parameters}
    holding = [one for one in candidates if any(id(p) in wanted for p in one.parameters())]
    inner = {id(child) for one in holding for child in one.modules() if child is not one}
    return [unwrapped(one) for one in holding if id(one) not in inner]


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module below DistributedDataParallel and DataParallel: its forward has no collectives of theirs."""
    import torch

    wrappers = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    while isinstance(module, wrappers):
        module = cast("torch.nn.Module", module.module)
    return module
