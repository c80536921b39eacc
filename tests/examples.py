"""How many examples a property is tried on: a share of what the chosen profile draws.

``ci`` is what ``make test`` draws, ``soak`` what ``make soak`` does. A property that needs fewer or more than
others says by how much, so that every profile scales it.
"""

from __future__ import annotations

from hypothesis import settings

PROFILES = {"ci": 50, "soak": 2000}
USUAL = 100
FEWEST = 20


def examples(count: int) -> int:
    """``count`` where others draw ``USUAL``, scaled to the profile in use; but no fewer
    than ``FEWEST``, unless ``count`` is less itself.

    To be called when a test module is imported: by then the profile has been chosen.
    """
    drawn: int = settings.default.max_examples if settings.default is not None else USUAL
    return max(min(count, FEWEST), count * drawn // USUAL)
