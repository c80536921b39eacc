"""All sabotages of the bench, in the order in which they are reported."""

from __future__ import annotations

from .sabotage import PLANNED, Sabotage, TorchEdit
from .signal import SIGNAL
from .state import STATE
from .surroundings import SURROUNDINGS
from .update import CALLS, SGD_CALL, UPDATE

SABOTAGES: tuple[Sabotage, ...] = (*UPDATE, *STATE, *SIGNAL, *SURROUNDINGS)
BY_NAME = {one.name: one for one in SABOTAGES}

__all__ = ["BY_NAME", "CALLS", "PLANNED", "SABOTAGES", "SGD_CALL", "Sabotage", "TorchEdit"]
