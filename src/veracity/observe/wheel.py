"""What a wheel holds, and where an installer puts each file of it.

A wheel is a zip archive. What lies at its root goes to the folder of packages, ``<name>.data/<scheme>/…`` to
the scheme's folder, and a script that begins with ``#!python`` gets a first line of its own. The wheel's own
RECORD says what should be in it. Nothing is executed.

Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.tree import CHUNK, add_chunks
from .pyenv import header_fields, parse_record

LIB, SCRIPTS, HEADERS, DATA = "lib", "scripts", "headers", "data"
MAX_ARCHIVE = 16 << 30
MAX_MEMBERS = 200_000
MAX_UNPACKED = 64 << 30
MAX_SMALL = 64 << 20
MAX_SCRIPTS = 10_000
MAX_TEXT = 500
_SCHEMES = {"purelib": LIB, "platlib": LIB, "scripts": SCRIPTS, "headers": HEADERS, "data": DATA}
_PART = 1 << 20
_NAME = re.compile(
    r"(?P<name>[^/-]+)-(?P<version>[^/-]+)(-(?P<build>\d[^/-]*))?"
    r"-(?P<python>[^/-]+)-(?P<abi>[^/-]+)-(?P<platform>[^/-]+)\.whl\Z"
)
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class WheelName:
    """A wheel's file name: ``tags`` are all its ``python-abi-platform`` triples."""

    name: str
    version: str
    tags: frozenset[str]


class WheelFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of a wheel. ``path`` is relative to the folder of its ``scheme``.

    There are tens of thousands in an environment, so it is what msgspec decodes without Python's help.

    ``digest`` is the one that a tree has for this content, ``sha256`` that of its bytes: they differ for
    what is larger than a chunk. ``rest``: of a script that begins with ``#!python``, the SHA-256 of what
    follows its first line; else empty.
    """

    scheme: str
    path: str
    digest: str
    sha256: str
    size: int
    executable: bool
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Wheel:
    """The content of a wheel.

    ``tags`` as its WHEEL file has them. ``commands``: the scripts that an installer writes for its entry
    points, name → ``module:attribute``. ``unlike_record``: files that its own RECORD names otherwise.
    """

    name: str
    version: str
    tags: tuple[str, ...]
    files: tuple[WheelFile, ...]
    commands: Mapping[str, str]
    unlike_record: tuple[str, ...]


def wheel_name(filename: str) -> WheelName | None:
    """What a file name says; None when it is not a wheel's."""
    found = _NAME.match(filename)
    if found is None:
        return None
    tags = frozenset(
        f"{python}-{abi}-{platform}"
        for python in found["python"].split(".")
        for abi in found["abi"].split(".")
        for platform in found["platform"].split(".")
    )
    return WheelName(found["name"], found["version"], tags)


def read_wheel(path: Path, sha256: str = "") -> tuple[str, Wheel]:
    """The SHA-256 of the archive at ``path``, and its content.

    The bytes are copied aside while they are digested, and the copy is read, so that nobody can exchange
    them between. With ``sha256`` an archive of another digest is not read. Raises EvidenceError when it is
    another, or no wheel; ResourceLimitError when it is larger than anything sensible.
    """
    with tempfile.TemporaryFile(prefix="veracity-wheel-") as copy:
        try:
            with open(path, "rb", opener=_opener) as source:
                digest = _copy(source, copy)
        except OSError as error:
            raise EvidenceError(f"{path} cannot be read: {error.strerror or error}") from error
        if sha256 and digest != sha256:
            raise EvidenceError(f"{path.name} has the SHA-256 {digest}, not {sha256}")
        return digest, _content(copy, path.name)


def read_archive(file: IO[bytes], name: str) -> Wheel:
    """The content of a wheel in an open file that nobody else can write; raises as :func:`read_wheel`."""
    return _content(file, name)


def _opener(path: str, flags: int) -> int:
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise EvidenceError(f"{path} is not a file")
    return handle


def _copy(source: IO[bytes], copy: IO[bytes]) -> str:
    sha, size = hashlib.sha256(), 0
    while part := source.read(_PART):
        size += len(part)
        if size > MAX_ARCHIVE:
            raise ResourceLimitError(f"an archive of more than {MAX_ARCHIVE >> 30} GiB")
        sha.update(part)
        copy.write(part)
    return sha.hexdigest()


def _content(file: IO[bytes], name: str) -> Wheel:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive, name)
    except _UNREADABLE as error:
        raise EvidenceError(
            f"{name} is not a readable wheel: {type(error).__name__}: {str(error)[:200]}"
        ) from error


