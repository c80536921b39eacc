"""Whether a module may be run again at all, found out before it is tried."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..declare import place_of

if TYPE_CHECKING:
    import torch


def unfit(module: torch.nn.Module) -> str:
    """Why running ``module`` again could hang the job or leave a trace; empty when nothing does."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return "the module is a TorchScript module"
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    several = several and torch.distributed.get_world_size() > 1
    for one in module.modules():
        if several and isinstance(one, torch.nn.SyncBatchNorm):
            return "the forward pass has collectives (SyncBatchNorm)"
        if "FullyShardedDataParallel" in type(one).__name__ or "FSDPModule" in map(_name, type(one).__mro__):
            return "the forward pass has collectives (fully sharded)"
        for table in ("_forward_hooks", "_forward_pre_hooks"):
            for hook in getattr(one, table, {}).values():
                path, line = place_of(hook)
                if not _of_library(path):
                    return f"a hook of the program runs in the forward pass ({path}:{line})"
    if not compiled(module) and _anything_compiled():
        return "parts of the program are compiled around the module's call"
    return ""


def compiled(module: torch.nn.Module) -> bool:
    """Whether the module's own call is what was compiled: it runs again as compiled."""
    return (
        type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
    )


def collectives_so_far() -> tuple[int, ...] | None:
    """How many collectives each process group has begun; None where that cannot be read."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ()
    world = getattr(torch.distributed.distributed_c10d, "_world", None)
    groups = list(getattr(world, "pg_map", ()))
    try:
        return tuple(group._get_sequence_number_for_group() for group in groups)
    except (RuntimeError, AttributeError):
        return None


def _anything_compiled() -> bool:
    """Whether torch.compile has compiled a frame: a hook put on a module inside it would compile it again."""
    utils = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None)
    return bool(counters and counters.get("frames"))


def _of_library(path: str) -> bool:
    import torch

    return path.startswith(torch.__path__[0]) or "/veracity/guard/" in path.replace("\\", "/")


def _name(kind: type) -> str:
    return kind.__name__
