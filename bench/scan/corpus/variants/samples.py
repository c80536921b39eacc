"""Variants of the known ways that were written apart from the gate's code, after the rest of the corpus.

The share of them that was flagged when they first met the gate stands in docs/benchmarks.md beside the share
after what they showed was mended.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..sample import Sample
from .configured import configured
from .installed import installed
from .modelled import modelled
from .notebooks import notebooks
from .packed import packed
from .pickled import pickled


def variants() -> Iterator[Sample]:
    """All samples of this package."""
    for source in (pickled, packed, modelled, configured, notebooks, installed):
        yield from source()
