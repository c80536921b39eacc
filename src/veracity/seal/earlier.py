"""The seal that a new one goes on from, so that only what has changed is written anew."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import Error
from ..ledger.keys import PublicKey
from .folder import SealFolder, list_seals
from .paths import read_seal

MAX_ASKED = 50
"""Seals that are looked at, the newest first."""


def earlier_seal(home: Path, key: PublicKey, paths: Iterable[Path]) -> SealFolder | None:
    """The newest seal in the home, signed by ``key``, with a part that lies at one of the paths."""
    places = {os.path.realpath(path) for path in paths}
    for folder in list_seals(home)[:MAX_ASKED]:
        try:
            seal = read_seal(folder, key)
        except Error:
            continue  # it is nobody's business here why: then nothing is gone on from it
        if any(part.path in places for part in seal.parts):
            return folder
    return None
