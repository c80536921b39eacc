"""A wheel beside its own RECORD, and what it puts where by itself.

An installer unpacks all files of the archive and writes a RECORD of its own: it does not look whether the
archive's RECORD names them. Entry points of some groups are loaded without a program asking for them, and a
command takes the place of another one of the same name.
"""

from __future__ import annotations

import configparser
import io
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator

from ..core.errors import EvidenceError
from ..core.observation import WheelCompared
from ..core.origin import monitor_origin
from .artifact.budget import Budget
from .artifact.input import Input
from .autoload import PLUGIN_GROUPS
from .pyenv import parse_record
from .wheel import DATA, LIB, Wheel, WheelFile, read_archive

MAX_LISTED = 50
MAX_ROOTS = 1_000
MAX_SMALL = 4 << 20
_OWN_FOLDER = re.compile(r"(?:lib|lib64|local/lib)/python[\d.]+/(?:(?:site|dist)-packages/|lib-dynload/)?")
# A package's folder, a module, one that is compiled for some platform, or bytecode without a source.
_MODULE = re.compile(r"([^\W\d]\w*)(?:/(?:[^/]+/)*[^/]+\.(?:py|pyc|so)|\.py|\.pyc|(?:\.[\w-]+)?\.so)\Z")
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


def compared(whole: Input, budget: Budget) -> WheelCompared:
    """The comparison; raises EvidenceError when it cannot be read, ResourceLimitError at a bound."""
    file = io.BufferedReader(_Opened(whole))
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            budget.spend_members(len(members), whole.name)
            budget.spend_unpacked(sum(one.file_size for one in members), whole.name)
            record, groups = _small(archive, "RECORD"), _small(archive, "entry_points.txt")
    except _UNREADABLE as error:
        raise EvidenceError(f"is no wheel that can be read: {str(error)[:200]}", where=whole.name) from error
    file.seek(0)
    wheel = read_archive(file, whole.name)
    return _compared(whole.name, wheel, set(parse_record(record)), groups)


def _compared(name: str, wheel: Wheel, listed: set[str], groups: bytes) -> WheelCompared:
    altered = [one for one in wheel.unlike_record if one in listed]
    unlisted = [one for one in wheel.unlike_record if one not in listed]
    scripts = {one.path for one in wheel.files if one.scheme == "scripts"}
    return WheelCompared(
        monitor_origin(time.time_ns(), source="scan"),
        name,
        wheel.name,
        wheel.version,
        tuple(altered[:MAX_LISTED]),
        tuple(unlisted[:MAX_LISTED]),
        tuple(sorted(scripts | set(wheel.commands))[:MAX_LISTED]),
        tuple(_plugins(groups))[:MAX_LISTED],
        tuple(sorted({one for file in wheel.files for one in _roots(file)})[:MAX_ROOTS]),
    )


def _roots(file: WheelFile) -> Iterator[str]:
    """By which name Python imports what begins at this file, or holds it; nothing when it does not."""
    path = file.path
    if file.scheme == DATA:
        # Unpacked over the environment's own folder: what lies there comes before or among the packages.
        found = _OWN_FOLDER.match(path)
        if found is None:
            return
        path = path[found.end() :]
    elif file.scheme != LIB:
        return
    root = _MODULE.match(path)
    if root is not None:
        yield root[1]


def _plugins(text: bytes) -> Iterator[tuple[str, str, str]]:
    """Group, target and who loads it, of entry points that are loaded unasked."""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    try:
        parser.read_string(text.decode("utf-8", "replace"))
    except configparser.Error:
        return
    for group, loader in PLUGIN_GROUPS.items():
        if parser.has_section(group):
            for _, target in parser.items(group):
                yield group, target.strip()[:200], loader


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the ``.dist-info`` folder; empty when it is not there."""
    found = re.compile(rf"[^/]+\.dist-info/{re.escape(name)}\Z")
    for member in archive.infolist():
        if found.match(member.filename) and member.file_size <= MAX_SMALL:
            return archive.read(member)
    return b""


class _Opened(io.RawIOBase):
    """An input as a file, for the standard library's reader of archives."""

    def __init__(self, whole: Input) -> None:
        super().__init__()
        self._whole = whole
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._whole.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._whole.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
