"""Packages of editable installs that an import hook finds: where they lie, read from the hook's own table.

setuptools writes ``__editable___<name>_finder.py`` with a dict ``MAPPING`` of top-level names and places.
The hook comes behind the path: it finds what no folder has.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Sequence

from ..pyenv import read_small

MAX_FINDERS = 1_000
MAX_TEXT = 64 << 10


def editable_packages(sites: Sequence[str]) -> dict[str, str]:
    """Top-level name → absolute place, without a suffix; the first table that has a name counts."""
    found: dict[str, str] = {}
    for site in sites:
        try:
            names = sorted(os.listdir(site))
        except OSError:
            continue
        tables = [name for name in names if name.startswith("__editable__") and name.endswith("_finder.py")]
        for name in tables[:MAX_FINDERS]:
            data = read_small(os.path.join(site, name), MAX_TEXT)
            for top, place in _mapping(data or b"").items():
                if "." not in top and os.path.isabs(place) and "\0" not in place:
                    found.setdefault(top, place)
    return found


def _mapping(data: bytes) -> dict[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    for one in tree.body:
        target: ast.expr | None = one.target if isinstance(one, ast.AnnAssign) else None
        if isinstance(one, ast.Assign) and len(one.targets) == 1:
            target = one.targets[0]
        if isinstance(target, ast.Name) and target.id == "MAPPING":
            return _texts(getattr(one, "value", None))
    return {}


def _texts(value: object) -> dict[str, str]:
    """The entries of a dict of constant texts."""
    if not isinstance(value, ast.Dict):
        return {}
    pairs = zip(value.keys, value.values, strict=True)
    return {
        key.value: place.value
        for key, place in pairs
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
        if isinstance(place, ast.Constant) and isinstance(place.value, str)
    }
