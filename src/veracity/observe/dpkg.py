"""What Debian's package database says of the files below a folder: which package brought each, and its MD5.

Read from ``/var/lib/dpkg/info``; dpkg is not started. MD5 finds changes, not a careful adversary, but the
database is root's: who can write there owns the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

INFO = "/var/lib/dpkg/info"
MAX_FILE = 16 << 20
MAX_PACKAGES = 100_000
_MD5 = 32


def files_below(folder: str, info: str = INFO) -> Mapping[str, tuple[str, str]]:
    """Path from ``folder`` → package and MD5 (hexadecimal; empty where the database has none)."""
    start = os.fsencode(folder.strip("/")) + b"/"
    found: dict[str, tuple[str, str]] = {}
    try:
        names = sorted(os.listdir(info))[:MAX_PACKAGES]
    except OSError:
        return found
    for suffix in (".list", ".md5sums"):
        for name in names:
            data = _read(os.path.join(info, name)) if name.endswith(suffix) else b""
            if start not in data:
                continue
            package = name.removesuffix(suffix).partition(":")[0]
            for line in data.splitlines():
                digest, path = (b"", line[1:]) if suffix == ".list" else (line[:_MD5], line[_MD5 + 2 :])
                if path.startswith(start) and len(path) > len(start):
                    found[os.fsdecode(path[len(start) :])] = (package, digest.decode("ascii", "replace"))
    return found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE)
    except OSError:
        return b""
