"""Distributions of a Python environment, and where each file of theirs should lie with which content.

Read from ``*.dist-info`` alone (names, RECORD, INSTALLER, direct_url.json): nothing is imported or executed,
and the interpreter need not be the one that runs this. RECORD is what the installer wrote; it lies in the
same writable folder as the files, so it finds edits, not a careful adversary who edits it too.

Format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import binascii
import csv
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.packagename import normalised

MAX_RECORD = 64 << 20
MAX_SMALL = 256 << 10
MAX_LINES = 1_000_000
MAX_DISTRIBUTIONS = 10_000
MAX_PATH = 4096
MAX_ORDERS = 20_000
MAX_LINES_WITH = 100
_EMPTY_LINE = re.compile(rb"(?:\A|\n)\r*\n")

# Top-level names that many projects use for their own folders and some wheels install by mistake.
_GENERIC = frozenset(
    {
        *("bench", "benchmark", "benchmarks", "config", "conftest", "data", "demo", "demos", "doc", "docs"),
        *("example", "examples", "helpers", "lib", "main", "model", "models", "sample", "samples"),
        *("scripts", "setup", "src", "test", "tests", "tools", "train", "utils"),
    }
)
# What nobody calls a module of their own that is to be imported.
_NOBODYS_OWN = frozenset({"torch", "numpy"})


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution. ``installer`` is what INSTALLER says, empty when it says nothing."""

    name: str
    version: str
    installer: str
    editable: bool
    directory: str
    info: str


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One RECORD line. ``path`` is the absolute recorded place; ``sha256`` is empty when RECORD has none,
    ``size`` -1."""

    distribution: Distribution
    path: str
    sha256: str
    size: int


class RecordIndex:
    """Looks files up in the RECORDs of the distributions found in ``directories`` (a ``sys.path``).

    RECORD files are parsed when a file is looked up that the distribution could own.
    """

    def __init__(self, directories: Sequence[str]) -> None:
        self._roots: dict[str, list[Distribution]] = {}
        self._records: dict[str, dict[str, tuple[str, int]]] = {}
        self._raw: dict[str, bytes] = {}
        self._orders: dict[tuple[str, str], list[Distribution]] = {}
        self._resolved: dict[str, str] = {}
        self.unreadable: list[str] = []
        for directory in directories:
            self.add(directory)

    def add(self, directory: str) -> None:
        """Look in ``directory`` too, after those already known; one that does not exist is passed over."""
        root = os.path.realpath(directory) if directory else ""
        if root and root not in self._roots and os.path.isdir(root):
            self._roots[root] = list_distributions(root)
            self._orders.clear()

    def distributions(self) -> list[Distribution]:
        """All distributions, in the order of the directories, then by name."""
        return [distribution for found in self._roots.values() for distribution in found]

    def lookup(self, path: str) -> RecordEntry | None:
        """The RECORD entry of the file at ``path``, as named or behind its symbolic links."""
        for candidate in self._spellings(path):
            for root in self._roots:
                if candidate.startswith(root + os.sep):
                    entry = self._entry(root, candidate[len(root) + 1 :])
                    if entry is not None:
                        return entry
        return None

    def vouches(self, path: str, sha256: str) -> bool:
        """Whether any RECORD has this digest for the file: a stale one may stand before the true one."""
        return any(
            self._record(distribution).get(candidate[len(root) + 1 :], ("", -1))[0] == sha256
            for candidate in self._spellings(path)
            for root, found in self._roots.items()
            if candidate.startswith(root + os.sep)
            for distribution in found
            if candidate[len(root) + 1 :].encode("utf-8", "surrogateescape") in self._bytes(distribution)
        )

    def elsewhere(self, path: str, module: str) -> RecordEntry | None:
        """The entry that RECORD has for ``module`` at another place than ``path``; None when there is none.

        A file ``torch.py`` stands in the place of the package ``torch``, and the other way round; of other
        names projects have modules of their own (``evaluate.py``, ``datasets.py``). A file of a distribution
        that RECORD knows at ``path`` itself is not elsewhere. Generic top-level names (``tests``, ``utils``
        …) are never claimed for a distribution.
        """
        relative = _relative(path, module)
        if not relative or relative.split("/")[0].removesuffix(".py") in _GENERIC:
            return None
        if self.lookup(path) is not None:
            return None
        forms = [relative]
        if relative.split("/")[0].removesuffix(".py") in _NOBODYS_OWN:
            forms.append(_other_form(relative))
        for spelling in forms:
            for root in self._roots:
                if os.path.exists(os.path.join(root, spelling.split("/")[0])):
                    entry = self._entry(root, spelling)
                    if entry is not None:
                        return entry
        return None

    def is_editable(self, info: str) -> bool:
        """Whether the distribution described in the folder ``info`` is an editable install."""
        real = os.path.realpath(info)
        return any(one.editable and os.path.realpath(one.info) == real for one in self.distributions())

    def outside(self, distribution: Distribution, relative: str) -> str | None:
        """The digest (empty when RECORD has none) of a file that lies outside the distribution's directory.

        ``relative`` is its path from there (``../../lib…``); None when RECORD does not name it.
        """
        start = b"\n" + relative.replace(os.sep, "/").encode("utf-8", "surrogateescape") + b","
        data = b"\n" + self._bytes(distribution)
        at = data.find(start)
        if at < 0:
            return None
        return _sha256(data[at + len(start) :].split(b"\n", 1)[0].split(b",")[0].decode("ascii", "replace"))

    def _entry(self, root: str, relative: str) -> RecordEntry | None:
        """The entry for a path below ``root``, from the likeliest distribution first."""
        relative = relative.replace(os.sep, "/")
        key = relative.encode("utf-8", "surrogateescape")
        for distribution in self._likeliest(root, relative.split("/")[0].removesuffix(".py")):
            if key not in self._bytes(distribution):
                continue
            found = self._recorded(distribution, relative, key)
            if found is not None:
                return RecordEntry(distribution, os.path.join(root, relative), found[0], found[1])
        return None

    def _recorded(self, distribution: Distribution, relative: str, key: bytes) -> tuple[str, int] | None:
        """What RECORD says of one path, from the lines with its bytes alone where that is enough."""
        if distribution.info not in self._records:
            lines = _lines_with(self._bytes(distribution), key)
            if len(lines) < MAX_LINES_WITH:
                return parse_record(b"\n".join(lines)).get(relative)
        return self._record(distribution).get(relative)

    def _likeliest(self, root: str, top: str) -> list[Distribution]:
        """The distributions of ``root``, those named like the top-level package first."""
        known = self._orders.get((root, top))
        if known is None:
            if len(self._orders) > MAX_ORDERS:
                self._orders.clear()
            name = normalised(top)
            known = sorted(self._roots[root], key=lambda distribution: normalised(distribution.name) != name)
            self._orders[root, top] = known
        return known

    def _spellings(self, path: str) -> list[str]:
        """``path`` with its directory resolved, and wholly resolved: a file may be a link into a cache."""
        absolute = os.path.abspath(path)
        directory, name = os.path.split(absolute)
        resolved = self._resolved.get(directory)
        if resolved is None:
            if len(self._resolved) > MAX_ORDERS:
                self._resolved.clear()
            resolved = self._resolved[directory] = os.path.realpath(directory)
        named = os.path.join(resolved, name)
        whole = os.path.realpath(named) if os.path.islink(named) else named
        return list(dict.fromkeys((whole, named, absolute)))

    def _bytes(self, distribution: Distribution) -> bytes:
        data = self._raw.get(distribution.info)
        if data is None:
            data = read_small(os.path.join(distribution.info, "RECORD"), MAX_RECORD)
            if data is None:
                self.unreadable.append(os.path.join(distribution.info, "RECORD"))
                data = b""
            self._raw[distribution.info] = data
        return data

    def _record(self, distribution: Distribution) -> dict[str, tuple[str, int]]:
        parsed = self._records.get(distribution.info)
        if parsed is None:
            parsed = parse_record(self._bytes(distribution))
            self._records[distribution.info] = parsed
        return parsed


def site_directories(python: str, version: str, environment: Mapping[str, str]) -> list[str]:
    """Directories in which an interpreter finds distributions, without running it.

    ``python`` is its path as called (the link inside a virtual environment), ``version`` such as ``3.11``.
    PYTHONPATH comes first, then the environment's own, the account's and the base installation's.
    """
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    folder = f"python{version}"
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    bases = [prefix]
    settings = read_settings(prefix)
    if settings is None or settings.get("include-system-site-packages", "").lower() == "true":
        if settings and settings.get("home"):
            bases.append(os.path.dirname(settings["home"].rstrip("/")))
        bases.append(os.path.dirname(os.path.dirname(os.path.realpath(python))))
        home = environment.get("PYTHONUSERBASE") or os.path.join(environment.get("HOME", ""), ".local")
        if not environment.get("PYTHONNOUSERSITE") and os.path.isabs(home):
            entries.append(os.path.join(home, "lib", folder, "site-packages"))
    for base in bases:
        entries.append(os.path.join(base, "lib", folder, "site-packages"))
        entries.append(os.path.join(base, "lib64", folder, "site-packages"))
        # Debian keeps its own packages apart.
        entries.append(os.path.join(base, "lib", "python3", "dist-packages"))
        entries.append(os.path.join(base, "local", "lib", folder, "dist-packages"))
    return [entry for entry in dict.fromkeys(entries) if os.path.isdir(entry)]


def read_settings(prefix: str) -> dict[str, str] | None:
    """What ``pyvenv.cfg`` says, as Python reads it; None without one.

    The interpreter takes the first ``home`` and ends lines with line feeds alone; the module ``site`` takes
    the last line of any other key, and ends lines with carriage returns, too.
    """
    data = read_small(os.path.join(prefix, "pyvenv.cfg"), MAX_SMALL, cut=True)
    if data is None:
        return None
    text = os.fsdecode(data)
    found = dict(_pairs(re.split("[\r\n]", text)))
    homes = [value for key, value in _pairs(text.split("\n")) if key == "home"]
    return {**found, "home": homes[0] if homes else ""}


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key, equals, value in (line.partition("=") for line in lines):
        if equals:
            yield key.strip().lower(), value.strip()


def import_root(path: str, module: str) -> str:
    """The directory on ``sys.path`` from which ``module`` at ``path`` was imported; empty when unknown."""
    relative = _relative(path, module)
    return os.path.abspath(path)[: -len(relative) - 1] if relative else ""


def list_distributions(directory: str) -> list[Distribution]:
    """Distributions installed in ``directory``, by name; an unreadable directory has none."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".dist-info"))
    except OSError:
        return []
    return [_distribution(directory, name) for name in names[:MAX_DISTRIBUTIONS]]


