"""What Debian's package database says of the files below a folder: which package brought each, and its MD5.

dpkg is not started. MD5 finds changes, not a careful adversary, but the database is root's: who can write
there owns the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .ownership import DPKG, database

_MD5 = 32


def files_below(folder: str, dpkg: str = DPKG) -> Mapping[str, tuple[str, str]]:
    """Path from ``folder`` → package and MD5 (hexadecimal; empty where the database has none)."""
    start = os.fsencode(folder.strip("/")) + b"/"
    found: dict[str, tuple[str, str]] = {}
    for suffix in (".list", ".md5sums"):
        for name, data in database(os.path.join(dpkg, "info"), suffix):
            if start not in data:
                continue
            package = name.removesuffix(suffix).partition(":")[0]
            for line in data.splitlines():
                digest, path = (b"", line[1:]) if suffix == ".list" else (line[:_MD5], line[_MD5 + 2 :])
                if path.startswith(start) and len(path) > len(start):
                    found[os.fsdecode(path[len(start) :])] = (package, digest.decode("ascii", "replace"))
    return found
