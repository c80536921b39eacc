"""What Debian's package database says of files: which package brought each, and its MD5.

dpkg is not started. MD5 finds changes, not a careful adversary, but the database is root's: who can write
there owns the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

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


def packages_of(paths: Iterable[str], dpkg: str = DPKG) -> Mapping[str, tuple[str, str]]:
    """Of these absolute paths those that a package brought → package and MD5, in one pass.

    A file below ``/usr`` may stand there without it: where ``/lib`` leads to ``/usr/lib``, older packages
    name the former.
    """
    wanted: dict[bytes, str] = {}
    for path in paths:
        wanted[os.fsencode(path[1:])] = path
        if path.startswith("/usr/"):
            wanted.setdefault(os.fsencode(path.removeprefix("/usr/")), path)
    found: dict[str, tuple[str, str]] = {}
    for suffix in (".list", ".md5sums"):
        for name, data in database(os.path.join(dpkg, "info"), suffix):
            package = name.removesuffix(suffix).partition(":")[0]
            for line in data.splitlines():
                digest, named = (b"", line[1:]) if suffix == ".list" else (line[:_MD5], line[_MD5 + 2 :])
                if named in wanted:
                    found[wanted[named]] = (package, digest.decode("ascii", "replace"))
    return found
