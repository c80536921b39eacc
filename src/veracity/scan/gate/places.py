"""Names of things in modules that are imported when they are first needed.

A scan of one file needs one reader out of dozens, and importing all of them takes longer than reading the
file. So the gate's two tables, of readers and of rules, say where each of them stands.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

_PACKAGE = __name__.partition(".")[0]


@lru_cache(maxsize=256)
def found_at(place: str) -> object:
    """What ``module:name`` stands for, of this package's modules: ``observe.gguf:GgufReader``."""
    module, _, name = place.partition(":")
    found: object = getattr(import_module(f"{_PACKAGE}.{module}"), name)
    return found