def parse_record(data: bytes) -> dict[str, tuple[str, int]]:
    """RECORD's lines as relative path → (sha256 in hexadecimal or empty, size or -1).

    Paths that are absolute or leave the directory (scripts, data files) are left out, as are malformed
    lines; lines beyond ``MAX_LINES`` are not read.
    """
    entries: dict[str, tuple[str, int]] = {}
    for line in data.splitlines()[:MAX_LINES]:
        text = line.decode("utf-8", "surrogateescape")
        fields = _quoted(text) if '"' in text else text.rsplit(",", 2)
        if len(fields) != 3 or not fields[0] or len(fields[0]) > MAX_PATH:
            continue
        path = fields[0].replace("\\", "/")
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            continue
        entries[path.removeprefix("./")] = (_sha256(fields[1]), _size(fields[2]))
    return entries


def comparable(version: str) -> tuple[object, ...]:
    """A version by what it says, not how: ``1.0`` and ``v1.00.0`` are one (PEP 440, its normal forms).

    Alike spellings of pre-releases (``1.0rc1``, ``1.0c1``) are told apart.
    """
    public, _, local = version.lower().strip().lstrip("v").replace("_", "+", 1).partition("+")
    parts = [int(one) if one.isdigit() else one for one in re.findall(r"[0-9]{1,18}|[a-z]+", public)]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return (*parts, "+", *re.findall(r"[0-9a-z]+", local)) if local else tuple(parts)


