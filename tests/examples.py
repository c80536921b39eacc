"""How much is tried: of a property a share of what the chosen profile draws, of kinds the telling ones.

``ci`` is what ``make test`` draws, ``soak`` what ``make soak`` does. A property that needs fewer or more than
others says by how much, so that every profile scales it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet
from hypothesis import settings

PROFILES = {"ci": 25, "soak": 2000}
USUAL = 100
FEWEST = 15


def quickly(*chosen: str, of: Iterable[str]) -> list[ParameterSet]:
    """Parameters for all ``of`` these names; those that are not ``chosen`` wait for ``make soak``.

    For kinds of one thing of which each takes seconds; the chosen ones are the hardest to tell apart.
    """
    soak = pytest.mark.soak
    return [pytest.param(name, id=name, marks=() if name in chosen else soak) for name in of]


def examples(count: int) -> int:
    """``count`` where others draw ``USUAL``, scaled to the profile in use; but no fewer
    than ``FEWEST``, unless ``count`` is less itself.

    To be called when a test module is imported: by then the profile has been chosen.
    """
    drawn: int = settings.default.max_examples if settings.default is not None else USUAL
    return max(min(count, FEWEST), count * drawn // USUAL)
