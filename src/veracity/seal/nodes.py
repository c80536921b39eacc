"""The nodes of trees in one file: ``manifest``, which a seal names by the digest of a root.

After a first line, each node is a line with its digest and its length, and its bytes::

    veracity-manifest-v1
    <digest> <length>
    <bytes>

Nodes are only added, so sealing again what has changed a little writes a little. Which of them count is
decided by the root that was signed: each node is found by its digest and is compared with it when it is read.
A record that was not written to its end is passed over, and cut off by the next writer.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..core.errors import EvidenceError, ResourceLimitError, VerificationError
from ..core.tree import FOLDER, MAX_NODE, UNREAD, Chunks, Folder, Page, Pages, TreeEntry, escaped, node_of

HEAD = b"veracity-manifest-v1\n"
MAX_FILE = 8 << 30
MAX_DEPTH = 512
MAX_NODES = 8_000_000
_RECORD = re.compile(rb"([0-9a-f]{64}) ([1-9][0-9]{0,9})\n")
_RECORD_HEAD = 64 + 1 + 10 + 1


class Reading(ABC):
    """Trees read by their digests. Whatever is read is compared with the digest that names it."""

    def bytes_of(self, digest: str) -> bytes:
        """A node's bytes; raises VerificationError when they are others, EvidenceError when it has none."""
        data = self.found(digest)
        if data is None:
            raise EvidenceError(f"{self.name} does not hold the node {digest}")
        if hashlib.sha256(data).hexdigest() != digest:
            raise VerificationError(
                f"the node {digest} of {self.name} holds other bytes than its digest says",
                remedy="the manifest was changed after it was sealed: do not rely on it",
            )
        return data

    name: str
    """For people."""

    @abstractmethod
    def found(self, digest: str) -> bytes | None:
        """What is kept under a digest, unchecked."""

    def entries(self, digest: str) -> Iterator[TreeEntry]:
        """The entries of a folder, in order; raises as :meth:`bytes_of`, and EvidenceError for no folder."""
        node = node_of(self.bytes_of(digest))
        if isinstance(node, Folder):
            yield from node.entries
            return
        last = b""
        for page in self._pages(node):
            for entry in self.page(page):
                if entry.name <= last:
                    raise EvidenceError(f"the pages of the folder {digest} are not in order")
                last = entry.name
                yield entry

    def pages(self, digest: str) -> tuple[Page, ...] | None:
        """The pages of a folder that has some."""
        node = node_of(self.bytes_of(digest))
        return None if isinstance(node, Folder) else self._pages(node)

    def page(self, page: Page) -> tuple[TreeEntry, ...]:
        """The entries of one page; raises EvidenceError when it is not what the folder says it is."""
        node = node_of(self.bytes_of(page.digest))
        if not isinstance(node, Folder) or len(node.entries) != page.count or not node.entries:
            raise EvidenceError(f"the page {page.digest} of a folder is not what the folder says")
        if node.entries[0].name != page.first:
            raise EvidenceError(f"the page {page.digest} of a folder begins with another name")
        return node.entries

    def chunks(self, entry: TreeEntry) -> Chunks:
        """The chunks of a large file; raises EvidenceError when they are not those of a file of its size."""
        node = node_of(self.bytes_of(entry.digest))
        if not isinstance(node, Chunks) or node.size != entry.size:
            raise EvidenceError(f"the node of {escaped(entry.name)} does not list its chunks")
        return node

    def walk(self, root: TreeEntry) -> Iterator[tuple[bytes, TreeEntry]]:
        """Each entry below ``root`` with its path from there, folders before what is in them."""
        pending = [(b"", self._below(root))]
        while pending:
            path, entries = pending[-1]
            entry = next(entries, None)
            if entry is None:
                pending.pop()
                continue
            inside = path + entry.name
            yield inside, entry
            if entry.kind == FOLDER and entry.digest != UNREAD:
                if len(pending) >= MAX_DEPTH:
                    raise ResourceLimitError(f"the folders of {self.name} lie more than {MAX_DEPTH} deep")
                pending.append((inside + b"/", self._below(entry)))

    def _below(self, entry: TreeEntry) -> Iterator[TreeEntry]:
        return self.entries(entry.digest) if entry.kind == FOLDER and entry.digest != UNREAD else iter(())

    @staticmethod
    def _pages(node: Pages | Chunks) -> tuple[Page, ...]:
        if not isinstance(node, Pages):
            raise EvidenceError("a folder's node lists chunks of a file")
        return node.pages


