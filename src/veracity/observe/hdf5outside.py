"""Other files that an HDF5 file has its library open: links, raw storage, sources of virtual datasets.

What opens the file gets what lies there as if it was its own. All three are looked for in all bytes of the
file, by how they begin, and then read strictly: so they are found in whatever structure they are kept, and
bytes of arrays are not taken for them. Only groups whose links are packed (a filter on their heap) cannot be
read this way, and that is said.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (link message, external data files
message, global heap block for virtual datasets, fractal heap).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..core.errors import EvidenceError, ResourceLimitError
from .artifact.budget import Budget
from .artifact.input import WINDOW, Input

MAX_FOUND = 10_000
"""Places of each kind that are read; the files of one model are few."""
MAX_NAME = 1 << 12
MAX_SLOTS = 1_000
MAX_OBJECTS = 10_000
_OVERLAP = 32
_LINK = re.compile(rb"\x01[\x08-\x0f\x18-\x1f]\x40")
_RAW = re.compile(rb"\x01\0\0\0(?=(?!\0\0)..(?!\0\0)..)", re.DOTALL)
_HEAP = re.compile(rb"GCOL\x01\0\0\0")
_PACKED = re.compile(rb"FRHP\0..(?!\0\0)", re.DOTALL)
# Behind both names stands the kind of selection and its version.
_SOURCE = re.compile(rb"([^\0]{1,4096})\0([^\0]{1,4096})\0[\0-\3]\0\0\0[\1-\3]\0\0\0")
_ITSELF = b"."


@dataclass(slots=True)
class Outside:
    """Reads one file.

    ``base``: where its superblock begins. ``offset`` and ``length``: bytes of an offset and of a length.
    """

    whole: Input
    base: int
    offset: int
    length: int
    budget: Budget
    _told: set[tuple[str, str]] = field(default_factory=set)

    def files(self) -> Iterator[tuple[str, str]]:
        """What asks for it, and the path, each once.

        Raises EvidenceError when links are packed, ResourceLimitError when places are more than are read.
        """
        packed = False
        counts = dict.fromkeys((_LINK, _RAW, _HEAP), 0)
        for pattern, at in self._places():
            if pattern is _PACKED:
                packed = True
                continue
            found = list(self._read(pattern, at))
            counts[pattern] += bool(found)
            if counts[pattern] > MAX_FOUND:
                raise ResourceLimitError("names more files than are read", where=self.whole.name)
            for one in found:
                if one not in self._told:
                    self._told.add(one)
                    yield one
        if packed:
            raise EvidenceError("keeps links of a group packed, which are not read", where=self.whole.name)

    def _places(self) -> Iterator[tuple[re.Pattern[bytes], int]]:
        before, at = b"", 0
        for window in self.whole.windows(WINDOW):
            text = before + window
            for pattern in (_LINK, _RAW, _HEAP, _PACKED):
                for match in pattern.finditer(text):
                    # What begins in the overlap is found again with all of what follows it.
                    if match.start() >= len(text) - _OVERLAP and at + len(window) < self.whole.size:
                        break
                    yield pattern, at - len(before) + match.start()
            at += len(window)
            before = text[-_OVERLAP:]
            self.budget.check_time(self.whole.name)

    def _read(self, pattern: re.Pattern[bytes], at: int) -> Iterator[tuple[str, str]]:
        if pattern is _LINK:
            yield from self._link(at)
        elif pattern is _RAW:
            yield from self._raw(at)
        else:
            yield from self._virtual(at)

    def _link(self, at: int) -> Iterator[tuple[str, str]]:
        """A link message of an external link: flags, maybe order and character set, its name, its target."""
        flags = self.whole.read(at + 1, 1)[0]
        place = at + 3 + (8 if flags & 4 else 0)
        if flags & 16:
            if self.whole.read(place, 1) not in (b"\0", b"\1"):
                return
            place += 1
        width = 1 << (flags & 3)
        size = int.from_bytes(self.whole.read(place, width), "little")
        if not 0 < size <= 1 << 16:
            return
        name = self.whole.read(place + width, size)
        place += width + size
        size = int.from_bytes(self.whole.read(place, 2), "little")
        target = self.whole.read(place + 2, size)
        parts = target[1:].split(b"\0")
        if len(name) and len(target) == size and target[:1] == b"\0" and len(parts) == 3:
            file, inside, end = parts
            if file and inside and not end and b"\0" not in name:
                yield f"the link {_text(name)}", _text(file)

    def _raw(self, at: int) -> Iterator[tuple[str, str]]:
        """An external data files message: slots, each with the place of its file's name in a local heap."""
        slots, used = struct.unpack("<HH", self.whole.read(at + 4, 4).ljust(4, b"\0"))
        heap = self.base + self._number(at + 8, self.offset)
        head = self.whole.read(heap, 8)
        if not 0 < used <= min(slots, MAX_SLOTS) or head != b"HEAP\0\0\0\0":
            return
        names = self.base + self._number(heap + 8 + 2 * self.length, self.offset)
        for slot in range(used):
            place = self._number(at + 8 + self.offset + slot * 3 * self.length, self.length)
            name, end, _ = self.whole.read(names + place, MAX_NAME).partition(b"\0")
            if name and end:
                yield "the storage of a dataset", _text(name)

    def _virtual(self, at: int) -> Iterator[tuple[str, str]]:
        """Sources of virtual datasets among the objects of a global heap."""
        end = at + self._number(at + 8, self.length)
        place = at + 8 + self.length
        for _ in range(MAX_OBJECTS):
            if place >= min(end, self.whole.size):
                return
            index = self._number(place, 2)
            size = self._number(place + 8, self.length)
            if not index:
                return
            data = self.whole.read(place + 8 + self.length, min(size, WINDOW))
            if data[:1] in (b"\0", b"\1"):
                for source in _SOURCE.finditer(data, 1 + self.length):
                    # The selection before may end in a number of its own.
                    file = source[1].lstrip(bytes(range(1, 32)))
                    if file and file != _ITSELF:
                        yield "a virtual dataset", _text(file)
            place += 8 + self.length + (size + 7) // 8 * 8

    def _number(self, at: int, width: int) -> int:
        return int.from_bytes(self.whole.read(at, width), "little")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
