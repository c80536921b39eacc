"""Wheels at the gate: whether they hold what their own RECORD says, and what they put where by itself.

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
from typing import ClassVar

from ..core.errors import EvidenceError
from ..core.observation import Observation, WheelCompared
from ..core.origin import monitor_origin
from .artifact.budget import Budget
from .artifact.input import Input
from .artifact.reading import Nested
from .autoload import PLUGIN_GROUPS
from .pyenv import parse_record
from .wheel import Wheel, read_archive

MAX_DIRECTORY = 64 << 20
MAX_LISTED = 50
MAX_SMALL = 4 << 20
_END = b"PK\5\6"
_INFO = re.compile(rb"[^/\0]{1,200}\.dist-info/(RECORD|WHEEL|METADATA)")
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


class WheelReader:
    """Archives with the description of a distribution in them."""

    name: ClassVar[str] = "wheel"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether the directory of a zip archive names the files that make a wheel."""
        if not head.startswith(b"PK"):
            return False
        try:
            return len({found[1] for found in _INFO.finditer(_directory(whole))}) > 1
        except EvidenceError:
            return False

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """The comparison; raises EvidenceError when it cannot be read, ResourceLimitError at a bound."""
        file = io.BufferedReader(_Opened(whole))
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                budget.spend_members(len(members), whole.name)
                budget.spend_unpacked(sum(one.file_size for one in members), whole.name)
                record, groups = _small(archive, "RECORD"), _small(archive, "entry_points.txt")
        except _UNREADABLE as error:
            raise EvidenceError(
                f"is no wheel that can be read: {str(error)[:200]}", where=whole.name
            ) from error
        file.seek(0)
        wheel = read_archive(file, whole.name)
        yield _compared(whole.name, wheel, set(parse_record(record)), groups)


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
    )


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


def _directory(whole: Input) -> bytes:
    """The central directory, as its end says where it lies; empty when it is not there or too large."""
    tail = whole.read(max(0, whole.size - 65_557), 65_557)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        return b""
    size, start = struct.unpack("<II", tail[at + 12 : at + 20])
    end = whole.size - len(tail) + at
    return whole.read(max(0, min(start, end - size)), min(size, MAX_DIRECTORY))


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
