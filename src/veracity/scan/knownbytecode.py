"""Bytecode already verified: its digest and the digest of the source it was compared with.

One file per interpreter tag and optimization level, ``<cache>/bytecode-cpython-311-0``, with a line
``<sha256 of body> <sha256 of source>`` for each pair found the same; ``pyc-…`` has such lines with the
digests of whole files, headers included, for who compares files at rest. The guard reads the former too, to
ship only bodies that are new; so the pair counts for the monitor, never the body alone. Whoever can write
the cache can lie in it: it saves time within one account, it proves nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

MAX_FILE = 16 << 20
_TAG = re.compile(r"\.(?P<tag>[a-z]+-[0-9]{2,4}t?)(\.opt-(?P<optimize>[12]))?\.pyc\Z")
_LONGEST = len(".implementation-1234t.opt-2.pyc")
_LINE = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{64})\Z")


def tag_of(cached: str) -> str:
    """``cpython-311-0`` for ``…/adam.cpython-311.pyc``; empty for a name of another form."""
    found = _TAG.search(cached[-_LONGEST:])
    if found is None:
        return ""
    return f"{found['tag']}-{found['optimize'] or 0}"


class KnownBytecode:
    """The pairs of all tags, read when first asked for; ``of`` begins the files' names."""

    def __init__(self, cache: Path, of: str = "bytecode") -> None:
        self._cache = cache
        self._of_what = of
        self._pairs: dict[str, dict[str, set[str]]] = {}
        self._lines: dict[str, set[str]] = {}

    def sources(self, tag: str, body: str) -> frozenset[str]:
        """Digests of the sources that ``body`` was found to be compiled from."""
        return frozenset(self._of(tag).get(body, ())) if tag else frozenset()

    def knows(self, tag: str, body: str, source: str) -> bool:
        """Whether ``body`` was found to be compiled from ``source``."""
        return bool(tag) and f"{body} {source}" in self._lines_of(tag)

    def add(self, tag: str, body: str, source: str) -> None:
        """Remember a pair. Raises OSError when the cache cannot be written."""
        if not tag or self.knows(tag, body, source):
            return
        line = f"{body} {source}"
        self._lines_of(tag).add(line)
        if tag in self._pairs:
            self._pairs[tag].setdefault(body, set()).add(source)
        place = self._cache / f"{self._of_what}-{tag}"
        if place.exists() and place.stat().st_size > MAX_FILE - 256:
            place.unlink()  # what is still in use fills it again
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with place.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode("ascii"))

    def _of(self, tag: str) -> dict[str, set[str]]:
        pairs = self._pairs.get(tag)
        if pairs is None:
            pairs = self._pairs[tag] = {}
            for found in filter(None, map(_LINE.match, self._lines_of(tag))):
                pairs.setdefault(found[1], set()).add(found[2])
        return pairs

    def _lines_of(self, tag: str) -> set[str]:
        """The lines of a file as they are: whether one is there takes no more."""
        lines = self._lines.get(tag)
        if lines is None:
            lines = self._lines[tag] = set(_text(self._cache / f"{self._of_what}-{tag}").split("\n"))
        return lines


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("ascii", "replace")
    except OSError:
        # Nothing is known then; a cache that cannot be written either is reported by add().
        return ""
