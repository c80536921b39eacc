"""What a home remembers of trees that it has read, so that they need not be read in full again.

One SQLite file for each tree, ``<home>/cache/read-<digest of its path>.sqlite``. Each row has a code (HMAC)
under a key that lies beside it (mode 0600): a row that somebody else wrote, or moved to another folder, tree
or machine, counts for nothing. An older row that is put back is harmless: it speaks of a file that looks
otherwise by now. Who can read the key can write what they like, so home and key must be the owner's alone.

A clock that was set back makes new changes look old. When the clock is before the newest time in the memory,
or was set since (it moved against the time since the machine's start), nothing in it counts.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import socket
import sqlite3
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from ..core.errors import UsageError
from ..core.tree import FOLDER, TreeEntry, cuts
from ..ledger.files import write_private
from ..ledger.keyfiles import read_key_file
from ..observe.mounts import write_back_seconds
from ..observe.remembering import DIGEST, LOOK, Remembered
from .folder import make_home

KEY_FILE = "read.key"
KEY_LENGTH = 32
SETTLES = 60.0
"""Seconds after which what was not changed is taken to rest; more where dirty pages may wait longer."""
CLOCK_STEP = 2_000_000_000
"""Nanoseconds by which a clock may move against the time since the start without having been set."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS folders (
    path BLOB, first BLOB, payload BLOB, code BLOB, PRIMARY KEY (path, first)
);
CREATE TABLE IF NOT EXISTS measured (measurement TEXT PRIMARY KEY, payload BLOB, code BLOB);
CREATE TABLE IF NOT EXISTS clock (payload BLOB, code BLOB);
"""


class _Sub(msgspec.Struct, array_like=True, frozen=True):
    name: bytes
    mode: int
    size: int
    digest: str


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """The row of a folder itself; ``codes``: of the rows with its names, in order."""

    own: bytes
    digest: str
    below: int
    folders: list[_Sub]
    codes: list[bytes]
    files: int
    size: int


class _Names(msgspec.Struct, array_like=True, frozen=True):
    names: list[bytes]
    looks: bytes
    digests: bytes


class _Clock(msgspec.Struct, array_like=True, frozen=True):
    """When the memory was last open (ns since the epoch), since which start, and what lay between the two."""

    newest: int
    boot: str
    offset: int


class _Measured(msgspec.Struct, array_like=True, frozen=True):
    size: int
    digest: str


_HEAD = msgspec.msgpack.Decoder(_Head)
_NAMES = msgspec.msgpack.Decoder(_Names)
_CLOCK = msgspec.msgpack.Decoder(_Clock)
_MEASURED = msgspec.msgpack.Decoder(_Measured)


def cache_of(home: Path) -> Path:
    """Where a home keeps what is derived and may be removed."""
    return home / "cache"


class TreeMemory:
    """The memory of one tree; a context that keeps what was remembered when it ends well.

    Raises UsageError when others could have written it. One that is damaged, or in use by somebody else, is
    none; ``notes`` say so.
    """

    def __init__(self, home: Path, root: Path, *, now: int | None = None) -> None:
        cache = cache_of(home)
        make_home(cache)
        for folder in (home, cache):
            _check_folder(folder)
        place = os.fsencode(os.path.realpath(root))
        self._key = hmac.digest(_key_in(cache), b"\0".join([_host(), place]), "sha256")
        name = hmac.digest(self._key, b"name", "sha256").hex()[:32]
        self._path = cache / f"read-{name}.sqlite"
        self._now = time.time_ns() if now is None else now
        self.notes: list[str] = []
        self.settled_before = self._settled_before()
        self._usable = True
        self._database = self._opened()

    def recall(self, path: bytes) -> Remembered | None:
        """The folder at ``path`` as it was read; rows that do not hold are dropped."""
        rows = self._rows("SELECT first, payload, code FROM folders WHERE path = ? ORDER BY first", (path,))
        found = self._folder_of(path, rows)
        if rows and found is None:
            self._change("DELETE FROM folders WHERE path = ?", (path,))
        return found

    def _folder_of(self, path: bytes, rows: list[tuple[bytes, ...]]) -> Remembered | None:
        if not rows or rows[0][0]:
            return None
        if not all(self._holds(code, b"folders", (path, first), payload) for first, payload, code in rows):
            return None
        try:
            head = _HEAD.decode(rows[0][1])
            if [code for _, _, code in rows[1:]] != head.codes:
                return None
            parts = [_NAMES.decode(payload) for _, payload, _ in rows[1:]]
        except msgspec.DecodeError:
            return None
        names = tuple(name for part in parts for name in part.names)
        looks, digests = b"".join(part.looks for part in parts), b"".join(part.digests for part in parts)
        if len(looks) != len(names) * LOOK or len(digests) != len(names) * DIGEST:
            return None
        folders = tuple(TreeEntry(FOLDER, one.mode, one.size, one.name, one.digest) for one in head.folders)
        whole = (head.own, head.digest, head.below)
        return Remembered(*whole, names, looks, digests, folders, head.files, head.size)

    def remember(self, path: bytes, folder: Remembered) -> None:
        """Keep how a folder was read: only the rows that are others than before are written."""
        rows: dict[bytes, tuple[bytes, bytes]] = {}
        codes = []
        for begin, end in cuts(folder.names) if folder.names else ():
            names = list(folder.names[begin:end])
            looks = folder.looks[begin * LOOK : end * LOOK]
            digests = folder.digests[begin * DIGEST : end * DIGEST]
            # A row is called by its first name, and no name is empty.
            rows[names[0]] = self._row(b"folders", (path, names[0]), _Names(names, looks, digests))
            codes.append(rows[names[0]][1])
        folders = [_Sub(one.name, one.mode, one.size, one.digest) for one in folder.folders]
        head = _Head(folder.own, folder.digest, folder.below, folders, codes, folder.files, folder.size)
        rows[b""] = self._row(b"folders", (path, b""), head)
        gone = self._folders_of(path) - {one.name for one in folder.folders}
        self._write(path, rows)
        start = path + b"/" if path else b""
        for name in gone:
            # All paths below a folder begin with its own and "/", and "0" is the byte after that.
            limits = (start + name, start + name + b"/", start + name + b"0")
            self._change("DELETE FROM folders WHERE path = ? OR (path > ? AND path < ?)", limits)

    def measured(self, measurement: str) -> tuple[int, str] | None:
        """Size and digest of what was read of a file that the kernel measured so."""
        rows = self._rows("SELECT payload, code FROM measured WHERE measurement = ?", (measurement,))
        if not rows or not self._holds(rows[0][1], b"measured", (measurement.encode("ascii"),), rows[0][0]):
            return None
        try:
            found = _MEASURED.decode(rows[0][0])
        except msgspec.DecodeError:
            return None
        return found.size, found.digest

    def remember_measured(self, measurement: str, size: int, digest: str) -> None:
        """Keep what was read of a file that the kernel measures so."""
        payload, code = self._row(b"measured", (measurement.encode("ascii"),), _Measured(size, digest))
        self._change("INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", (measurement, payload, code))

    def __enter__(self) -> TreeMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is None:
            return
        if kind is None:
            self._change("DELETE FROM clock", ())
            clock = _Clock(max(self._now, time.time_ns()), *_since_start())
            self._change("INSERT INTO clock VALUES (?, ?)", self._row(b"clock", (), clock))
        with suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("COMMIT" if kind is None else "ROLLBACK")
        self._database.close()

    # --- rows ---------------------------------------------------------------------------------------

    def _row(self, table: bytes, name: tuple[bytes, ...], value: msgspec.Struct) -> tuple[bytes, bytes]:
        payload = msgspec.msgpack.encode(value)
        return payload, self._code(table, name, payload)

    def _code(self, table: bytes, name: tuple[bytes, ...], payload: bytes) -> bytes:
        """The code of a row of a table: no two rows of other names or tables have one text."""
        lengths = b" ".join(b"%d" % len(part) for part in (table, *name))
        return hmac.digest(self._key, b"".join([lengths, b"\n", table, *name, payload]), "sha256")

    def _holds(self, code: object, table: bytes, name: tuple[bytes, ...], payload: object) -> bool:
        if not isinstance(code, bytes) or not isinstance(payload, bytes):
            return False
        return hmac.compare_digest(code, self._code(table, name, payload))

    def _write(self, path: bytes, rows: dict[bytes, tuple[bytes, bytes]]) -> None:
        before: dict[bytes, bytes] = {}
        for first, code in self._rows("SELECT first, code FROM folders WHERE path = ?", (path,)):
            before[first] = code
        for first in before.keys() - rows.keys():
            self._change("DELETE FROM folders WHERE path = ? AND first = ?", (path, first))
        for first, (payload, code) in rows.items():
            if before.get(first) != code:
                row = (path, first, payload, code)
                self._change("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?)", row)

    def _folders_of(self, path: bytes) -> set[bytes]:
        """The folders that are remembered to be in one."""
        rows = self._rows("SELECT payload FROM folders WHERE path = ? AND first = x''", (path,))
        try:
            return {one.name for (payload,) in rows for one in _HEAD.decode(payload).folders}
        except msgspec.DecodeError:
            return set()

    def _rows(self, query: str, values: tuple[object, ...]) -> list[tuple[bytes, ...]]:
        if self._database is None or not self._usable:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _change(self, query: str, values: tuple[object, ...]) -> None:
        if self._database is None or not self._usable:
            return
        try:
            if not self._database.in_transaction:
                self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(query, values)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        self._usable = False
        self.notes.append(f"the home's memory of this tree ({self._path.name}) could not be used: {error}")

    # --- opening ------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection | None:
        for is_first in (True, False):
            try:
                handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                os.close(handle)
                database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
                try:
                    database.text_factory = bytes  # what somebody else wrote may be no text
                    database.execute("PRAGMA trusted_schema = OFF")
                    # A memory that a crash of the machine damages is begun anew.
                    database.execute("PRAGMA synchronous = OFF")
                    database.execute("PRAGMA cache_size = -65536")
                    database.executescript(_SCHEMA)
                    self._check_clock(database)
                except sqlite3.Error:
                    database.close()
                    raise
                return database
            except sqlite3.OperationalError as error:
                self.notes.append(
                    f"the home's memory of this tree ({self._path.name}) could not be used: {error}"
                )
                return None
            except sqlite3.DatabaseError:
                if not is_first:
                    return None
                self.notes.append("the home's memory of this tree was damaged, and is begun anew")
                self._path.unlink(missing_ok=True)
            except OSError as error:
                self.notes.append(f"the home's memory of this tree could not be opened: {error.strerror}")
                return None
        return None

    def _check_clock(self, database: sqlite3.Connection) -> None:
        """Drop what is remembered when the clock was set since; and note when that is all there is."""
        rows = database.execute("SELECT payload, code FROM clock").fetchall()
        last: _Clock | None = None
        if len(rows) == 1 and self._holds(rows[0][1], b"clock", (), rows[0][0]):
            with suppress(msgspec.DecodeError):
                last = _CLOCK.decode(rows[0][0])
        if last is None:
            self.notes.append("the home remembers nothing of this tree yet")
        else:
            boot, offset = _since_start(self._now)
            if self._now < last.newest - CLOCK_STEP:
                self.notes.append("the clock is before the time of the last reading")
            elif boot == last.boot and abs(offset - last.offset) > CLOCK_STEP:
                self.notes.append("the clock was set since the last reading")
            else:
                return
        database.execute("BEGIN IMMEDIATE")
        for forgetting in ("DELETE FROM folders", "DELETE FROM clock"):  # measurements have no time
            database.execute(forgetting)
        database.execute("COMMIT")

    def _settled_before(self) -> int:
        waits = write_back_seconds()
        if waits is None:
            self.notes.append("this kernel is not known to write back what is dirty by itself")
            return 0
        return self._now - int(max(SETTLES, 2 * waits) * 1e9)


def _check_folder(folder: Path) -> None:
    status = os.stat(folder)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise UsageError(
            "others can write where is remembered what was read",
            where=str(folder),
            remedy=f"chmod go-w {folder} as its owner, or give no --level: then all is read",
        )


def _key_in(cache: Path) -> bytes:
    """The key of a home's memories, made when there is none yet."""
    path = cache / KEY_FILE
    draft = cache / f".{KEY_FILE}.{secrets.token_hex(8)}"
    try:
        if not os.path.lexists(path):
            write_private(draft, secrets.token_bytes(KEY_LENGTH))
            try:
                # A link, unlike a rename, never replaces the key that another process made meanwhile.
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                os.unlink(draft)
    except OSError as error:
        raise UsageError(f"the memory's key cannot be made: {error.strerror}", where=str(path)) from error
    key = read_key_file(path)
    if len(key) != KEY_LENGTH:
        raise UsageError("this is no key of a memory", where=str(path), remedy="remove it: a new one is made")
    return key


def _host() -> bytes:
    """This machine, as far as it can be told from others that share a home."""
    machine = b""
    with suppress(OSError):
        machine = Path("/etc/machine-id").read_bytes()[:64].strip()
    return hashlib.sha256(machine + b"\0" + socket.gethostname().encode("utf-8", "surrogateescape")).digest()


def _since_start(now: int | None = None) -> tuple[str, int]:
    """Which start of the machine this is, and what lies between its clock and the time since then."""
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    now = time.time_ns() if now is None else now
    return boot, now - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
