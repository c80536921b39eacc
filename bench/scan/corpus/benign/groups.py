"""All groups of benign files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from . import documents, formats, learned, lookalikemodels, lookalikes, numeric, plain, torchfiles, trainers
from .group import Group


def groups(wheels: Path | None) -> Iterator[Group]:
    """In an order that stays; wheels of an index only when there is a folder of them."""
    yield Group("stdlib", "pickle, shelve, tarfile, zipfile, gzip", plain.make)
    yield from numeric.GROUPS
    yield from learned.GROUPS
    yield from torchfiles.GROUPS
    yield from trainers.GROUPS
    yield from formats.GROUPS
    yield from documents.GROUPS
    yield from lookalikes.GROUPS
    yield from lookalikemodels.GROUPS
    if wheels:
        yield Group("wheels", "packages of an index", lambda folder, _: _copy(wheels, folder))


def _copy(wheels: Path, folder: Path) -> None:
    for path in sorted(wheels.glob("*.whl")):
        shutil.copyfile(path, folder / path.name)
