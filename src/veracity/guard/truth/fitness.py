"""Whether a module may be run again at all, found out before it is tried."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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
    return ""


def compiled_around() -> bool:
    """Whether this is called from code that torch.compile made: a hook there makes it compile again."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name.startswith("torch_dynamo_resume_in") or any(
            name.startswith("__compiled_fn") for name in code.co_names
        ):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def compiled_in_place(module: torch.nn.Module) -> bool:
    """``Module.compile`` compiles the hooks along, so none may be put on the module."""
    return getattr(module, "_compiled_call_impl", None) is not None


def collectives_so_far() -> tuple[int, ...] | None:
    """How many collectives each process group has begun; None where that cannot be read."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ()
    world = getattr(torch.distributed.distributed_c10d, "_world", None)
    groups = list(getattr(world, "pg_map", None) or ())
    try:
        return tuple(group._get_sequence_number_for_group() for group in groups)
    except (RuntimeError, AttributeError):
        return None


def _name(kind: type) -> str:
    return kind.__name__
