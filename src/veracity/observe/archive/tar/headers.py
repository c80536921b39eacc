"""Headers of tar: v7, ustar, pax (POSIX.1-2001, pax) and GNU's, as CPython's ``tarfile`` understands them."""

from __future__ import annotations

import re
from dataclasses import dataclass

BLOCK = 512
REGULAR = b"07\x00"
HARD_LINK, SYMBOLIC_LINK, CHARACTER, DEVICE, FOLDER, PIPE = b"1", b"2", b"3", b"4", b"5", b"6"
LONG_NAME, LONG_LINK, SPARSE = b"L", b"K", b"S"
PAX, PAX_GLOBAL, PAX_SUN = b"x", b"g", b"X"
_GNU_OTHERS = b"DMNV"
_OCTAL = re.compile(rb"[0-7]+")
_RECORD = re.compile(rb"([0-9]{1,20}) ")


@dataclass(frozen=True, slots=True)
class Header:
    """One block. ``kind`` is its type flag; ``size`` in bytes as it says, whatever the kind."""

    name: bytes
    mode: int
    size: int
    kind: bytes
    link: bytes
    block: bytes

    @property
    def has_data(self) -> bool:
        """Whether data of ``size`` follow by its kind; kinds that nobody knows are taken for files."""
        return self.kind not in (HARD_LINK, SYMBOLIC_LINK, CHARACTER, DEVICE, FOLDER, PIPE)


def read_header(block: bytes) -> Header | None:
    """The header in a block, None when its checksum does not fit or a number in it is none."""
    if len(block) < BLOCK:
        return None
    said = number(block[148:156])
    if said is None:
        return None
    rest = block[:148] + b" " * 8 + block[156:]
    unsigned = sum(rest)
    signed = unsigned - 256 * sum(one > 127 for one in rest)
    if said not in (unsigned, signed):
        return None
    size, mode = number(block[124:136]), number(block[100:108])
    if size is None or size < 0:
        return None
    kind = block[156:157]
    name = _text(block[:100])
    if block[257:262] == b"ustar" and kind not in (SPARSE, LONG_NAME, LONG_LINK):
        prefix = _text(block[345:500])
        if prefix and block[257:265] != b"ustar  \0":
            name = prefix + b"/" + name
    return Header(name, mode or 0, size, kind, _text(block[157:257]), block)


def number(field: bytes) -> int | None:
    """A number in octal digits or, with the first bit set, in base 256; None when it is neither."""
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - 256 ** (len(field) - 1)
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    try:
        return int(digits, 8)  # tarfile's way, which takes more than digits
    except ValueError:
        found = _OCTAL.match(digits)  # and others', which stop at what is none
        return int(found[0], 8) if found else None


def pax_records(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Keyword and value of each record of an extended header, None when they are not well-formed."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        length = _RECORD.match(data, at)
        if length is None:
            return found if not data[at:].strip(b"\0") else None
        end = at + int(length[1])
        keyword, equals, value = data[length.end() : end - 1].partition(b"=")
        if end <= length.end() or end > len(data) or not equals:
            return None
        found.append((keyword, value))
        at = end
    return found


def gnu_sparse_map(header: Header) -> tuple[list[tuple[int, int]], bool, int]:
    """Pieces (offset, length) of an old GNU sparse header, whether there are more, and the real size."""
    pieces = sparse_pieces(header.block[386:482])
    return pieces, header.block[482:483] != b"\0", number(header.block[483:495]) or 0


def sparse_pieces(field: bytes) -> list[tuple[int, int]]:
    """Pieces in a field of pairs of twelve bytes each."""
    found = []
    for at in range(0, len(field) - 23, 24):
        offset, length = number(field[at : at + 12]), number(field[at + 12 : at + 24])
        if offset is None or length is None or offset < 0 or length < 0:
            break
        if length or offset:
            found.append((offset, length))
    return found


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