def header_fields(data: bytes) -> Iterator[tuple[str, str]]:
    """Headers of METADATA or WHEEL, names in small letters; a value of several lines has line breaks."""
    name, value = "", ""
    # What follows the first empty line is a description, often a long one.
    end = _EMPTY_LINE.search(data)
    for line in (data[: end.end()] if end else data).decode("utf-8", "replace").split("\n"):
        text = line.rstrip("\r")
        if text[:1] in (" ", "\t"):
            value += "\n" + text.strip()
            continue
        if name:
            yield name, value
        if not text:
            return
        key, colon, value = text.partition(":")
        name, value = (key.lower(), value.strip()) if colon else ("", "")
    if name:
        yield name, value


def _lines_with(data: bytes, key: bytes) -> list[bytes]:
    """The first lines that hold ``key``, which has no line breaks: at most ``MAX_LINES_WITH``."""
    lines: list[bytes] = []
    at = data.find(key)
    while at >= 0 and len(lines) < MAX_LINES_WITH:
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        lines.append(data[data.rfind(b"\n", 0, at) + 1 : end])
        at = data.find(key, end)
    return lines


def _quoted(text: str) -> list[str]:
    if len(text) > 4 * MAX_PATH:
        return []
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return []


def _sha256(text: str) -> str:
    """Hexadecimal of ``sha256=<urlsafe base64 without padding>``; empty for anything else."""
    algorithm, _, value = text.partition("=")
    if algorithm != "sha256" or len(value) != 43:
        return ""
    try:
        raw = base64.b64decode(value + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex()


def _size(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1


def _distribution(directory: str, folder: str) -> Distribution:
    info = os.path.join(directory, folder)
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    for key, value in header_fields(read_small(os.path.join(info, "METADATA"), MAX_SMALL, cut=True) or b""):
        if key == "name" and value:
            name = value[:200]
        elif key == "version" and value:
            version = value[:200]
    tool = read_small(os.path.join(info, "INSTALLER"), 200, cut=True) or b""
    installer = tool.decode("utf-8", "replace").strip()
    return Distribution(name, version, installer, _is_editable(info), directory, info)


def _is_editable(info: str) -> bool:
    data = read_small(os.path.join(info, "direct_url.json"), MAX_SMALL)
    if data is None:
        return False
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    details = value.get("dir_info") if isinstance(value, dict) else None
    return isinstance(details, dict) and details.get("editable") is True


def read_small(path: str, limit: int, *, cut: bool = False) -> bytes | None:
    """A regular file's bytes; None when absent, unreadable or larger than ``limit`` (``cut``: cut there)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError:
            return None
    if len(data) > limit:
        return data[:limit] if cut else None
    return data


def _other_form(relative: str) -> str:
    """The path of a package of the same name, of a module's path; of a package's, the module's."""
    if relative.endswith("/__init__.py"):
        return relative.removesuffix("/__init__.py") + ".py"
    return relative.removesuffix(".py") + "/__init__.py"


def _relative(path: str, module: str) -> str:
    """The path of ``module`` relative to the directory it was imported from; empty when they do not fit."""
    parts = module.split(".")
    stem = "/".join(parts)
    posix = os.path.abspath(path).replace(os.sep, "/")
    for relative in (f"{stem}.py", f"{stem}/__init__.py"):
        if posix.endswith("/" + relative):
            return relative
    return ""
