"""The guard's code, compiled for the interpreter that runs here; ``guard/compiled.py`` reads it.

``VGC1`` · length of the index (u32, little-endian) · index · code objects, each marshalled by itself. The
index is JSON: ``{"archive": digest, "tag": interpreter, "modules": {name: [offset, size, is a package]}}``,
offsets counted from its end.

It is made of the archive's own bytes, never of bytecode that lies about, and kept in the home for later runs.
The same archive and interpreter always give the same bytes (from Python 3.11 on, which sorts the members of
sets). Whoever can write the home can change what is kept there, as they can the archive: the digest in a
run's record says what was put there, and compiling the archive again shows what it ought to have been.
"""

from __future__ import annotations

import hashlib
import io
import json
import marshal
import os
import zipfile
from pathlib import Path

from ..core.digest import Digest
from ..guard.compiled import MAGIC, MAX_FILE, read_private, tag
from ..ledger.files import write_private
from .archive import PACKAGE

MARSHAL_VERSION = 2
"""Later ones tell of references, which come and go with whatever else the process holds: the same sources
would give other bytes at each time."""


def build_code(archive: bytes) -> bytes:
    """Code of every module of the guard that ``archive`` holds, for this interpreter, not optimized."""
    modules: dict[str, tuple[int, int, bool]] = {}
    bodies = []
    size = 0
    with zipfile.ZipFile(io.BytesIO(archive)) as members:
        for member in members.namelist():
            if not member.startswith(f"{PACKAGE}/"):
                continue
            code = compile(members.read(member), member, "exec", dont_inherit=True, optimize=0)
            name = member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            bodies.append(marshal.dumps(code, MARSHAL_VERSION))
            modules[name] = size, len(bodies[-1]), member.endswith("/__init__.py")
            size += len(bodies[-1])
    described = {"archive": str(Digest.of(archive)), "tag": tag(0), "modules": modules}
    index = json.dumps(described, separators=(",", ":")).encode("ascii")
    return b"".join((MAGIC, len(index).to_bytes(4, "little"), index, *bodies))


def kept_code(cache: Path, archive: bytes) -> bytes:
    """The same, compiled once for all runs with this archive and kept in the folder ``cache``.

    The last 32 bytes of what is kept are the digest of the others, which finds accidents. What cannot be
    kept is compiled again by the next run.
    """
    place = cache / f"guard-{tag(0)}"
    try:
        data = read_private(str(place), MAX_FILE, os.geteuid())
    except (OSError, ValueError):
        data = b""
    code, told = data[:-32], data[-32:]
    if hashlib.sha256(code).digest() == told and made_of(code) == str(Digest.of(archive)):
        return code
    code = build_code(archive)
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(place, code + hashlib.sha256(code).digest())
    except OSError:
        pass
    return code


def made_of(code: bytes) -> str:
    """The digest of the archive that ``code`` says it was made of; empty when it is none for us."""
    size = int.from_bytes(code[4:8], "little")
    try:
        index = json.loads(code[8 : 8 + size])
        return str(index["archive"]) if code[:4] == MAGIC and index["tag"] == tag(0) else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
