"""Source texts kept once per digest, and which text of each path was trusted last.

``<home>/sources/<sha256>`` holds the bytes; ``<home>/sources/trusted.jsonl`` one line per decision:
``{"path": …, "sha256": …, "why": "record" | "held"}``, the last line of a path counting. A later change of
a file is thereby shown as a line diff against what its RECORD vouched for or a held run executed.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..core.errors import EvidenceError
from .accounts import recorded

MAX_INDEX = 64 << 20
MAX_TEXT = 16 << 20
_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Trusted:
    """The last trusted text of a path; ``why``: ``record`` or ``held``."""

    sha256: str
    why: str


class SourceStore:
    """The store under ``folder``, which is created when first written to.

    Raises OSError from the writing methods when the disk is full or the folder read-only.
    """

    @recorded
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "trusted.jsonl"
        self._trusted: dict[str, Trusted] = {}
        self._known: set[str] = set()
        self._load()

    @recorded
    def keep(self, data: bytes, digest: str = "") -> str:
        """Store a text once; its SHA-256 in hexadecimal, which a caller who has it already gives."""
        digest = digest or sha256(data).hexdigest()
        if digest in self._known or len(data) > MAX_TEXT:
            return digest
        place = self._folder / digest
        if not place.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._folder / f".{digest}.{os.getpid()}"
            draft.write_bytes(data)
            draft.replace(place)
        self._known.add(digest)
        return digest

    @recorded
    def read(self, digest: str) -> bytes:
        """The text of ``digest``; raises EvidenceError when it is absent or was edited."""
        if not _HEX.match(digest):
            raise EvidenceError(f"not a SHA-256 in hexadecimal: {digest[:80]!r}")
        place = self._folder / digest
        try:
            with place.open("rb") as file:
                data = file.read(MAX_TEXT + 1)
        except OSError as error:
            raise EvidenceError("source text is not in the store", where=str(place)) from error
        if sha256(data).hexdigest() != digest:
            raise EvidenceError("stored source text was edited", where=str(place))
        return data

    def trusted(self, path: str) -> Trusted | None:
        """What was trusted last for ``path``."""
        return self._trusted.get(path)

    @recorded
    def trust(self, path: str, digest: str, why: str) -> None:
        """Record that the text ``digest`` of ``path`` is trusted, because of ``why``."""
        entry = Trusted(digest, why)
        if self._trusted.get(path) == entry:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps({"path": path, "sha256": digest, "why": why}, ensure_ascii=True) + "\n"
        # One write in append mode: two monitors may share a home.
        with self._index.open("ab", buffering=0) as file:
            file.write(line.encode("ascii"))
        self._trusted[path] = entry

    def _load(self) -> None:
        """Read the index; lines that are malformed (a torn write) are passed over."""
        try:
            with self._index.open("rb") as file:
                data = file.read(MAX_INDEX)
        except OSError:
            return
        for line in data.splitlines():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(value, dict):
                continue
            path, digest, why = value.get("path"), value.get("sha256"), value.get("why")
            if isinstance(path, str) and isinstance(digest, str) and _HEX.match(digest):
                self._trusted[path] = Trusted(digest, why if isinstance(why, str) else "")
