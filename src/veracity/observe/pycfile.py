"""Compiled Python (``.pyc``): which names each of its functions uses, without loading it.

The standard library's reader of these files is not made for hostile ones, and loading is what is to be
judged. So they are walked through by a reader of our own, which keeps names and nothing else. What the
code does is not followed: bytecode differs from release to release. Whether it is what its source compiles
to, ``veracity seal`` compares.

Format: ``Python/marshal.c`` of CPython 3.6 to 3.14, and PEP 552 for the header.
"""

from __future__ import annotations

import importlib.util
import re
import struct
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, NoReturn

from ..core.errors import EvidenceError, ResourceLimitError
from ..core.observation import CompiledFunction, Observation
from ..core.origin import monitor_origin
from .artifact.budget import Budget
from .artifact.cursor import Cursor
from .artifact.input import Input
from .artifact.reading import Nested
from .pysource import decode

HEADER = 16
MAX_DEPTH = 150
MAX_OBJECTS = 5_000_000
MAX_SAID = 20_000
MAX_NAMES = 2_000
MAX_TEXT = 1_000
MAX_SOURCE = 4 << 20
MAX_FOREIGN = 50
_CACHED = re.compile(
    r"(?:.*[/\\])?__pycache__[/\\]([^/\\!]+?)\.(?:cpython-\d+|pypy\d+(?:-\w+)?)(?:\.opt-\d)?\.pyc\Z",
    re.DOTALL,
)
"""How Python itself names the bytecode of a source; what tools cache under other names only they load."""
_WORD = re.compile(r"[\w\u0300-\U0010ffff]+")
"""Identifiers, with the marks that letters of some scripts have."""
_COMPILERS = frozenset({"join"})
"""What the compiler itself calls: an f-string of many parts is put together by ``str.join``."""
_MANGLED = re.compile(r"_[^\W_]\w*?(__\w+)\Z")
_FIRST, _PLAIN, _LATEST = 3_360, 3_450, 3_699
"""Numbers of releases: 3.6, 3.11 (from which a code object has other fields), and those that may come."""
_POSITIONAL = 3_400
_SIZES = {**dict.fromkeys("NFTS.0", 0), "i": 4, "I": 8, "g": 8, "y": 16}
_TEXTS = {"a": 4, "A": 4, "u": 4, "t": 4, "z": 1, "Z": 1}
_GROUPS = {"(": 4, "[": 4, "<": 4, ">": 4, ")": 1}


class PycReader:
    """Compiled Python."""

    name: ClassVar[str] = "pyc"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """Whether it begins with the number of a release and a code object."""
        number = int.from_bytes(head[:2], "little")
        code = len(head) > HEADER and head[HEADER] & 127 == ord("c")
        return head[2:4] == b"\r\n" and _FIRST <= number <= _LATEST and code

    def read(self, whole: Input, budget: Budget) -> Iterator[Observation | Nested]:
        """The names of each function; raises EvidenceError when they cannot be read, or have no source."""
        number = int.from_bytes(whole.read(0, 2), "little")
        reading = _Marshal(Cursor(whole, HEADER), number, whole.name, budget)
        try:
            reading.one(0)
        finally:
            words = _words_of_source(whole)
            for one in reading.said[:MAX_SAID]:
                yield one if words is None else replace(one, foreign=_foreign(one.names, words))
        if "__pycache__/" not in whole.name:
            raise EvidenceError(
                "is compiled Python without its source: of what it does, only the names were read",
                where=whole.name,
                remedy="ask for the source, or compare it with what that compiles to",
            )


def _words_of_source(whole: Input) -> frozenset[str] | None:
    """All words of the source beside it; None where Python would not load the file, or none can tell."""
    found = _CACHED.match(whole.name)
    if found is None or whole.beside is None:
        return None
    flags, written, size = struct.unpack("<III", whole.read(4, 12))
    try:
        with whole.beside.opened(f"{found[1]}.py", above=True) as source:
            if source is None or source.size > MAX_SOURCE:
                return None
            same = (written, size) == (source.modified & 0xFFFFFFFF, source.size & 0xFFFFFFFF)
            data = source.read(0, source.size)
    except EvidenceError:
        return None
    fits = same if not flags & 1 else _fits(whole, data) if flags & 2 else True
    if not fits:
        return None
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", decode(data)))) | _COMPILERS


