"""What guards send, for rules that notice a record that was lost."""

from __future__ import annotations

from ..core.observation import Observation
from ..core.wiremap import KINDS

FROM_THE_GUARD: tuple[type[Observation], ...] = tuple(KINDS.values())
"""All kinds that guards send: together their numbers have no holes."""
