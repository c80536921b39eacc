"""What a job needs so that the guard enters its Python processes: archive, configuration, environment."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.digest import Digest
from ..core.errors import EvidenceError, UsageError
from ..guard.compiled import MAX_FILE, tag
from ..ledger.files import read_bounded, write_private
from ..observe.startup import VARIABLES
from .archive import build_archive
from .folder import RunFolder
from .guardcode import kept_code, made_of

CONFIG_VARIABLE = "VERACITY_GUARD"
MAX_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job ready to start. ``socket_folder`` is set when a temporary folder holds the socket.

    ``code``: digests of the guard's compiled code (SHA-256, hex), by the interpreter that it is for.
    """

    environment: dict[str, str]
    socket: Path
    socket_folder: Path | None
    archive: Digest
    code: dict[str, str]
    key: bytes


def prepare(
    folder: RunFolder,
    environment: Mapping[str, str],
    overhead: float,
    key: bytes = b"",
    *,
    enforces: bool = False,
) -> Prepared:
    """Write the guard's archive and configuration; return the environment to start the job in.

    ``overhead`` is the share of training time that sampled checks may take, 0 to 1. ``key`` is the sampling
    key of a job over several nodes; without one the run gets its own. ``enforces``: nothing is to be loaded
    that the monitor does not allow.
    Raises UsageError when the home's path cannot stand on PYTHONPATH.
    """
    if os.pathsep in str(folder.archive):
        raise UsageError(
            f"the home's path holds {os.pathsep!r}, which separates the entries of PYTHONPATH",
            where=str(folder.path),
            remedy="choose another home with --home DIR",
        )
    data, digest = build_archive()
    if folder.guard is None:
        write_private(folder.archive, data)
    code = _put_code(folder, data)
    key = key or secrets.token_bytes(32)
    socket, socket_folder = _socket_path(folder)
    config = {
        "run": folder.run,
        "archive": str(folder.archive),
        "socket": str(socket),
        "spool": str(folder.spool),
        "key": key.hex(),
        "known_bytecode": str(folder.known_bytecode),
        "code": code,
        "overhead": overhead,
        "attention": str(folder.attention),
        "variables": sorted(VARIABLES),
        "enforces": enforces,
    }
    write_private(folder.guard_config, json.dumps(config).encode())
    guarded = guarded_environment(environment, folder.archive, folder.guard_config)
    return Prepared(guarded, socket, socket_folder, digest, code, key)


def _put_code(folder: RunFolder, archive: bytes) -> dict[str, str]:
    """Put the guard's compiled code beside its archive; digests (SHA-256, hex) by interpreter.

    Where all runs share an archive it lies there already, or nowhere: then sources are compiled.
    """
    if folder.guard is None:
        code = kept_code(folder.home / "cache", archive)
        write_private(folder.code, code)
    else:
        try:
            code = read_bounded(folder.code, MAX_FILE)
        except EvidenceError:
            return {}
    return {tag(0): hashlib.sha256(code).hexdigest()} if made_of(code) == str(Digest.of(archive)) else {}


def guarded_environment(environment: Mapping[str, str], archive: Path, config: Path) -> dict[str, str]:
    """``environment`` in which each Python process meets the guard."""
    others = environment.get("PYTHONPATH", "")
    path = str(archive) + (os.pathsep + others if others else "")
    return {**environment, "PYTHONPATH": path, CONFIG_VARIABLE: str(config)}


def sampling_key(folder: RunFolder) -> bytes:
    """The key of a run that was prepared before; raises EvidenceError when its configuration is gone."""
    try:
        return bytes.fromhex(json.loads(folder.guard_config.read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            "the guard's configuration cannot be read", where=str(folder.guard_config)
        ) from error


def _socket_path(folder: RunFolder) -> tuple[Path, Path | None]:
    """A path short enough for the kernel (108 bytes): in the run directory, else a private one."""
    path = folder.socket
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path, None
    private = Path(tempfile.mkdtemp(prefix="veracity-"))
    return private / "guard.sock", private
