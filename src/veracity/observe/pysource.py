"""Python source files: their bytes, text and digest, and how one text differs from another."""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import stat
import tokenize
from dataclasses import dataclass

MAX_SOURCE = 16 << 20
MAX_DIFF = 200
MAX_DIFFED = 60_000
MAX_LINE = 400


@dataclass(frozen=True, slots=True)
class PySource:
    """A source file as it was read. ``modified_at``/``changed_at``: mtime and ctime in ns since the epoch
    (mtime is whatever its owner says, ctime is the kernel's)."""

    path: str
    data: bytes
    sha256: str
    modified_at: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class LineDiff:
    """Unified diff lines (at most ``MAX_DIFF``) and the first changed line in the new text, from 1."""

    lines: list[str]
    first_line: int
    truncated: bool


def read_source(path: str) -> PySource | str:
    """The regular file at ``path``, or a sentence saying why it could not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return f"cannot be opened: {_why(error)}"
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return "not a regular file"
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(MAX_SOURCE + 1)
        except OSError as error:
            return f"cannot be read: {_why(error)}"
    if len(data) > MAX_SOURCE:
        return "larger than 16 MiB"
    digest = hashlib.sha256(data).hexdigest()
    return PySource(path, data, digest, status.st_mtime_ns, status.st_ctime_ns)


def decode(data: bytes) -> str:
    """Source bytes as text, by the encoding they declare; undecodable bytes become U+FFFD."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding, "replace")
    except (SyntaxError, LookupError):
        return data.decode("utf-8", "replace")


def line_diff(old: bytes, new: bytes, *, old_name: str, new_name: str) -> LineDiff:
    """How ``new`` differs from ``old``, by lines.

    Texts of more than ``MAX_DIFFED`` lines are not aligned: only the first changed line is found.
    """
    before, after = decode(old).splitlines(), decode(new).splitlines()
    first = _first_changed(before, after)
    if len(before) > MAX_DIFFED or len(after) > MAX_DIFFED or first == 0:
        return LineDiff([], first, first != 0)
    # A common head and tail are cut off before alignment, which is quadratic at worst.
    head = max(0, first - 4)
    tail = 0
    shortest = min(len(before), len(after)) - head
    while tail < shortest and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    tail = max(0, tail - 3)
    middle_before, middle_after = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(middle_before) * len(middle_after) > 25_000_000:
        return LineDiff([], first, True)
    lines = []
    for line in difflib.unified_diff(middle_before, middle_after, old_name, new_name, lineterm="", n=3):
        lines.append(_shifted(line, head)[:MAX_LINE])
        if len(lines) > MAX_DIFF:
            return LineDiff(lines[:MAX_DIFF], first, True)
    return LineDiff(lines, first, False)


def _first_changed(before: list[str], after: list[str]) -> int:
    """The first line of ``after`` that differs, from 1; 0 when the texts have the same lines."""
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new:
            return number
    if len(before) == len(after):
        return 0
    return max(1, min(min(len(before), len(after)) + 1, len(after)))


def _shifted(line: str, offset: int) -> str:
    """A hunk header with its line numbers moved by ``offset``; any other line as it is."""
    if not line.startswith("@@ -"):
        return line
    old, new = line.split()[1:3]
    return f"@@ {_moved(old, offset)} {_moved(new, offset)} @@"


def _moved(part: str, offset: int) -> str:
    start, comma, length = part[1:].partition(",")
    return f"{part[0]}{int(start) + offset}{comma}{length}"


def _why(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
