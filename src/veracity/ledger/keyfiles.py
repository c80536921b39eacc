"""Files with private keys: for their owner alone, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..core.errors import UsageError

_MAX_KEY_FILE = 16 * 1024


def read_key_file(path: Path, limit: int = _MAX_KEY_FILE) -> bytes:
    """What a private key's file holds, at most ``limit`` bytes.

    Raises UsageError when it is missing, not a regular file, not ours, usable by others or too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"the key file cannot be opened: {error.strerror}", where=str(path)) from error
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("the key file is not a regular file", where=str(path))
        if status.st_uid != os.geteuid():
            raise UsageError(
                f"the key file belongs to user id {status.st_uid}, not to {os.geteuid()}",
                where=str(path),
                remedy="run as its owner, or use a key of your own",
            )
        if status.st_mode & 0o077:
            raise UsageError(
                f"the key file can be used by others (mode {stat.S_IMODE(status.st_mode):04o})",
                where=str(path),
                remedy=f"if nobody can have copied it: chmod 600 {path}; else make a new key",
            )
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise UsageError("the key file is too large to be one", where=str(path))
    return data


def create_key_file(path: Path, private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
    """Write a new key (PKCS #8 PEM, mode 0600), unless somebody else has done so meanwhile.

    The file is either absent or whole. Raises UsageError when it cannot be written.
    """
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(pem)
                stream.flush()
                os.fsync(stream.fileno())
            # A link, unlike a rename, never replaces the key that another process made meanwhile.
            os.link(draft, path)
        except FileExistsError:
            return
        finally:
            os.unlink(draft)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(
            f"the signing key cannot be created: {error.strerror}",
            where=str(path),
            remedy="make the folder writable or choose another with --home",
        ) from error
