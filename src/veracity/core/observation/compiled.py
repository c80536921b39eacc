"""Compiled Python in files."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class CompiledFunction(Observation):
    """A function of a compiled file, or the module itself, and the names it uses.

    ``name``: the file. ``function`` as it calls itself. ``names``: attributes, globals and imports, in the
    order in which they first occur. ``foreign``: those that stand nowhere in the source that Python would not
    look at, since the file says it is of that very one; empty when that was not read.
    """

    name: str
    function: str
    names: tuple[str, ...]
    foreign: tuple[str, ...] = ()