def _read(archive: zipfile.ZipFile, name: str) -> Wheel:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise ResourceLimitError(f"{name} holds more than {MAX_MEMBERS:,} files")
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        raise ResourceLimitError(f"{name} unpacks to more than {MAX_UNPACKED >> 30} GiB")
    names = {member.filename for member in members}
    if len(names) != len(members):
        raise EvidenceError(f"{name} has two files of one name")
    info = _info_folder(names, name)
    record = parse_record(_small(archive, f"{info}/RECORD"))
    files, unlike = [], []
    for member in members:
        found = _file(archive, member, info)
        files.append(found)
        expected = record.get(member.filename, ("", -1))[0]
        if member.filename.startswith(f"{info}/RECORD"):
            continue  # with its signatures: they cannot name themselves
        if expected != found.sha256:
            unlike.append(member.filename)
    headers = dict(reversed(list(header_fields(_small(archive, f"{info}/METADATA")))))
    wheel = header_fields(_small(archive, f"{info}/WHEEL"))
    tags = [value[:MAX_TEXT] for key, value in wheel if key == "tag"]
    commands = _commands(
        _small(archive, f"{info}/entry_points.txt") if f"{info}/entry_points.txt" in names else b""
    )
    return Wheel(
        headers.get("name", "")[:MAX_TEXT],
        headers.get("version", "")[:MAX_TEXT],
        tuple(tags),
        tuple(files),
        commands,
        tuple(unlike),
    )


def _info_folder(names: set[str], wheel: str) -> str:
    found = {one.split("/")[0] for one in names if one.split("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise EvidenceError(f"{wheel} has {len(found)} .dist-info folders")
    return found.pop()


def _file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, info: str) -> WheelFile:
    scheme, path = _place(member.filename, info)
    whole, chunk, chunks, left = hashlib.sha256(), hashlib.sha256(), [], CHUNK
    rest = None
    with archive.open(member) as file:
        size = 0
        while part := file.read(min(_PART, left)):
            if not size and scheme == SCRIPTS and re.match(rb"#!pythonw?[ \r\n]", part):
                rest = hashlib.sha256()
                rest.update(part.split(b"\n", 1)[1] if b"\n" in part else b"")
            elif rest is not None:
                rest.update(part)
            size += len(part)
            left -= len(part)
            whole.update(part)
            chunk.update(part)
            if not left:
                chunks.append(chunk.hexdigest())
                chunk, left = hashlib.sha256(), CHUNK
    if left != CHUNK:
        chunks.append(chunk.hexdigest())
    sha256 = whole.hexdigest()
    digest = add_chunks(size, chunks, _forget) if size > CHUNK else sha256
    executable = bool(member.external_attr >> 16 & 0o111)
    return WheelFile(scheme, path, digest, sha256, size, executable, rest.hexdigest() if rest else "")


def _place(name: str, info: str) -> tuple[str, str]:
    """Scheme and path of a member; raises EvidenceError for a path that leads out of its folder."""
    if name.startswith("/") or "\\" in name or "\0" in name or {"..", ".", ""} & set(name.split("/")):
        raise EvidenceError(f"the path of a file leads elsewhere: {name[:200]!r}")
    data = info.removesuffix(".dist-info") + ".data/"
    if not name.startswith(data):
        return LIB, name
    scheme, _, path = name[len(data) :].partition("/")
    if scheme not in _SCHEMES or not path:
        raise EvidenceError(f"a file is of no known scheme: {name[:200]!r}")
    return _SCHEMES[scheme], path


def _small(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member of a sensible size; raises EvidenceError when it is not there or larger."""
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise EvidenceError(f"it has no {name}") from error
    if member.file_size > MAX_SMALL:
        raise ResourceLimitError(f"its {name} is larger than {MAX_SMALL >> 20} MiB")
    return archive.read(member)


def _commands(data: bytes) -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(data.decode("utf-8", "replace"))
    except configparser.Error as error:
        raise EvidenceError("its entry_points.txt cannot be read") from error
    return dict(_entries(parser))


def _entries(parser: configparser.RawConfigParser) -> Iterator[tuple[str, str]]:
    for group in ("console_scripts", "gui_scripts"):
        if parser.has_section(group):
            for name, value in parser.items(group)[:MAX_SCRIPTS]:
                yield name.strip(), value.partition("[")[0].replace(" ", "")


def _forget(digest: str, data: bytes) -> None:
    """The node of a large file's chunks: only its digest is wanted."""