class Nodes(Reading):
    """The nodes in a manifest file, by digest. Raises EvidenceError when the file is not one."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            with open(os.open(path, flags), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_FILE:
                    raise ResourceLimitError(f"{path} is larger than {MAX_FILE >> 30} GiB")
                if file.read(len(HEAD)) != HEAD:
                    raise EvidenceError(f"{path} is no manifest: its first line is another")
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise EvidenceError(f"{path} cannot be read: {error}") from error
        self._places: dict[str, tuple[int, int]] = {}
        self.end = len(HEAD)
        """Where the last whole record ends."""
        self._find()

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def check(self) -> None:
        """Raise VerificationError when a node holds other bytes than its digest says."""
        for digest in self._places:
            self.bytes_of(digest)

    def digests(self) -> set[str]:
        """The digests of all nodes."""
        return set(self._places)

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._data.close()

    def found(self, digest: str) -> bytes | None:
        """What is kept under a digest, unchecked."""
        place = self._places.get(digest)
        return None if place is None else self._data[place[0] : place[0] + place[1]]

    def _find(self) -> None:
        data, size = self._data, len(self._data)
        while self.end < size:
            head = _RECORD.match(data[self.end : self.end + _RECORD_HEAD])
            if head is None:
                if size - self.end < _RECORD_HEAD:
                    return
                raise EvidenceError(f"{self.name} is damaged at byte {self.end}")
            begin, length = self.end + head.end(), int(head[2])
            if length > MAX_NODE:
                raise ResourceLimitError(f"a node of {self.name} is larger than {MAX_NODE >> 20} MiB")
            if begin + length > size:
                return
            if len(self._places) >= MAX_NODES:
                raise ResourceLimitError(f"{self.name} has more than {MAX_NODES:,} nodes")
            self._places[head[1].decode("ascii")] = begin, length
            self.end = begin + length


class Added(Reading):
    """The nodes of a tree that is read now, beside a manifest that may have most of them."""

    def __init__(self, manifest: Nodes) -> None:
        self.name = "what is there now"
        self._manifest = manifest
        self._own: dict[str, bytes] = {}

    def keep(self, digest: str, data: bytes) -> None:
        """Add a node."""
        if digest not in self._manifest:
            self._own[digest] = data

    def __contains__(self, digest: str) -> bool:
        return digest in self._own or digest in self._manifest

    def found(self, digest: str) -> bytes | None:
        """What is kept under a digest, unchecked."""
        return self._own.get(digest) or self._manifest.found(digest)


def _lock(handle: int, *, needed: bool) -> None:
    """Be the only writer; raises OSError when another is, or when no lock is to be had that is ``needed``."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        if needed:
            raise


@dataclass(slots=True)
class NodeWriter:
    """Adds nodes to a manifest file, which is made when it is not there. ``written``: bytes so far.

    It is locked meanwhile: manifests of several seals may be one file.
    """

    path: Path
    known: set[str]
    handle: int
    written: int = 0
    _waiting: bytearray | None = None

    @classmethod
    def at(cls, path: Path, *, check: bool = False) -> NodeWriter:
        """Begin to write at the end of the last whole record; with ``check``, of nodes that all hold.

        Raises EvidenceError when the file cannot be written, is none, or somebody else writes to it,
        VerificationError when a node does not hold.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            raise EvidenceError(f"{path} cannot be written: {error.strerror}") from error
        try:
            _lock(handle, needed=check)
            known: set[str] = set()
            end = 0
            if os.fstat(handle).st_size >= len(HEAD):
                with Nodes(path) as nodes:
                    if check:
                        nodes.check()
                    known, end = nodes.digests(), nodes.end
            os.ftruncate(handle, end)
            os.lseek(handle, end, os.SEEK_SET)
        except OSError as error:
            os.close(handle)
            raise EvidenceError(f"{path} cannot be written: {error.strerror}") from error
        except BaseException:
            os.close(handle)
            raise
        return cls(path, known, handle, _waiting=bytearray(b"" if end else HEAD))

    @classmethod
    def going_on(cls, path: Path, earlier: Path) -> NodeWriter:
        """Begin a new manifest with the nodes of an earlier one, which becomes one file with it.

        Nodes are only added, so the earlier one loses nothing. One that cannot be gone on with, or does not
        hold, is left alone, and the new one is empty.
        """
        try:
            os.link(earlier, path, follow_symlinks=False)
        except OSError:
            return cls.at(path)
        try:
            return cls.at(path, check=True)
        except (EvidenceError, VerificationError):
            os.unlink(path)
            return cls.at(path)

    def keep(self, digest: str, data: bytes) -> None:
        """Add a node, once."""
        if digest in self.known or self._waiting is None:
            return
        self.known.add(digest)
        self._waiting += b"%b %d\n" % (digest.encode("ascii"), len(data)) + data
        if len(self._waiting) > 1 << 20:
            self._flush()

    def close(self) -> None:
        """Write what waits and make it durable; raises EvidenceError when it cannot be."""
        try:
            self._flush()
            os.fsync(self.handle)
        except OSError as error:
            raise self._unwritten(error) from error
        finally:
            self._waiting = None
            os.close(self.handle)

    def _flush(self) -> None:
        data = memoryview(bytes(self._waiting or b""))
        while data:
            try:
                count = os.write(self.handle, data)
            except OSError as error:
                # Who reads a tree takes an OSError for a file of it that cannot be read.
                raise self._unwritten(error) from error
            self.written += count
            data = data[count:]
        self._waiting = bytearray()

    def _unwritten(self, error: OSError) -> EvidenceError:
        return EvidenceError(f"{self.path} cannot be written: {error.strerror}")
