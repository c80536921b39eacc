"""Reading tiles, entry bundles and the published tree head from a folder, none of it trusted."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import EvidenceError
from ..core.quantity import quantity
from .files import read_bounded
from .merkle import HASH_SIZE
from .note import MAX_NOTE
from .tile import MAX_BUNDLE, WIDTH, Place, decode_bundle, decode_tile
from .tree_head import FILE_NAME, TreeHead


def read_head(folder: Path) -> TreeHead | None:
    """The published head, unverified; None when there is none, EvidenceError when it is malformed."""
    path = folder / FILE_NAME
    if not os.path.lexists(path):
        return None
    return TreeHead.parse(read_bounded(path, MAX_NOTE))


class Shelf:
    """The tiles in one ledger's folder. Every method raises EvidenceError naming the entries concerned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bundle(self, index: int, width: int) -> list[bytes]:
        """The first ``width`` entries of bundle ``index``."""
        entries = self.loose_bundle(index, width)
        if len(entries) < width:
            raise EvidenceError(
                f"entry {index * WIDTH + len(entries)} is missing from its bundle",
                where=str(self.folder / Place(None, index, width).path()),
            )
        return entries

    def loose_bundle(self, index: int, width: int) -> list[bytes]:
        """The first ``width`` entries of bundle ``index``, or as many as it holds."""
        place = Place(None, index, width)
        data, held = self._read(place, MAX_BUNDLE)
        try:
            return decode_bundle(data, held)[:width]
        except EvidenceError as error:
            raise EvidenceError(
                f"the bundle of entries {_range(place)} is malformed: {error}",
                where=str(self.folder / place.path()),
            ) from error

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """The first ``width`` hashes of a tile."""
        place = Place(level, index, width)
        data, held = self._read(place, WIDTH * HASH_SIZE)
        try:
            hashes = decode_tile(data)
        except EvidenceError as error:
            raise EvidenceError(
                f"the tile over entries {_range(place)} is malformed: {error}",
                where=str(self.folder / place.path()),
            ) from error
        if not width <= len(hashes) <= held:
            raise EvidenceError(
                f"the tile over entries {_range(place)} holds {len(hashes)} of {quantity(width, 'hash')}",
                where=str(self.folder / place.path()),
            )
        return hashes[:width]

    def _read(self, place: Place, limit: int) -> tuple[bytes, int]:
        """A file's content and the width it should have.

        Where the partial file is gone, the full one may have replaced it meanwhile.
        """
        path = self.folder / place.path()
        full = self.folder / Place(place.level, place.index).path()
        try:
            try:
                return read_bounded(path, limit), place.width
            except EvidenceError:
                if os.path.lexists(path) or not os.path.lexists(full):
                    raise
                return read_bounded(full, limit), WIDTH
        except EvidenceError as error:
            raise EvidenceError(f"entries {_range(place)}: {error}", where=str(path)) from error


def _range(place: Place) -> str:
    span = place.width << 8 * (place.level or 0)
    return f"{place.first_entry} to {place.first_entry + span - 1}"
