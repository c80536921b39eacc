"""The root of all observations."""

from __future__ import annotations

from dataclasses import dataclass

from ..origin import Origin


@dataclass(frozen=True, slots=True)
class Observation:
    """Root of all observations."""

    origin: Origin
