"""Names that sealed files have elsewhere: what stands in a seal, and what is told of it later."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from ..core.canonical import Json
from ..core.errors import EvidenceError
from ..core.quantity import quantity
from ..core.tree import escaped
from ..observe.links import Links, Names, store_of

MAX_NAMES = 2_000
MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SealedLinks:
    """How many sealed files have a name ``elsewhere``, and the first of them by part and path.

    ``stores``: who links files in, as far as that can be told. ``cut``: not all are counted.
    """

    elsewhere: int
    names: tuple[tuple[str, str], ...]
    stores: tuple[str, ...] = ()
    cut: bool = False

    @property
    def sentence(self) -> str:
        """For people; empty when there are none."""
        if not self.elsewhere:
            return ""
        who = f" ({', '.join(self.stores)})" if self.stores else ""
        have = quantity(self.elsewhere, "file has", "files have")
        return f"{have} other names outside this seal{who}, by which edits can come"


def links_of(links: Links, places: Mapping[str, str]) -> SealedLinks | None:
    """What is known of the names elsewhere, by the path of each part; None when there are none."""
    found = list(links.elsewhere())
    if not found and not links.cut:
        return None
    names: list[tuple[str, str]] = []
    first: dict[str, bytes] = {}
    for path in found[:MAX_NAMES]:
        part, inside = _within(path, places)
        first.setdefault(part, path)
        names.append((part, escaped(inside) if inside else ""))
    stores = sorted({store for path in first.values() if (store := store_of(path))})
    return SealedLinks(len(found), tuple(names), tuple(stores), links.cut)


def new_names(before: SealedLinks | None, after: SealedLinks | None) -> str:
    """A sentence about files that have got a name elsewhere since; empty when none is known to have."""
    if after is None or (before is not None and (before.cut or before.elsewhere > len(before.names))):
        return ""
    known: Collection[tuple[str, str]] = set() if before is None else set(before.names)
    new = [name for name in after.names if name not in known]
    if not new:
        return ""
    shown = ", ".join(f"{part}: {path or '.'}" for part, path in new[:MAX_SHOWN])
    more = f" and {len(new) - MAX_SHOWN:,} more" if len(new) > MAX_SHOWN else ""
    return f"got another name outside this seal since it was made, by which it can be edited: {shown}{more}"


def said_of_names(names: Names | None) -> str:
    """Beside a change of a file: its other names, by which the edit may have come; empty without any."""
    if names is None:
        return ""
    said = []
    if names.here:
        shown = ", ".join(escaped(name) for name in names.here[:MAX_SHOWN])
        more = " and others" if len(names.here) > MAX_SHOWN else ""
        said.append(f"also changed under its other name {shown}{more}")
    if names.elsewhere:
        others = quantity(names.elsewhere, "other name")
        said.append(f"has {others} outside this seal, by which it may have been edited")
    return "; ".join(said)


def document_of(links: SealedLinks) -> dict[str, Json]:
    """As it stands in the seal's document."""
    return {
        "elsewhere": links.elsewhere,
        "names": [[part, path] for part, path in links.names],
        "stores": [*links.stores],
        "cut": links.cut,
    }


def read_links(value: Json) -> SealedLinks:
    """From the seal's document; raises EvidenceError when it is malformed."""
    try:
        return msgspec.convert(value, type=SealedLinks)
    except (msgspec.ValidationError, RecursionError) as error:
        raise EvidenceError(f"the seal is malformed where it tells of links: {error}") from error


def _within(path: bytes, places: Mapping[str, str]) -> tuple[str, bytes]:
    """The innermost part that a path lies in, and the path from there."""
    holding = list(_holding(path, places))
    part, start = max(holding, key=lambda one: len(one[1]), default=("", b""))
    return part, path[len(start) :].lstrip(b"/")


def _holding(path: bytes, places: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for part, place in places.items():
        start = os.fsencode(place)
        if path == start or path.startswith(start.rstrip(b"/") + b"/"):
            yield part, start
