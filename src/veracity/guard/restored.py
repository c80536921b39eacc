"""Digests of all of an optimizer's tensors, after something was loaded into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import declare, tensors

if TYPE_CHECKING:
    import torch

    from .tracked import Tracked


def restored_body(optimizer: torch.optim.Optimizer, tracked: Tracked) -> dict[str, object]:
    """The body of a ``StateRestored``: what the next step begins from."""
    names = declare.parameter_names(tracked.parameters)
    parameters, _ = tensors.describe(
        (names.get(id(parameter), f"param.{position}"), parameter)
        for position, parameter in enumerate(tracked.parameters)
    )
    state, _ = tensors.describe(
        (f"{position}.{name}", value)
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
