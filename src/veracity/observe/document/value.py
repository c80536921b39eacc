"""The values of a document, whichever format it has: what JSON, YAML and TOML have in common.

Objects keep every pair that was written, in order: readers differ in which of two equal keys counts, so each
is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

MAX_PATH = 200


@dataclass(slots=True)
class Fields:
    """An object: its keys with their values, doubled keys included."""

    pairs: list[tuple[str, Value]] = field(default_factory=list)

    def get(self, key: str) -> list[Value]:
        """All values that ``key`` has; none when it is not there."""
        return [value for name, value in self.pairs if name == key]

    def text(self, key: str) -> str:
        """The last value of ``key`` when it is a text, else empty."""
        found = self.get(key)
        return found[-1] if found and isinstance(found[-1], str) else ""

    def names(self) -> set[str]:
        """All keys."""
        return {name for name, _ in self.pairs}


Value: TypeAlias = "None | bool | int | float | str | list[Value] | Fields"
Path: TypeAlias = "tuple[Path, str | int] | None"
"""Where a value lies: the path of what holds it, and its key or index there; None is the document itself."""


def objects(root: Value) -> Iterator[tuple[Path, Fields]]:
    """Every object in ``root`` with its path, however deep, in order."""
    waiting: list[tuple[Path, Value]] = [(None, root)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Fields):
            yield path, value
            waiting += [((path, key), one) for key, one in reversed(value.pairs) if _holds(one)]
        elif isinstance(value, list):
            waiting += [((path, at), value[at]) for at in reversed(range(len(value))) if _holds(value[at])]


def _holds(value: Value) -> bool:
    return isinstance(value, (Fields, list))


def path_text(path: Path, *more: str | int) -> str:
    """``a.b[3].c``; the document itself is empty. Cut in front when it is long."""
    parts = list(reversed(more))
    while path is not None and len(parts) < MAX_PATH:
        path, part = path
        parts.append(part)
    text = ""
    for part in reversed(parts):
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text if len(text) <= MAX_PATH else f"…{text[-MAX_PATH:]}"