def _fits(whole: Input, data: bytes) -> bool:
    """Whether the header has the digest of a source; only of this Python's own release that can be told."""
    ours = whole.read(0, 4) == importlib.util.MAGIC_NUMBER
    return ours and whole.read(8, 8) == importlib.util.source_hash(data)


def _foreign(names: tuple[str, ...], words: frozenset[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        for part in name.split("."):
            own = part.startswith("__") and part.endswith("__")
            mangled = _MANGLED.match(part)
            if part and not own and part not in words and not (mangled and mangled[1] in words):
                found.append(part)
    return tuple(found[:MAX_FOREIGN])


@dataclass(slots=True)
class _Marshal:
    cursor: Cursor
    number: int
    name: str
    budget: Budget
    said: list[CompiledFunction] = field(default_factory=list)
    references: list[object] = field(default_factory=list)
    left: int = MAX_OBJECTS

    def one(self, depth: int) -> object:
        """One object: a text, a tuple of such, or None for what is not kept."""
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise ResourceLimitError("has more, or deeper, objects than are read", where=self.name)
        if self.left % 65_536 == 0:
            self.budget.check_time(self.name)
        byte = self.cursor.take(1)[0]
        kind = chr(byte & 127)
        place = -1
        if byte & 128:
            place = len(self.references)
            self.references.append(None)
        value = self._value(kind, depth)
        if place >= 0:
            self.references[place] = value
        return value

    def _value(self, kind: str, depth: int) -> object:
        if kind in _SIZES:
            self.cursor.skip(_SIZES[kind])
            return kind if kind == "0" else None
        if kind in _TEXTS:
            return self._text(self._int(_TEXTS[kind]))
        if kind in _GROUPS:
            return tuple(self.one(depth + 1) for _ in range(self._int(_GROUPS[kind])))
        if kind == "s":
            self.cursor.skip(self._int(4))
        elif kind == "l":
            self.cursor.skip(abs(self._int(4)) * 2)
        elif kind in "fx":
            for _ in range(1 + (kind == "x")):
                self.cursor.skip(self._int(1))
        elif kind == "r":
            at = self._int(4)
            if not 0 <= at < len(self.references):
                self._refused(kind)
            return self.references[at]
        elif kind == "{":
            while self.one(depth + 1) != "0":
                self.one(depth + 1)
        elif kind == ":":
            for _ in range(3):
                self.one(depth + 1)
        elif kind == "c":
            self._code(depth)
        else:
            self._refused(kind)
        return None

    def _code(self, depth: int) -> None:
        newer = self.number >= _PLAIN
        self.cursor.skip(4 * (5 if newer or self.number < _POSITIONAL else 6))
        self.one(depth + 1)
        self.one(depth + 1)
        names = self.one(depth + 1)
        for _ in range(2 if newer else 3):
            self.one(depth + 1)
        self.one(depth + 1)
        title = self.one(depth + 1)
        if newer:
            title = self.one(depth + 1)
        self.cursor.skip(4)
        for _ in range(2 if newer else 1):
            self.one(depth + 1)
        known = [one for one in names if isinstance(one, str)] if isinstance(names, tuple) else []
        self.said.append(
            CompiledFunction(
                monitor_origin(time.time_ns(), source="scan"),
                self.name,
                title if isinstance(title, str) else "",
                tuple(known[:MAX_NAMES]),
            )
        )

    def _int(self, size: int) -> int:
        return int.from_bytes(self.cursor.take(size), "little", signed=size == 4)

    def _text(self, size: int) -> str:
        if size < 0:
            self._refused("text")
        data = self.cursor.take(min(size, MAX_TEXT))
        self.cursor.skip(max(0, size - MAX_TEXT))
        return data.decode("utf-8", "replace")

    def _refused(self, kind: str) -> NoReturn:
        raise EvidenceError(
            f"has an object of a kind that is not known ({kind!r}) before byte {self.cursor.at:,}",
            where=self.name,
        )
