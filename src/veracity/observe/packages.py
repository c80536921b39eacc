"""What the distributions of a Python environment say of themselves: names, versions, licences, where from.

Read from ``*.dist-info`` and ``*.egg-info`` alone; nothing is imported or executed. All of it is the word of
whoever made or installed the distribution.

Formats: https://packaging.python.org/en/latest/specifications/core-metadata/ and
https://packaging.python.org/en/latest/specifications/direct-url/
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from ..core.packagename import normalised
from .pyenv import MAX_DISTRIBUTIONS, MAX_RECORD, MAX_SMALL, header_fields, read_small

MAX_TEXT = 200
MAX_LICENCES = 20
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+\Z")
_COMMIT = re.compile(r"[0-9A-Za-z._-]{1,100}\Z", re.ASCII)
# What may stand in a URL (RFC 3986), without the brackets of numeric hosts.
_URL = re.compile(r"(?:[!#$&-;=?-Z_a-z~]|%[0-9A-Fa-f]{2})+\Z")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a distribution was installed from, when not by name from an index.

    ``kind`` is ``archive``, ``vcs``, ``directory`` or ``editable``, empty when nothing is said; ``url`` is
    without credentials and query, empty for places on a machine. ``hashes`` are the archive's, by algorithm.
    """

    kind: str = ""
    url: str = ""
    commit: str = ""
    hashes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution. ``expression`` is an SPDX expression and stands alone, else ``licences``.

    ``record`` is the SHA-256 of RECORD, which has the digest of each file; empty when there is none.
    """

    name: str
    version: str
    expression: str
    licences: tuple[str, ...]
    origin: Origin
    record: str


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed, by name and version, and what could not be read."""

    packages: tuple[Package, ...]
    unread: tuple[str, ...]


def read_environment(directories: Sequence[str]) -> Environment:
    """All distributions in directories of an interpreter's path, links to one directory counted once."""
    packages: list[Package] = []
    unread: list[str] = []
    for directory in dict.fromkeys(os.path.realpath(one) for one in directories):
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            unread.append(f"{directory}: {error.strerror}")
            continue
        found = [name for name in names if name.endswith((".dist-info", ".egg-info", ".egg-link", ".egg"))]
        if len(found) > MAX_DISTRIBUTIONS:
            unread.append(f"{directory}: more than {MAX_DISTRIBUTIONS:,} distributions")
        for name in found[:MAX_DISTRIBUTIONS]:
            package = _package(os.path.join(directory, name))
            if package is None:
                unread.append(f"{directory}/{name}: says neither name nor version")
            else:
                packages.append(package)
    packages.sort(key=lambda one: (normalised(one.name), one.version, one.record, repr(one)))
    return Environment(tuple(packages), tuple(unread))


def _package(info: str) -> Package | None:
    """What lies in a folder or file of metadata says; None when it does not even name itself."""
    if info.endswith((".egg-link", ".egg")):
        return None
    inside = ("METADATA",) if info.endswith(".dist-info") else ("PKG-INFO", "")
    data = None
    for name in inside:
        data = data or read_small(os.path.join(info, name) if name else info, MAX_SMALL, cut=True)
    fields = list(header_fields(data or b""))
    name, version = _first(fields, "name"), _first(fields, "version")
    if not name or not version:
        return None
    expression = _first(fields, "license-expression")
    record = read_small(os.path.join(info, "RECORD"), MAX_RECORD)
    return Package(
        name,
        version,
        expression,
        () if expression else _licences(fields),
        _origin(read_small(os.path.join(info, "direct_url.json"), MAX_SMALL)),
        hashlib.sha256(record).hexdigest() if record is not None else "",
    )


def _first(fields: Sequence[tuple[str, str]], name: str) -> str:
    """The first value of that name when it is one line of some length; else empty."""
    value = next((value for key, value in fields if key == name), "")
    return value if len(value) <= MAX_TEXT and value.isprintable() else ""


def _licences(fields: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The licence as its author wrote it, else by classifiers; whole texts of licences are left out."""
    stated = _first(fields, "license")
    if stated and stated.upper() != "UNKNOWN":
        return (stated,)
    found = []
    for key, value in fields:
        kind, *rest = value.split(" :: ")
        if key == "classifier" and kind == "License" and rest and rest[-1] != "OSI Approved":
            found.append(rest[-1][:MAX_TEXT])
    return tuple(sorted(set(found))[:MAX_LICENCES])


def _origin(data: bytes | None) -> Origin:
    try:
        value = json.loads(data) if data is not None else None
    except (ValueError, RecursionError):
        return Origin()
    if not isinstance(value, dict):
        return Origin()
    url = _public(value.get("url"))
    vcs, archive, folder = (value.get(key) for key in ("vcs_info", "archive_info", "dir_info"))
    if isinstance(vcs, dict):
        commit = vcs.get("commit_id")
        kind = vcs.get("vcs")
        scheme = kind if isinstance(kind, str) and kind in ("git", "hg", "bzr", "svn") else ""
        known = isinstance(commit, str) and _COMMIT.match(commit) is not None
        return Origin("vcs", f"{scheme}+{url}" if url and scheme else url, str(commit) if known else "")
    if isinstance(archive, dict):
        return Origin("archive", url, "", _hashes(archive))
    if isinstance(folder, dict):
        return Origin("editable" if folder.get("editable") is True else "directory")
    return Origin()


def _hashes(archive: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Digests of an archive; the older spelling is one text ``sha256=…``."""
    stated = archive.get("hashes")
    pairs = dict(stated) if isinstance(stated, dict) else {}
    older = archive.get("hash")
    if not pairs and isinstance(older, str):
        algorithm, _, digest = older.partition("=")
        pairs = {algorithm: digest}
    return tuple(
        (algorithm, pairs[algorithm])
        for algorithm, length in _DIGEST_LENGTHS.items()
        if isinstance(pairs.get(algorithm), str)
        and len(pairs[algorithm]) == length
        and _HEX.match(pairs[algorithm])
    )


def _public(url: object) -> str:
    """A URL without what may be secret; empty for places on this machine and for what is none."""
    if not isinstance(url, str) or len(url) > 2000 or not _URL.match(url):
        return ""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https", "ssh", "git") or not host:
        return ""
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
