"""What torch computes with for all modules at once: precision, autocast, threads. Any line may set it."""

from __future__ import annotations

from .truth.circumstances import Autocast

# A program that sets them at each step is not told of for ever.
MAX_RECORDS = 40
OF = "torch"


class Numerics:
    """These settings from step to step."""

    def __init__(self) -> None:
        self._values = _read()
        self._records = 0

    def changed(self) -> list[list[object]]:
        """What was set since the last call, as of a layer: ``[OF, setting, before, after]``."""
        before, self._values = self._values, _read()
        if before == self._values or self._records >= MAX_RECORDS:
            return []
        self._records += 1
        return [[OF, name, before[name], now] for name, now in self._values.items() if before[name] != now]


def _read() -> dict[str, object]:
    import torch

    autocasts = [f"{one.device} {str(one.dtype).removeprefix('torch.')}" for one in Autocast.read()]
    return {
        "autocast": ", ".join(autocasts) or "off",
        "default dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "precision of matrix products": torch.get_float32_matmul_precision(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }
