"""Digests of all of an optimizer's tensors, after something was loaded into them.

Of sharded tensors they are of the parts that this rank holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from . import declare, tensors
from .shards import local_of, sharded_kind

if TYPE_CHECKING:
    import torch

    from .tracked import Tracked


def restored_body(optimizer: torch.optim.Optimizer, tracked: Tracked) -> dict[str, object]:
    """The body of a ``StateRestored``: what the next step begins from."""
    names = declare.parameter_names(tracked.parameters)
    kind = sharded_kind()
    parameters, _ = tensors.describe(
        (names.get(id(parameter), f"param.{position}"), part)
        for position, (parameter, part) in enumerate(zip(tracked.parameters, tracked.local, strict=True))
    )
    state, _ = tensors.describe(
        (f"{position}.{name}", cast("torch.Tensor", local_of(value, kind)))
        for position, parameter in enumerate(tracked.parameters)
        for name, value in tensors.walk(optimizer.state.get(parameter, {}))
    )
    return {
        "optimizer": tracked.index,
        "step": tracked.steps,
        "loaded_module": tracked.loaded_module,
        "loaded_optimizer": tracked.loaded_state,
        "tensors": parameters,
        "state": state,
    }
