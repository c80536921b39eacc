"""What a forward pass depends on beside its arguments, captured before it and put in place for a repetition.

Random number generators (torch's on every device in use, Python's, NumPy's where it was imported), autocast,
and what modules keep in their attributes.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DEVICES = ("cpu", "cuda")
_SIZED = (list, dict, set)
# Swapped and put back by functional_call, and the tables of hooks, of which ours come and go.
_OWN_TABLES = frozenset(
    {"_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks"}
)


@dataclass(frozen=True, slots=True)
class Generators:
    """States of the global random number generators."""

    torch: torch.Tensor
    cuda: Sequence[torch.Tensor]
    python: object
    numpy: object

    @classmethod
    def read(cls) -> Generators:
        """The states as they are now; changes nothing."""
        import torch

        numpy_random = sys.modules.get("numpy.random")
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = numpy_random.get_state() if numpy_random is not None else None
        return cls(torch.get_rng_state(), cuda, random.getstate(), numpy)

    def put(self) -> None:
        """Set the generators to these states."""
        import torch

        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        random.setstate(self.python)  # type: ignore[arg-type]
        if self.numpy is not None:
            sys.modules["numpy.random"].set_state(self.numpy)

    def same(self, other: Generators) -> bool:
        """Whether torch's generators stand where ``other`` 's do."""
        import torch

        return (
            torch.equal(self.torch, other.torch)
            and len(self.cuda) == len(other.cuda)
            and all(torch.equal(mine, theirs) for mine, theirs in zip(self.cuda, other.cuda, strict=True))
        )


@contextlib.contextmanager
def kept_generators() -> Iterator[None]:
    """Whatever is drawn within, the program's generators stand afterwards as they stood before."""
    before = Generators.read()
    try:
        yield
    finally:
        before.put()


@dataclass(frozen=True, slots=True)
class Autocast:
    """Autocast of one device type as a forward pass found it."""

    device: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def read(cls) -> tuple[Autocast, ...]:
        """Those device types whose autocast is on."""
        import torch

        found = []
        for device in _DEVICES:
            if device == "cuda" and not torch.cuda.is_initialized():
                continue
            enabled, dtype = _autocast(device)
            if enabled:
                found.append(cls(device, enabled, dtype))
        return tuple(found)


def _autocast(device: str) -> tuple[bool, torch.dtype]:
    """Whether autocast is on for a device type, and its dtype: the names differ before torch 2.4."""
    import torch

    dtype_of = getattr(torch, "get_autocast_dtype", None)
    if dtype_of is not None:
        return torch.is_autocast_enabled(device), dtype_of(device)
    if device == "cpu":
        return torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    return torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()


@contextlib.contextmanager
def under(autocasts: Sequence[Autocast]) -> Iterator[None]:
    """The captured autocast, and gradients on: without them other kernels run, and compiled code is compiled
    again.
    """
    import torch

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        for one in autocasts:
            # No cache: it would keep moved copies of parameters, and speak of them to later operations.
            stack.enter_context(
                torch.autocast(one.device, dtype=one.dtype, enabled=one.enabled, cache_enabled=False)
            )
        yield


class Attributes:
    """What the modules below a root keep in their attributes, so that a repetition leaves no trace there."""

    def __init__(self, root: torch.nn.Module) -> None:
        self._kept = [(module, dict(vars(module))) for module in root.modules()]
        self._sizes = [
            (value, len(value))
            for _, kept in self._kept
            for name, value in kept.items()
            if name not in _OWN_TABLES and type(value) in _SIZED
        ]

    def put_back(self) -> str:
        """Rebind what was rebound. Returns what else was changed and cannot be undone, empty when nothing."""
        for module, kept in self._kept:
            now = vars(module)
            for name in [name for name in now if name not in kept]:
                del now[name]
            for name, value in kept.items():
                if now.get(name, self) is not value:
                    now[name] = value
        grown = [value for value, size in self._sizes if len(value) != size]
        return f"a {type(grown[0]).__name__} that a module keeps" if grown else ""
