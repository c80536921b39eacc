"""What the header of a 7z archive says (``7zFormat.txt`` of the LZMA SDK), within bounds.

A *folder* is a chain of coders over one stretch of packed data; the files in it lie one after the other in
what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ....core.errors import EvidenceError, ResourceLimitError

MAX_COUNT = 200_000
_END, _HEADER, _STREAMS, _FILES = 0x00, 0x01, 0x04, 0x05
_PACK, _UNPACK, _SUB, _SIZE, _CRC, _FOLDER = 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B
_UNPACK_SIZE, _NUM_STREAMS = 0x0C, 0x0D
_EMPTY, _EMPTY_FILE, _NAMES, _ATTRIBUTES = 0x0E, 0x0F, 0x11, 0x15
_ARCHIVE, _ADDITIONAL = 0x02, 0x03
_UNIX = 0x8000


@dataclass(frozen=True, slots=True)
class Coder:
    """One step of unpacking: the method's id and its properties, and how many streams go in and come out."""

    method: bytes
    properties: bytes
    inputs: int
    outputs: int


@dataclass(slots=True)
class Folder:
    """``binds``: pairs of the input and the output that feeds it. ``packed``: inputs fed from the file.

    ``sizes``: what comes out of each coder. ``crc``: of the whole, None when it is not told.
    """

    coders: list[Coder]
    binds: list[tuple[int, int]]
    packed: list[int]
    sizes: list[int] = field(default_factory=list)
    crc: int | None = None


@dataclass(slots=True)
class Streams:
    """``at``: where packed data begin, behind the signature header; ``packed``: their sizes, in order.

    ``files``: for each folder, size and checksum of what lies in it, one after the other.
    """

    at: int = 0
    packed: list[int] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    files: list[list[tuple[int, int | None]]] = field(default_factory=list)


@dataclass(slots=True)
class Names:
    """Names of all entries, which of them have data, and their modes of Unix (0 when not told)."""

    names: list[str] = field(default_factory=list)
    with_data: list[bool] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)


