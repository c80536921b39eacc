"""How often Python looks for garbage while a verb reads trees of files."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = 200_000
"""Objects that are made before the collector looks at them."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Have the collector of cycles look seldom.

    An entry for each of ten thousands of files is no cycle and stays until the end; to go through all of them
    again and again takes a tenth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
