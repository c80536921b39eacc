"""Where the archives of an environment are had from, and what is remembered of them.

A lock file names archives by digest; a folder of wheels may hold them, and may stand for a lock when there
is none. What an archive holds is remembered under its digest, so that it is unpacked once. The memory lies
in the home and is worth what the home is worth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from ..core.errors import EvidenceError, TransportError, VerificationError
from ..core.packagename import normalised
from ..ledger.files import write_private
from ..observe.lockfile import Lock, LockedArchive
from ..observe.pyenv import Distribution, comparable
from ..observe.torchzip import FileDigest, digest_file
from ..observe.wheel import Wheel, WheelFile, read_archive, read_wheel, wheel_name

FORMAT = 1
MAX_REMEMBERED = 256 << 20
MAX_LISTED = 100_000
BUNDLED = frozenset({"pip", "setuptools", "wheel"})
"""What Python brings wheels of: one of another name beside them was put there."""

Fetch: TypeAlias = Callable[[LockedArchive], IO[bytes]]
"""Brings an archive whose SHA-256 is as named; raises TransportError or VerificationError."""
Names: TypeAlias = Callable[[str], Sequence[LockedArchive]]
"""What an index names for a distribution; raises TransportError."""


@dataclass(frozen=True, slots=True)
class Network:
    """What may be asked over the network: where archives are fetched, and the indexes that name them."""

    fetch: Fetch | None = None
    indexes: tuple[Names, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """An archive that vouches for a distribution: what names it, and its content or why there is none."""

    archive: LockedArchive
    wheel: Wheel | None
    reason: str = ""


class _Remembered(msgspec.Struct):
    """What is remembered of a wheel."""

    format: int
    name: str
    version: str
    tags: tuple[str, ...]
    files: tuple[WheelFile, ...]
    commands: dict[str, str]
    unlike_record: tuple[str, ...]


class Archives:
    """The archives that ``locks`` name, or, without locks, those in ``folders``. ``cache`` remembers.

    ``bundled``: folders with wheels that come with Python and that it makes environments with (``pip``).
    They vouch for what nothing else names.
    """

    def __init__(
        self,
        cache: Path,
        locks: Sequence[Lock],
        folders: Sequence[Path],
        bundled: Sequence[Path] = (),
        network: Network | None = None,
    ) -> None:
        self._cache = cache
        self._network = network if network is not None else Network()
        self._locked = bool(locks)
        self._others = {name: how for lock in locks for name, how in lock.others.items()}
        self._named: dict[str, list[LockedArchive]] = {}
        for lock in locks:
            for archive in lock.archives:
                self._named.setdefault(archive.name, []).append(archive)
        self._in_folders = _by_name(folders)
        self._bundled = {name: paths for name, paths in _by_name(bundled).items() if name in BUNDLED}
        self._digests: dict[Path, Future[FileDigest | str]] = {}

    def begin(self, distributions: Iterable[Distribution]) -> None:
        """Begin to digest the wheels in folders that these may have come from and no lock names by digest.

        Threads do it beside other work; what is compared with a wheel later waits for its digest.
        """
        paths = [
            path
            for one in distributions
            for path in self._unnamed(normalised(one.name))
            if (parsed := wheel_name(path.name)) is not None and is_version(one.version, parsed.version)
        ]
        pool = ThreadPoolExecutor(os.cpu_count() or 1, "digest-wheels")
        self._digests = {path: pool.submit(digest_file, os.fspath(path)) for path in dict.fromkeys(paths)}
        pool.shutdown(wait=False)

    def ask(self, name: str) -> str:
        """Ask the indexes about a distribution that no lock names; why that failed, empty when it did not."""
        name = normalised(name)
        if name in self._named or name in self._others:
            return ""
        found: list[LockedArchive] = []
        for index in self._network.indexes:
            try:
                found += index(name)
            except (TransportError, EvidenceError) as error:
                return str(error)
        if found:
            self._named[name] = found
        return ""

    @property
    def is_locked(self) -> bool:
        """Whether a lock file says what belongs here, not only a folder of wheels."""
        return self._locked

    def how_else(self, name: str) -> str | None:
        """How a lock locks a distribution that has no archive (``editable``, ``directory``, ``vcs`` …)."""
        return self._others.get(normalised(name))

    def versions(self, name: str) -> list[str]:
        """The versions of a distribution that are named, those of Python's own wheels last."""
        name = normalised(name)
        named = [one.version for one in self._named.get(name, ())]
        found = (wheel_name(path.name) for path in self._unnamed(name))
        return list(dict.fromkeys([*named, *(one.version for one in found if one is not None)]))

    def _unnamed(self, name: str) -> list[Path]:
        """The wheels that may vouch for a distribution without a lock that names them."""
        in_folders = [] if self._locked or name in self._named else self._in_folders.get(name, [])
        return [*in_folders, *self._bundled.get(name, [])]

    def of(self, name: str, version: str, tags: Sequence[str]) -> Iterator[Found]:
        """Each archive of a version, those that fit an installation's ``tags`` first."""
        name = normalised(name)
        candidates = self._candidates(name, version) or self._in(self._bundled, name, version)
        wanted = set(tags)
        fitting = [one for one in candidates if _fits(one.filename, wanted)]
        for archive in fitting or candidates:
            yield self._content(archive)

    def _candidates(self, name: str, version: str) -> list[LockedArchive]:
        if self._locked or name in self._named:
            wheels = [one for one in self._named.get(name, ()) if one.is_wheel]
            return [one for one in wheels if is_version(version, one.version)]
        return self._in(self._in_folders, name, version)

    @staticmethod
    def _in(folders: Mapping[str, Sequence[Path]], name: str, version: str) -> list[LockedArchive]:
        found = []
        for path in folders.get(name, ()):
            parsed = wheel_name(path.name)
            if parsed is not None and is_version(version, parsed.version):
                found.append(LockedArchive(name, version, path.name, "", "", -1, str(path.parent)))
        return found

    def _content(self, archive: LockedArchive) -> Found:
        if archive.sha256 and (known := self._remembered(archive.sha256)) is not None:
            return Found(self._called(archive), known)
        reasons = []
        for path in (*self._in_folders.get(archive.name, ()), *self._bundled.get(archive.name, ())):
            if archive.filename and path.name != archive.filename:
                continue
            if not archive.sha256 and os.fspath(path.parent) != archive.lock:
                continue
            try:
                digest, wheel = self._read(path, archive.sha256)
            except EvidenceError as error:
                reasons.append(str(error))
                continue
            return Found(replace(archive, sha256=digest, filename=path.name), wheel)
        if self._network.fetch is not None and archive.url:
            try:
                with self._network.fetch(archive) as file:
                    wheel = read_archive(file, archive.filename)
            except (TransportError, VerificationError, EvidenceError) as error:
                return Found(archive, None, str(error))
            self._remember(archive.sha256, wheel)
            return Found(archive, wheel)
        where = (
            "and may not be fetched (--fetch)" if archive.url else "and no place to fetch it from is known"
        )
        return Found(archive, None, "; ".join(reasons) or f"it lies in none of the folders, {where}")

    def _called(self, archive: LockedArchive) -> LockedArchive:
        """With a name for people, where the lock gives a digest alone."""
        return archive if archive.filename else replace(archive, filename=f"{archive.name}-{archive.version}")

    def _read(self, path: Path, sha256: str) -> tuple[str, Wheel]:
        """A wheel in a folder; what it holds is remembered by its digest."""
        begun = self._digests.pop(path, None)
        found = None if sha256 else digest_file(os.fspath(path)) if begun is None else begun.result()
        if isinstance(found, FileDigest) and not found.changed:
            known = self._remembered(found.sha256)
            if known is not None:
                return found.sha256, known
        digest, wheel = read_wheel(path, sha256)
        self._remember(digest, wheel)
        return digest, wheel

    # --- memory ----------------------------------------------------------------------------------

    def _remembered(self, sha256: str) -> Wheel | None:
        try:
            with self._place(sha256).open("rb") as file:
                one = msgspec.json.decode(file.read(MAX_REMEMBERED), type=_Remembered)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if one.format != FORMAT:
            return None
        return Wheel(one.name, one.version, one.tags, one.files, one.commands, one.unlike_record)

    def _remember(self, sha256: str, wheel: Wheel) -> None:
        one = _Remembered(
            FORMAT,
            wheel.name,
            wheel.version,
            wheel.tags,
            wheel.files,
            dict(wheel.commands),
            wheel.unlike_record,
        )
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._place(sha256), msgspec.json.encode(one))

    def _place(self, sha256: str) -> Path:
        return self._cache / f"archive-{sha256}.json"


def is_version(installed: str, named: str) -> bool:
    """Whether an installed version is the one named; a name without a local part (``+cpu``) allows any."""
    if comparable(installed) == comparable(named):
        return True
    return "+" not in named and comparable(installed.partition("+")[0]) == comparable(named)


def _fits(filename: str, tags: set[str]) -> bool:
    parsed = wheel_name(filename)
    return parsed is not None and not parsed.tags.isdisjoint(tags)


def _by_name(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """The wheels in folders by the normalised names of their distributions."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _wheels(folder):
            name = wheel_name(path.name)
            if name is not None:
                found.setdefault(normalised(name.name), []).append(path)
    return found


def _wheels(folder: Path) -> list[Path]:
    """The wheels in a folder; raises EvidenceError when it cannot be listed."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
    except OSError as error:
        raise EvidenceError(f"{folder} cannot be read: {error.strerror or error}") from error
    return [folder / name for name in names[:MAX_LISTED]]
