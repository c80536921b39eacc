"""Objects that a file describes and that are not built: what they are called, and what they were given."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that a file names without calling it. Nothing was imported."""

    module: str
    name: str

    def __repr__(self) -> str:
        return f"<{self.module}.{self.name}, not imported>"


@dataclass(slots=True, eq=False)
class Opaque:
    """An object of a class that the loader does not know, as its file describes it. Nothing was called.

    ``arguments`` and ``keywords``: what it would have been called with. ``state``: what would have been
    handed to ``__setstate__`` or become its attributes, None without any. ``items``: what would have been
    put into it, pairs for what has keys.
    """

    module: str
    name: str
    arguments: tuple[object, ...] = ()
    keywords: dict[str, object] = field(default_factory=dict)
    state: object = None
    items: list[object] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.module}.{self.name}, not built>"
