"""Which package a file belongs to, and whether it is as that package brought it.

Asked in turn: RECORDs of Python distributions, ``installed-files.txt`` of older installs, conda's
``conda-meta``, Debian's dpkg database. Everything is read from files; no package manager is started.
A database that lies where the job's account can write says only what that account lets it say.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .pyenv import RecordIndex

DPKG = "/var/lib/dpkg"
MAX_FILE = 64 << 20
MAX_DATABASE = 256 << 20
MAX_ENTRIES = 20_000
_OTHER_MANAGERS = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/lib/apk/db", "/var/lib/pacman")
_SYSTEM_PLACES = ("/usr/", "/lib/", "/lib64/", "/etc/")


@dataclass(frozen=True, slots=True)
class Owner:
    """``standing`` as in ``StartupItem``: recorded, altered, listed, or none. ``name`` is empty for none."""

    standing: str
    name: str = ""
    installer: str = ""


NOBODY = Owner("none")


class Ownership:
    """Looks files up for one environment; ``prefixes`` are its own and its base installation's folders."""

    def __init__(self, records: RecordIndex, prefixes: Sequence[str], dpkg: str = DPKG) -> None:
        self._records = records
        self._prefixes = [os.path.realpath(prefix) for prefix in prefixes]
        self._dpkg = dpkg

    def of(self, path: str, data: bytes) -> Owner:
        """Who owns the file at ``path`` with the content ``data``."""
        digest = hashlib.sha256(data).hexdigest()
        entry = self._records.lookup(path)
        if entry is not None:
            owner = entry.distribution
            standing = ("recorded" if entry.sha256 == digest else "altered") if entry.sha256 else "listed"
            if standing == "altered" and self._records.vouches(path, digest):
                standing = "recorded"
            return Owner(standing, owner.name, owner.installer)
        spellings = list(dict.fromkeys((os.path.abspath(path), os.path.realpath(path))))
        for found in (self._by_distant_record(spellings, digest), self._by_egg(spellings)):
            if found is not None:
                return found
        return self._by_conda(spellings, digest) or self._by_system(spellings, data) or NOBODY

    def _by_distant_record(self, spellings: Sequence[str], digest: str) -> Owner | None:
        """Files that a distribution puts outside its own directory, such as ``lib/libiomp5.so``."""
        for distribution in self._records.distributions():
            for path in spellings:
                if not _near(distribution.directory, path):
                    continue
                found = self._records.outside(distribution, os.path.relpath(path, distribution.directory))
                if found is not None:
                    standing = ("recorded" if found == digest else "altered") if found else "listed"
                    return Owner(standing, distribution.name, distribution.installer)
        return None

    def _by_egg(self, spellings: Sequence[str]) -> Owner | None:
        """``installed-files.txt`` beside an ``.egg-info`` names files relative to itself, without digests."""
        folder = os.path.dirname(spellings[-1])
        for name in _names(folder, ".egg-info"):
            info = os.path.join(folder, name)
            data = read_database(os.path.join(info, "installed-files.txt"))
            for line in (data or b"").splitlines():
                named = os.path.normpath(os.path.join(info, os.fsdecode(line)))
                if named in spellings:
                    return Owner("listed", name.removesuffix(".egg-info"), "setuptools")
        return None

    def _by_conda(self, spellings: Sequence[str], digest: str) -> Owner | None:
        for prefix in self._prefixes:
            meta = os.path.join(prefix, "conda-meta")
            inside = [os.path.relpath(path, prefix) for path in spellings if path.startswith(prefix + os.sep)]
            if not inside or not os.path.isdir(meta):
                continue
            for name, data in database(meta, ".json"):
                for relative in inside:
                    if json.dumps(relative).encode() in data:
                        found = _conda_entry(data, relative)
                        if found is not None:
                            expected, package = found
                            as_was = not expected or expected == digest
                            return Owner("recorded" if as_was else "altered", package or name, "conda")
        return None

    def _by_system(self, spellings: Sequence[str], data: bytes) -> Owner | None:
        places = [path for path in spellings if path.startswith(_SYSTEM_PLACES) or self._dpkg != DPKG]
        if not places:
            return None
        wanted = [one for path in places for one in (path, path.removeprefix("/usr"))]
        for name, listing in database(os.path.join(self._dpkg, "info"), ".list"):
            for path in wanted:
                if b"\n" + os.fsencode(path) + b"\n" in b"\n" + listing:
                    return self._dpkg_standing(name.removesuffix(".list"), wanted, data)
        if any(os.path.isdir(place) for place in _OTHER_MANAGERS) and all(map(_by_root_alone, places)):
            # Their databases are binary; a file that only root can have put there is the system's.
            return Owner("listed", "the system", "root")
        return None

    def _dpkg_standing(self, package: str, paths: Sequence[str], data: bytes) -> Owner | None:
        """As dpkg's MD5 sums say; a configuration file that was edited is nobody's."""
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        name = package.partition(":")[0]
        sums = read_database(os.path.join(self._dpkg, "info", f"{package}.md5sums")) or b""
        for line in sums.splitlines():
            value, _, relative = os.fsdecode(line).partition("  ")
            if "/" + relative in paths:
                return Owner("recorded" if value == digest else "altered", name, "dpkg")
        status = read_database(os.path.join(self._dpkg, "status")) or b""
        for path in paths:
            match = re.search(rb"^ " + re.escape(os.fsencode(path)) + rb" ([0-9a-f]{32})", status, re.M)
            if match is not None:
                return Owner("recorded", name, "dpkg") if match[1].decode() == digest else None
        return Owner("listed", name, "dpkg")


def _conda_entry(data: bytes, relative: str) -> tuple[str, str] | None:
    """``(sha256 or empty, package)`` if the package lists ``relative``."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    package = document.get("name")
    name = package if isinstance(package, str) else ""
    paths = document.get("paths_data")
    listed = paths.get("paths") if isinstance(paths, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("_path") == relative:
            digest = one.get("sha256_in_prefix") or one.get("sha256")
            return (digest if isinstance(digest, str) else ""), name
    files = document.get("files")
    return ("", name) if isinstance(files, list) and relative in files else None


def _near(directory: str, path: str) -> bool:
    """Whether ``path`` lies in the same installation as ``directory`` (``<prefix>/lib/pythonX.Y/…``)."""
    prefix = os.path.dirname(os.path.dirname(os.path.dirname(directory)))
    return len(prefix) > 1 and path.startswith(prefix + os.sep)


def _by_root_alone(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & 0o022 and os.getuid() != 0


def database(folder: str, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the database's files, up to a bound on their bytes."""
    left = MAX_DATABASE
    for name in _names(folder, suffix):
        data = read_database(os.path.join(folder, name))
        if data is not None:
            left -= len(data)
            if left < 0:
                return
            yield name, data


def _names(folder: str, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix))[:MAX_ENTRIES]
    except OSError:
        return []


def read_database(path: str) -> bytes | None:
    """A file of a package database; None when it cannot be read or is too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= MAX_FILE else None
