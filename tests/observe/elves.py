"""Small ELF files made by hand: headers, one segment, a dynamic section and its strings, and no code."""

from __future__ import annotations

import struct
from collections.abc import Sequence

X86_64, I386, AARCH64 = 62, 3, 183
NEEDED, SONAME, RPATH, RUNPATH, FLAGS_1 = 1, 14, 15, 29, 0x6FFFFFFB
AUDIT, DEPAUDIT, AUXILIARY, FILTER = 0x6FFFFEFC, 0x6FFFFEFB, 0x7FFFFFFD, 0x7FFFFFFF
_STRTAB = 5
ADDRESS = 0x10000
"""Where the file is mapped: positions and addresses differ, as in real ones."""


def make_elf(
    *tags: tuple[int, str | int],
    bits: int = 64,
    order: str = "<",
    machine: int = X86_64,
    interpreter: str = "",
    decoy: Sequence[tuple[int, str]] = (),
) -> bytes:
    """A shared object with ``tags`` in its dynamic section.

    ``decoy``: a second dynamic section at the place in the file that the header of the true one names,
    which the loader does not go by.
    """
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        at = len(strings)
        strings.extend(value.encode() + b"\0")
        return at

    entries = [(tag, text(value) if isinstance(value, str) else value) for tag, value in tags]
    false = [(tag, text(value)) for tag, value in decoy]
    word, head, entry = ("Q", 64, 56) if bits == 64 else ("I", 52, 32)
    count = 3 if interpreter else 2
    named = head + count * entry
    begin = named + len(interpreter) + 1

    def dynamic(items: Sequence[tuple[int, int]], table: int) -> bytes:
        every = [*items, (_STRTAB, ADDRESS + table), (0, 0)]
        return b"".join(struct.pack(order + word * 2, tag, value) for tag, value in every)

    table = begin + len(dynamic(entries, 0)) + len(dynamic(false, 0))
    true = dynamic(entries, table)
    size = table + len(strings)
    at = begin + len(true) if decoy else begin
    segments = [
        _segment(order, bits, 1, 0, ADDRESS, size),
        _segment(order, bits, 2, at, ADDRESS + begin, len(true)),
    ]
    if interpreter:
        segments.insert(0, _segment(order, bits, 3, named, ADDRESS + named, len(interpreter) + 1))
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    layout = "HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"
    header = struct.pack(order + layout, 3, machine, 1, 0, head, 0, 0, head, entry, count)
    return b"".join(
        (
            (ident + header).ljust(head, b"\0"),
            *segments,
            interpreter.encode() + b"\0",
            true,
            dynamic(false, table),
            bytes(strings),
        )
    )


def _segment(order: str, bits: int, kind: int, offset: int, address: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack(order + "IIQQQQQQ", kind, 5, offset, address, address, size, size, 4096)
    return struct.pack(order + "IIIIIIII", kind, offset, address, address, size, size, 5, 4096)