class Cursor:
    """Reads a header from its beginning to its end; raises EvidenceError where it is not well-formed."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._at = 0

    def wrong(self, what: str = "its header is damaged") -> EvidenceError:
        """The error for this archive."""
        return EvidenceError(what, where=self._where, remedy="fetch the file again")

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count < 0 or self._at + count > len(self._data):
            raise self.wrong()
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def byte(self) -> int:
        """The next one."""
        return self.take(1)[0]

    def number(self) -> int:
        """A number whose first byte says how many follow."""
        first = self.byte()
        value = 0
        for index in range(8):
            mask = 0x80 >> index
            if not first & mask:
                return value | (first & (mask - 1)) << 8 * index
            value |= self.byte() << 8 * index
        return value

    def count(self) -> int:
        """A number of things, each of which would take memory."""
        value = self.number()
        if value > MAX_COUNT:
            raise ResourceLimitError(f"says that it holds more than {MAX_COUNT:,} things", where=self._where)
        return value

    def bits(self, count: int, *, or_all: bool = False) -> list[bool]:
        """So many bits, the highest first; ``or_all``: a byte before them may say that all are set."""
        if or_all and self.byte():
            return [True] * count
        data = self.take((count + 7) // 8)
        return [bool(data[index >> 3] & 0x80 >> (index & 7)) for index in range(count)]

    def checksums(self, count: int) -> list[int | None]:
        """One for each of ``count`` things, where it is told."""
        return [
            int.from_bytes(self.take(4), "little") if told else None for told in self.bits(count, or_all=True)
        ]

    def expect(self, wanted: int) -> None:
        """The next byte has to be this one."""
        if self.byte() != wanted:
            raise self.wrong()


def parse_header(cursor: Cursor) -> tuple[Streams, Names, bool]:
    """Streams and names; the last says that the streams are an encoded header, to be unpacked and parsed."""
    kind = cursor.byte()
    if kind == 0x17:
        return parse_streams(cursor), Names(), True
    if kind != _HEADER:
        raise cursor.wrong()
    streams, names = Streams(), Names()
    while (kind := cursor.byte()) != _END:
        if kind == _ARCHIVE:
            while cursor.byte() != _END:
                cursor.take(cursor.number())
        elif kind == _STREAMS:
            streams = parse_streams(cursor)
        elif kind == _FILES:
            names = _parse_files(cursor)
        else:
            raise cursor.wrong("its header has parts that are not known")
    return streams, names, False


def parse_streams(cursor: Cursor) -> Streams:
    """Packed streams, folders, and what lies in each."""
    streams = Streams()
    subdivided = False
    while (kind := cursor.byte()) != _END:
        if kind == _PACK:
            _parse_pack(cursor, streams)
        elif kind == _UNPACK:
            _parse_folders(cursor, streams)
        elif kind == _SUB:
            _parse_sub(cursor, streams)
            subdivided = True
        else:
            raise cursor.wrong()
    if not subdivided:
        streams.files = [[(_size_of(one, cursor), one.crc)] for one in streams.folders]
    return streams


def _parse_pack(cursor: Cursor, streams: Streams) -> None:
    streams.at = cursor.number()
    count = cursor.count()
    while (kind := cursor.byte()) != _END:
        if kind == _SIZE:
            streams.packed = [cursor.number() for _ in range(count)]
        elif kind == _CRC:
            cursor.checksums(count)
        else:
            raise cursor.wrong()


def _parse_folders(cursor: Cursor, streams: Streams) -> None:
    cursor.expect(_FOLDER)
    count = cursor.count()
    cursor.expect(0)  # not in another stream
    streams.folders = [_parse_folder(cursor) for _ in range(count)]
    cursor.expect(_UNPACK_SIZE)
    for folder in streams.folders:
        folder.sizes = [cursor.number() for _ in range(sum(one.outputs for one in folder.coders))]
    while (kind := cursor.byte()) != _END:
        if kind != _CRC:
            raise cursor.wrong()
        for folder, checksum in zip(streams.folders, cursor.checksums(count), strict=True):
            folder.crc = checksum


def _parse_folder(cursor: Cursor) -> Folder:
    coders = []
    count = cursor.number()
    if not 0 < count <= 32:
        raise cursor.wrong()
    for _ in range(count):
        flags = cursor.byte()
        method = cursor.take(flags & 15)
        inputs = outputs = 1
        if flags & 0x10:
            inputs, outputs = cursor.number(), cursor.number()
        if not 0 < inputs <= 32 or outputs != 1:
            raise cursor.wrong()
        coders.append(Coder(method, cursor.take(cursor.number()) if flags & 0x20 else b"", inputs, outputs))
    binds = [(cursor.number(), cursor.number()) for _ in range(count - 1)]
    total = sum(one.inputs for one in coders)
    fed = {one for one, _ in binds}
    packed = total - len(binds)
    if packed < 1:
        raise cursor.wrong()
    free = [index for index in range(total) if index not in fed]
    return Folder(coders, binds, [cursor.number() for _ in range(packed)] if packed > 1 else free)


def _parse_sub(cursor: Cursor, streams: Streams) -> None:
    counts = [1] * len(streams.folders)
    kind = cursor.byte()
    if kind == _NUM_STREAMS:
        counts = [cursor.count() for _ in streams.folders]
        if sum(counts) > MAX_COUNT:
            raise cursor.wrong("its header counts too many files")
        kind = cursor.byte()
    sizes: list[list[int]] = []
    for folder, count in zip(streams.folders, counts, strict=True):
        some = [cursor.number() for _ in range(count - 1)] if kind == _SIZE else []
        if count:
            some.append(_size_of(folder, cursor) - sum(some))
        sizes.append(some if min(some, default=0) >= 0 and len(some) == count else [])
    if kind == _SIZE:
        kind = cursor.byte()
    pairs = zip(streams.folders, counts, strict=True)
    untold = sum(count for folder, count in pairs if count != 1 or folder.crc is None)
    checksums: list[int | None] = [None] * untold
    while kind != _END:
        if kind != _CRC:
            raise cursor.wrong()
        checksums = cursor.checksums(untold)
        kind = cursor.byte()
    left = iter(checksums)
    for folder, some in zip(streams.folders, sizes, strict=True):
        known = len(some) == 1 and folder.crc is not None
        streams.files.append([(size, folder.crc if known else next(left, None)) for size in some])


def _size_of(folder: Folder, cursor: Cursor) -> int:
    """How much comes out of a folder: of the coder that feeds no other."""
    feeding = {one for _, one in folder.binds}
    for index, size in enumerate(folder.sizes):
        if index not in feeding:
            return size
    raise cursor.wrong()


def _parse_files(cursor: Cursor) -> Names:
    count = cursor.count()
    found = Names([""] * count, [True] * count, [0] * count)
    while (kind := cursor.byte()) != _END:
        inner = Cursor(cursor.take(cursor.number()), "")
        if kind == _EMPTY:
            found.with_data = [not one for one in inner.bits(count)]
        elif kind == _NAMES:
            inner.expect(0)
            text = inner.rest().decode("utf-16-le", "replace")
            names = text.split("\0")
            found.names = (names + [""] * count)[:count]
        elif kind == _ATTRIBUTES:
            told = inner.bits(count, or_all=True)
            inner.expect(0)
            values = [int.from_bytes(inner.take(4), "little") if one else 0 for one in told]
            found.modes = [one >> 16 if one & _UNIX else 0 for one in values]
    return found
