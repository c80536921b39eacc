"""Lock files: which archives an environment may have been installed from, by their SHA-256.

``uv.lock``, ``pylock.toml`` (PEP 751) and requirements files with ``--hash``. What has no archive with a
digest (an editable install, a folder, a version control system) is named apart: nothing can be compared.

Formats: https://packaging.python.org/en/latest/specifications/pylock-toml/ ·
https://docs.astral.sh/uv/concepts/projects/layout/ · https://pip.pypa.io/en/stable/topics/secure-installs/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..core.errors import EvidenceError
from ..core.packagename import normalised
from .toml import read_toml
from .wheel import wheel_name

MAX_LOCK = 64 << 20
MAX_ARCHIVES = 500_000
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-fA-F]{64})(?=\s|\Z)")
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s{0,99}(\[[^\]]*\])?\s{0,99}===?\s{0,99}([^\s;,]+)")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class LockedArchive:
    """An archive that a lock file names.

    ``name`` is normalised (PEP 503). ``filename`` is empty where the lock gives a digest alone; ``url`` is
    where it can be fetched, empty when that is not said; ``size`` in bytes, -1 when not said.
    """

    name: str
    version: str
    filename: str
    sha256: str
    url: str
    size: int
    lock: str

    @property
    def is_wheel(self) -> bool:
        """Whether it may be a wheel."""
        return not self.filename or self.filename.endswith(".whl")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: its archives, what it locks otherwise (name → how), and lines that were passed over."""

    path: str
    archives: tuple[LockedArchive, ...]
    others: Mapping[str, str]
    passed: tuple[str, ...] = ()


def read_lock(path: Path) -> Lock:
    """Read a lock file of any known form; raises EvidenceError when it is of none, or cannot be read."""
    if path.suffix == ".toml" or path.name.endswith(".lock"):
        document = read_toml(path, MAX_LOCK)
        if "lock-version" in document:
            return _pylock(path, document)
        if "package" in document:
            return _uv(path, document)
        raise EvidenceError(f"{path} is neither a uv.lock nor a pylock.toml")
    return _requirements(path)


# --- TOML -----------------------------------------------------------------------------------------------


def _uv(path: Path, document: Mapping[str, object]) -> Lock:
    archives: list[LockedArchive] = []
    others: dict[str, str] = {}
    for package in _tables(document.get("package")):
        name, version = normalised(_text(package, "name")), _text(package, "version")
        found = [*_tables(package.get("wheels")), *_tables([package.get("sdist")])]
        for one in found:
            sha256 = _text(one, "hash").removeprefix("sha256:")
            url = _text(one, "url")
            filename = _text(one, "filename") or _last(url or _text(one, "path"))
            archives += _archive(path, name, version, filename, sha256, url, one)
        if not found and name:
            source = package.get("source")
            others[name] = next(iter(source), "") if isinstance(source, dict) else ""
    return Lock(str(path), tuple(archives[:MAX_ARCHIVES]), others)


def _pylock(path: Path, document: Mapping[str, object]) -> Lock:
    if not _text(document, "lock-version").startswith("1."):
        raise EvidenceError(f"{path} has a lock-version that is not known here")
    archives: list[LockedArchive] = []
    others: dict[str, str] = {}
    for package in _tables(document.get("packages")):
        name, version = normalised(_text(package, "name")), _text(package, "version")
        found = [*_tables(package.get("wheels")), *_tables([package.get("sdist"), package.get("archive")])]
        for one in found:
            hashes = one.get("hashes")
            sha256 = _text(hashes, "sha256") if isinstance(hashes, dict) else ""
            url = _text(one, "url")
            filename = _text(one, "name") or _last(url or _text(one, "path"))
            archives += _archive(path, name, version, filename, sha256, url, one)
        if not found and name:
            others[name] = next((kind for kind in ("directory", "vcs") if kind in package), "")
    return Lock(str(path), tuple(archives[:MAX_ARCHIVES]), others)


def _archive(
    path: Path, name: str, version: str, filename: str, sha256: str, url: str, one: Mapping[str, object]
) -> Iterator[LockedArchive]:
    sha256 = sha256.lower()
    if not name or not _SHA256.match(sha256):
        return
    if not version and (found := wheel_name(filename)) is not None:
        version = found.version
    size = one.get("size")
    yield LockedArchive(
        name, version, filename, sha256, url, size if isinstance(size, int) and size >= 0 else -1, str(path)
    )


def _tables(value: object) -> Iterator[Mapping[str, object]]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) and len(value) <= 4096 else ""


def _last(url: str) -> str:
    try:
        return unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError:
        return ""


# --- requirements ---------------------------------------------------------------------------------------


def _requirements(path: Path) -> Lock:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOCK + 1)
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_LOCK:
        raise EvidenceError(f"{path} is larger than {MAX_LOCK >> 20} MiB")
    archives: list[LockedArchive] = []
    passed: list[str] = []
    for line in _logical(data.decode("utf-8-sig", "replace")):
        pinned = _PINNED.match(line)
        digests = _HASH.findall(line)
        if pinned is None or not digests:
            if not line.startswith(("--hash", "-i ", "--index-url", "--extra-index-url", "--only-binary")):
                passed.append(line[:200])
            continue
        name, version = normalised(pinned[1]), pinned[3]
        archives += [
            LockedArchive(name, version, "", digest.lower(), "", -1, str(path)) for digest in digests
        ]
    if not archives:
        raise EvidenceError(
            f"{path} names no archive by its SHA-256",
            remedy="lock with hashes: `pip-compile --generate-hashes`, `uv export`, or `uv lock`",
        )
    return Lock(str(path), tuple(archives[:MAX_ARCHIVES]), {}, tuple(passed[:1000]))


def _logical(text: str) -> Iterator[str]:
    """Lines without comments, those that end with a backslash joined with the next."""
    waiting = ""
    for line in text.splitlines():
        bare = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if bare.endswith("\\"):
            waiting += bare[:-1] + " "
            continue
        whole, waiting = (waiting + bare).strip(), ""
        if whole:
            yield whole
    if waiting.strip():
        yield waiting.strip()
