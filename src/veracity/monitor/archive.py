"""The guard's archive: ``guard`` and ``core`` in one zip that any Python can enter, and nothing else.

The package inside is called ``_veracity_guard``, so that a Veracity installed in the training's own
environment is neither shadowed nor needed. The bytes depend on the sources alone (fixed times and order), so
the digest of the archive says which guard ran.
"""

from __future__ import annotations

import io
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

from ..core.digest import Digest

if TYPE_CHECKING:
    from importlib.abc import Traversable

PACKAGE = "_veracity_guard"
_TIME = (2020, 1, 1, 0, 0, 0)


def build_archive() -> tuple[bytes, Digest]:
    """The archive's bytes and their digest."""
    root = resources.files("veracity")
    members = {f"{PACKAGE}/__init__.py": b""}
    for room in ("core", "guard"):
        members.update(_sources(root / room, f"{PACKAGE}/{room}"))
    members["sitecustomize.py"] = members.pop(f"{PACKAGE}/guard/sitecustomize.py")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, members[name])
    data = buffer.getvalue()
    return data, Digest.of(data)


def _sources(folder: Traversable, prefix: str) -> dict[str, bytes]:
    found = {}
    for item in folder.iterdir():
        if item.name.endswith(".py"):
            found[f"{prefix}/{item.name}"] = item.read_bytes()
        elif item.is_dir() and item.name != "__pycache__":
            found.update(_sources(item, f"{prefix}/{item.name}"))
    return found
