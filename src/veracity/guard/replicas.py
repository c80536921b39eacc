"""Which ranks hold the same parameters: read from the DistributedDataParallel modules that hold them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_RANKS = 4096


def replicas_of(parameters: Sequence[torch.Tensor]) -> list[int]:
    """Global ranks whose copies of all these parameters DistributedDataParallel keeps equal.

    Empty when there is no such wrapper, when it leaves one of them out, or when ranks average their weights
    only now and then (post-local SGD).
    """
    import torch

    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return []
    wrapper = torch.nn.parallel.DistributedDataParallel
    found: set[int] | None = None
    kept_equal: set[int] = set()
    for candidate in gc.get_objects():
        # By type, never by isinstance, so that no proxy's attributes are touched.
        if not issubclass(type(candidate), wrapper):
            continue
        ranks = _ranks(candidate)
        if ranks is None:
            continue
        left_out = set(getattr(candidate, "parameters_to_ignore", ()))
        own = {
            id(parameter) for name, parameter in candidate.module.named_parameters() if name not in left_out
        }
        if own.isdisjoint(map(id, parameters)):
            continue
        found = ranks if found is None else found & ranks
        kept_equal |= own
    if found is None or not kept_equal.issuperset(map(id, parameters)) or not 2 <= len(found) <= MAX_RANKS:
        return []
    return sorted(found)


def _ranks(module: torch.nn.parallel.DistributedDataParallel) -> set[int] | None:
    """Global ranks of the wrapper's group, None when it lets its copies drift apart, or is half built."""
    import torch

    group, hooks = getattr(module, "process_group", None), getattr(module, "_comm_hooks", ())
    if group is None or any("local" in getattr(hook, "__name__", "").lower() for hook, _ in hooks):
        return None
    return set(torch.distributed.get_process_group_ranks(group))
