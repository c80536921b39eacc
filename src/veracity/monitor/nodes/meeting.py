"""The folder in which the monitors of one job meet, and the sampling key that they share.

The key is made by whoever comes first, whole or not at all; the others read it. It decides which elements are
read, so copies on two nodes can be compared, and it signs the lines that the monitors leave for each other. A
folder or a key that another account owns or could have written is refused: then a run goes on alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import EvidenceError

KEY_FILE = "key"
KEY_BYTES = 32
WAIT = 5.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Meeting:
    """A folder that has been checked, and the key that is in it."""

    folder: Path
    key: bytes


def meet(folder: Path) -> Meeting:
    """Come to the folder; make what is not there. Raises EvidenceError when it cannot be trusted or used."""
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check_folder(folder)
        _make_key(folder)
        return Meeting(folder, _read_key(folder / KEY_FILE))
    except OSError as error:
        reason = error.strerror or str(error)
        raise EvidenceError(f"the folder of the job cannot be used: {reason}", where=str(folder)) from error


def _check_folder(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise EvidenceError("the folder of the job is not a folder", where=str(folder))
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise EvidenceError(
            "the folder of the job belongs to another account, or others may write to it",
            where=str(folder),
            remedy="use one of this account's own; chmod go-w takes the others' right to write",
        )


def _make_key(folder: Path) -> None:
    """Put a key there unless there is one. It appears whole: under another name first, then linked."""
    path = folder / KEY_FILE
    if os.path.lexists(path):
        return
    draft = folder / f".{KEY_FILE}.{secrets.token_hex(8)}"
    _write(draft, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    try:
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        pass  # somebody else was first
    except OSError:
        # A file system without links: not whole at once, which is why readers wait for it to be.
        with contextlib.suppress(FileExistsError):
            _write(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    finally:
        draft.unlink(missing_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every file system syncs folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, _NEW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_key(path: Path) -> bytes:
    """The key, waited for while somebody may be writing it."""
    deadline = time.monotonic() + WAIT
    while True:
        data = _private(path)
        if len(data) == 2 * KEY_BYTES + 1 and data.endswith(b"\n"):
            with contextlib.suppress(ValueError):
                return bytes.fromhex(data.decode("ascii", "replace"))
        if time.monotonic() > deadline:
            raise EvidenceError("the key of the job is not one", where=str(path))
        time.sleep(0.05)


def _private(path: Path) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise EvidenceError("the key of the job is no regular file", where=str(path))
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise EvidenceError(
                "the key of the job belongs to another account, or others may read it",
                where=str(path),
                remedy="find out who put it there; another --job or --job-folder has a key of its own",
            )
        return os.read(descriptor, 2 * KEY_BYTES + 2)
    finally:
        os.close(descriptor)
