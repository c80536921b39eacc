"""A distribution's RECORD, asked about single files: most of its lines are as they should be."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable
from functools import cached_property

from ..observe.pyenv import Distribution, parse_record, read_small

MAX_RECORD = 64 << 20
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_COMMAND = re.compile(rb"(?:\.\./){1,8}bin/([^/,]+),")


class Record:
    """The RECORD of one distribution; one that cannot be read says nothing."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    @cached_property
    def _data(self) -> bytes:
        return read_small(os.path.join(self.distribution.info, "RECORD"), MAX_RECORD) or b""

    @cached_property
    def _lines(self) -> frozenset[bytes]:
        return frozenset(self._data.splitlines())

    @cached_property
    def _parsed(self) -> dict[str, tuple[str, int]]:
        return parse_record(self._data)

    def says(self, path: bytes, sha256: str, size: int) -> bool:
        """Whether a line says exactly this of ``path``: quicker than to read the line."""
        digest = binascii.b2a_base64(bytes.fromhex(sha256), newline=False).translate(_URL_SAFE, b"=")
        return b"%b,sha256=%b,%d" % (path, digest, size) in self._lines

    def sha256(self, path: str) -> str:
        """The digest that it has for ``path``; empty when it has none."""
        return self._parsed.get(path, ("", -1))[0]

    def names(self, path: str) -> bool:
        """Whether it names ``path``."""
        return path in self._parsed

    def commands(self) -> set[str]:
        """The names in the environment's folder of commands that it names."""
        return {os.fsdecode(found[1]) for found in map(_COMMAND.match, self._data.splitlines()) if found}

    def paths(self) -> Iterable[str]:
        """All paths below the folder of packages that it names."""
        return self._parsed.keys()
