"""A version manager's shim: a script that stands where an interpreter is looked for, and starts one.

Which one it starts is decided by its manager's files, by variables and by the folder one is in, so nobody but
the shim can say. It is asked as it would be called: with the variables and the folder of whoever asks, and by
their account. What it starts then executes one line of ours and none of its environment's (``-I -S``).
"""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import UsageError

SECONDS = 20.0
MAX_ANSWER = 16 << 10
_ASK = "import os, sys; os.write(1, b'\\n' + os.fsencode(sys.executable) + b'\\n')"
_REMEDY = "name the interpreter itself, which `python -c 'import sys; print(sys.executable)'` prints"
_ELF, _SCRIPT = b"\x7fELF", b"#!"


def is_script(path: str) -> bool:
    """Whether a file is a script that names its own interpreter, and so none itself."""
    return _begins(path, _SCRIPT)


def behind_shim(path: str, variables: Mapping[str, str]) -> str:
    """The interpreter that the script at ``path`` starts for us here, an absolute path.

    Raises UsageError when it names none in time, or when the script is not for us to start: one that neither
    root nor our own account owns, or that others may write, would be run with our rights.
    """
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            "this is a script in the place of an interpreter, and others than you can write it: not started",
            where=path,
            remedy=_REMEDY,
        )
    lines = _answer(path, variables).split(b"\n")
    # A manager may say something first; the line of ours begins anew and is the last one.
    found = os.fsdecode(lines[-2]) if len(lines) > 1 else ""
    if not os.path.isabs(found) or not os.access(found, os.X_OK) or not _begins(found, _ELF):
        raise UsageError(
            "this script in the place of an interpreter does not start one here", where=path, remedy=_REMEDY
        )
    return found


def _answer(path: str, variables: Mapping[str, str]) -> bytes:
    """What the script writes when asked, within our limits."""
    environment = {"PATH": os.defpath, **variables}
    try:
        process = subprocess.Popen(
            [path, "-I", "-S", "-B", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # so that all it starts can be ended with it
        )
    except OSError as error:
        raise UsageError(f"this cannot be started: {error.strerror}", where=path, remedy=_REMEDY) from error
    try:
        return _bounded(process, path)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all have ended
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _bounded(process: subprocess.Popen[bytes], path: str) -> bytes:
    deadline = time.monotonic() + SECONDS
    answer = bytearray()
    if process.stdout is None:
        return b""
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        data = os.read(process.stdout.fileno(), MAX_ANSWER) if ready else b""
        if ready and not data:
            return bytes(answer)
        answer += data
        if len(answer) > MAX_ANSWER:
            break
    raise UsageError(
        f"this script in the place of an interpreter did not say within {SECONDS:.0f} s and"
        f" {MAX_ANSWER >> 10} KiB what it starts",
        where=path,
        remedy=_REMEDY,
    )


def _begins(path: str, magic: bytes) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
