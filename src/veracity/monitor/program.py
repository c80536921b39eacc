"""The program's own text: as a file, or as a member of the archive that was started, and as it was sealed."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from ..core.errors import EvidenceError
from ..observe import pysource
from ..observe.torchzip import digest_file
from .sources import SourceStore

PROGRAM, MAIN = "program", "__main__"
MAX_ARCHIVE = 64 << 20
MAX_PARENTS = 32


@dataclass(frozen=True, slots=True)
class ProgramText:
    """A program's text, and the file that it was read from: the same, or an archive that holds it."""

    source: pysource.PySource
    file: str
    sha256: str


class SealedProgram:
    """What a seal says of programs. ``standing`` and ``digest`` ask it about a file by its path."""

    def __init__(self, standing: Callable[[str, str], str], digest: Callable[[str], str]) -> None:
        self._standing = standing
        self._digest = digest

    def text(self, found: ProgramText, sources: SourceStore) -> bytes:
        """The text that was sealed; that of the file when none was, or nobody has the sealed one any more."""
        wanted = self._digest(found.file)
        if not wanted or wanted == found.sha256 or found.file != found.source.path:
            return found.source.data
        try:
            return sources.read(wanted)
        except EvidenceError:
            return found.source.data

    def standing(self, found: ProgramText, text: bytes) -> str:
        """How the text that the program is compared with stands in the seal."""
        same = text == found.source.data
        return self._standing(found.file, found.sha256 if same else sha256(text).hexdigest())


def read_program(path: str) -> ProgramText | str:
    """The text of the program at ``path``, or a sentence saying why there is none.

    Where a file lies on the way to it, that is an archive (``python app.pyz``), and the rest its member.
    """
    if not os.path.isabs(path):
        return "it has no file"
    if os.path.lexists(path):
        if path.endswith((".pyc", ".so")):
            return "compiled code was started"
        found = pysource.read_source(path)
        return found if isinstance(found, str) else ProgramText(found, path, found.sha256)
    archive = os.path.dirname(path)
    for _ in range(MAX_PARENTS):
        if os.path.isfile(archive):
            return _member(archive, path)
        archive = os.path.dirname(archive)
    return "it is gone"


def _member(archive: str, path: str) -> ProgramText | str:
    digest = digest_file(archive, MAX_ARCHIVE)
    if isinstance(digest, str):
        return digest
    try:
        with zipfile.ZipFile(archive) as file, file.open(path[len(archive) + 1 :]) as member:
            data = member.read(pysource.MAX_SOURCE + 1)
        status = os.stat(archive)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        return f"cannot be read from its archive: {error}"[:200]
    if len(data) > pysource.MAX_SOURCE:
        return "larger than 16 MiB"
    source = pysource.PySource(path, data, sha256(data).hexdigest(), status.st_mtime_ns, status.st_ctime_ns)
    return ProgramText(source, archive, digest.sha256)
