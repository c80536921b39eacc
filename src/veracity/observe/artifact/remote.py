"""Files behind URLs, read in bounded pieces through fsspec, which only this module imports.

Nothing is kept on disk: filesystems that do so are refused. What a library of a filesystem raises is its own,
so each of its failures is told as one of reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ...core.errors import Error, EvidenceError, UsageError
from .url import said_safely, shown

PIECE = 4 << 20
"""Bytes that are asked for at a time."""
MAX_PIECES = 8
"""Pieces of one file that are held."""
MAX_LISTED = 1_000_000
_ON_DISK = frozenset({"blockcache", "cached", "filecache", "simplecache"})
_TOLD = (
    *("ETag", "etag", "mtime", "LastModified", "last_modified", "Last-Modified", "updated", "modified"),
    *(
        "generation",
        "VersionId",
        "version_id",
        "md5",
        "md5Hash",
        "crc32c",
        "checksum",
        "Content-MD5",
        "Digest",
    ),
    *("ino", "sha256", "blob_id", "created"),
)
"""What filesystems say of a file that changes when it does."""


class _FileSystem(Protocol):
    """What is used of a filesystem of fsspec."""

    def info(self, path: str) -> Mapping[str, object]: ...
    def ls(self, path: str, detail: bool) -> list[Mapping[str, object]]: ...
    def open(self, path: str, mode: str, *, block_size: int, cache_type: str) -> BinaryIO: ...
    def modified(self, path: str) -> object: ...
    def invalidate_cache(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """Something in a folder: its ``name`` there, ``kind`` (``file``, ``directory``, other), bytes or -1."""

    name: str
    kind: str
    size: int


def check_url(url: str) -> None:
    """Raise UsageError for a URL that cannot be read here at all: a package or the filesystem is unknown."""
    protocol = url.partition("://")[0].lower()
    if "::" in url or protocol in _ON_DISK:
        raise UsageError(
            "URLs through other URLs, and those that are copied to disk first, are not read",
            where=shown(url),
            remedy="name the file itself",
        )
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(
            "reading from URLs needs the package fsspec",
            where=shown(url),
            remedy="pip install 'veracity[fsspec]'",
        ) from error
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise UsageError(
            f"reading from {protocol}:// needs a package: {said_safely(str(error), url)}",
            where=shown(url),
            remedy="install it beside veracity",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{protocol}:// is no filesystem that fsspec knows",
            where=shown(url),
            remedy="write a path of this machine as ./…, if it is one",
        ) from error


class RemoteFolder:
    """What lies behind a URL: a file, or a folder. Raises EvidenceError when it cannot be asked."""

    def __init__(self, url: str) -> None:
        self._url = url
        with _told(url):
            self._system, self._path = _opened(url)

    def kind(self) -> Listed:
        """What the URL names."""
        with _told(self._url):
            return _listed("", self._system.info(self._path))

    def names(self, below: str) -> list[Listed]:
        """What lies in the folder ``below``, a path from here; sorted. What lies elsewhere has no name."""
        folder = f"{self._path.rstrip('/')}/{below}" if below else self._path
        start = folder.strip("/") + "/" if folder.strip("/") else ""
        found: dict[str, Listed] = {}
        with _told(self._url):
            entries = self._system.ls(folder, detail=True)
            if len(entries) > MAX_LISTED:
                raise EvidenceError(f"holds more than {MAX_LISTED:,} names", where=shown(self._url))
            for one in entries:
                whole = str(one.get("name", "")).strip("/")
                name = whole[len(start) :] if whole.startswith(start) else ""
                if name and "/" not in name and name not in (".", ".."):
                    found[name] = self._behind(_listed(name, one), folder)
                elif whole + "/" != start:  # object stores list the folder itself
                    found[""] = _listed("", one)
        return [found[name] for name in sorted(found)]

    def _behind(self, one: Listed, folder: str) -> Listed:
        """What a link leads to, where a listing says of it only that it is something else."""
        if one.kind in ("file", "directory"):
            return one
        try:
            with _told(self._url):
                what = _listed(one.name, self._system.info(f"{folder.rstrip('/')}/{one.name}"))
        except EvidenceError:
            return one
        return what if what.kind == "file" else one


class RemoteSource:
    """A file behind a URL. What is read of it is held, a few pieces of it; the file itself nowhere."""

    def __init__(self, url: str) -> None:
        """Open it; raises EvidenceError when it is no file or does not say how long it is."""
        self._url = url
        with _told(url):
            self._system, self._path = _opened(url)
            info = self._system.info(self._path)
            what = _listed("", info)
            if what.kind != "file":
                raise EvidenceError(f"is {_kind(what.kind)}, not a file", where=shown(url))
            if what.size < 0:
                raise EvidenceError("does not say how long it is", where=shown(url), remedy="fetch it first")
            self._size = what.size
            self._looks = self._look(info)
            self._file = self._system.open(self._path, "rb", block_size=PIECE, cache_type="none")
        self._pieces: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of the file, as its filesystem said when it was opened."""
        return self._size

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file; raises EvidenceError when they cannot be had."""
        end = min(at + max(0, length), self._size)
        parts = []
        while at < end:
            number = at // PIECE
            part = self._piece(number)[at - number * PIECE : end - number * PIECE]
            if not part:
                raise EvidenceError("became shorter while it was read", where=shown(self._url))
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def has_changed(self) -> bool:
        """Whether the filesystem tells of another size, time or tag than when it was opened."""
        with _told(self._url):
            self._system.invalidate_cache()
            return self._look(self._system.info(self._path)) != self._looks

    def close(self) -> None:
        """Close it."""
        try:
            with _told(self._url):
                self._file.close()
        except EvidenceError:
            pass  # all that is wanted of it was read

    def _look(self, info: Mapping[str, object]) -> tuple[str, ...]:
        told = [f"{name}={info[name]}" for name in _TOLD if info.get(name) is not None]
        if all(one.startswith("created=") for one in told):
            try:
                told.append(f"modified={self._system.modified(self._path)}")
            except (NotImplementedError, AttributeError):
                pass  # then its size is all there is to compare
        return (f"size={info.get('size')}", *told)

    def _piece(self, number: int) -> bytes:
        held = self._pieces.get(number)
        if held is not None:
            self._pieces.move_to_end(number)
            return held
        wanted = min(PIECE, self._size - number * PIECE)
        with _told(self._url):
            self._file.seek(number * PIECE)
            parts, got = [], 0
            while got < wanted and (part := self._file.read(wanted - got)):
                parts.append(part)
                got += len(part)
        if got != wanted:
            short = (
                "became shorter while it was read" if got < wanted else "hands out more than it is asked for"
            )
            raise EvidenceError(short, where=shown(self._url), remedy="scan it when nobody writes to it")
        while len(self._pieces) >= MAX_PIECES:
            self._pieces.popitem(last=False)
        self._pieces[number] = b"".join(parts)
        return self._pieces[number]


def _opened(url: str) -> tuple[_FileSystem, str]:
    import fsspec

    connect: Callable[[str], tuple[_FileSystem, str]] = fsspec.core.url_to_fs
    return connect(url)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Failures of a filesystem's library, as one of reading and without what is secret in the URL."""
    try:
        yield
    except Error:
        raise
    except Exception as error:  # libraries of filesystems raise whatever theirs raise
        said = said_safely(str(error), url)
        raise EvidenceError(
            f"cannot be read: {type(error).__name__}{f': {said}' if said else ''}",
            where=shown(url),
            remedy="check the name, the network and the account that its library uses; or fetch it first",
        ) from error


def _listed(name: str, info: Mapping[str, object]) -> Listed:
    size, kind = info.get("size"), info.get("type")
    known = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return Listed(name, str(kind), int(str(size)) if known else -1)


def _kind(kind: str) -> str:
    return "a folder" if kind == "directory" else "something else"
