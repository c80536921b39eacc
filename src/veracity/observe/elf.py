"""What an ELF file tells the loader: which libraries it needs, and where it wants them looked for.

Only the headers and the dynamic section are read, by position, so that a library of gigabytes costs a few
kilobytes. All of it may be hostile: every count and length has a bound, and whatever is no sound file raises.

The dynamic section is found as the loader finds it, by the addresses of the segments and not by positions in
the file: two readers must not see two lists of libraries in one file.

Format: System V ABI, https://gabi.xinuos.com/; tags as in glibc's ``elf/elf.h``.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..core.errors import EvidenceError, ResourceLimitError

MAGIC = b"\x7fELF"
MAX_HEADERS = 1_024
MAX_DYNAMIC = 1 << 20
MAX_NAMES = 4_096
MAX_TEXT = 16_384
PAGE = 4_096
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 5, 14, 15, 29, 0x6FFFFFFB
_AUDIT, _DEPAUDIT, _AUXILIARY, _FILTER = 0x6FFFFEFC, 0x6FFFFEFB, 0x7FFFFFFD, 0x7FFFFFFF
_LISTS = (_NEEDED, _AUXILIARY, _FILTER)
_NODEFLIB = 0x800

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""So many bytes from an offset on, fewer where the file ends."""


@dataclass(frozen=True, slots=True)
class Elf:
    """A program or shared object, as far as the loader's search goes.

    ``bits`` (32 or 64), ``order`` (``little`` or ``big``) and ``machine`` (``e_machine``) must be those of
    the program that loads it. ``needed`` are the names of DT_NEEDED in their order, ``filters`` of DT_FILTER
    and DT_AUXILIARY, ``audit`` of DT_AUDIT and DT_DEPAUDIT (lists with colons). ``rpath`` and ``runpath`` are
    None where there is none. ``nodeflib``: it wants no default folders (DF_1_NODEFLIB).
    """

    bits: int
    order: str
    machine: int
    needed: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    soname: str = ""
    interpreter: str = ""
    nodeflib: bool = False

    @property
    def kind(self) -> tuple[int, str, int]:
        """What two objects of one process have in common."""
        return self.bits, self.order, self.machine


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def read_elf(path: str) -> Elf | str:
    """The ELF file at ``path``; a sentence where it cannot be read; empty for a file of another kind."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return "cannot be read: it is no regular file"
        head = os.pread(handle, PAGE, 0)
        if not head.startswith(MAGIC):
            return ""

        def read(offset: int, length: int) -> bytes:
            stop = offset + length
            return head[offset:stop] if stop <= len(head) else os.pread(handle, length, offset)

        return parse_elf(read)
    except EvidenceError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or errno.errorcode.get(error.errno or 0, '')}"
    finally:
        os.close(handle)


def parse_elf(read: ReadAt) -> Elf:
    """An ELF file read by position.

    Raises EvidenceError for what is none or is malformed, ResourceLimitError for one beyond the bounds.
    """
    ident = read(0, 16)
    if len(ident) < 16 or ident[:4] != MAGIC:
        raise EvidenceError("it is no ELF file")
    if ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise EvidenceError("it is an ELF file of no known class or byte order")
    bits, sign = (32, 64)[ident[4] - 1], "<>"[ident[5] - 1]
    header = _unpack(read, 16, sign + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"))
    machine, table, entry_size, count = header[1], header[4], header[8], header[9]
    segments = list(_segments(read, sign, bits, table, entry_size, count))
    found = Elf(bits, "little" if sign == "<" else "big", machine)
    return _with_dynamic(found, read, sign, segments)


def _segments(
    read: ReadAt, sign: str, bits: int, table: int, entry_size: int, count: int
) -> Iterator[_Segment]:
    if count > MAX_HEADERS:
        raise ResourceLimitError(f"it has more than {MAX_HEADERS} program headers")
    if count and entry_size != (56 if bits == 64 else 32):
        raise EvidenceError("its program headers have an impossible size")
    for number in range(count):
        at = table + number * entry_size
        if bits == 64:
            kind, _, offset, address, _, size = _unpack(read, at, sign + "IIQQQQ")
        else:
            kind, offset, address, _, size = _unpack(read, at, sign + "IIIII")
        yield _Segment(kind, offset, address, size)


def _with_dynamic(found: Elf, read: ReadAt, sign: str, segments: list[_Segment]) -> Elf:
    # The kernel takes the first interpreter, the loader the last dynamic section that has a size.
    named = next((one for one in segments if one.kind == _PT_INTERP), None)
    interpreter = _text(read, named.offset, min(named.size, MAX_TEXT)) if named is not None else ""
    dynamic = [one for one in segments if one.kind == _PT_DYNAMIC and one.size]
    if not dynamic:
        return Elf(found.bits, found.order, found.machine, interpreter=interpreter)
    loaded = [one for one in segments if one.kind == _PT_LOAD]
    tags = _tags(read, sign, found.bits, _place(loaded, dynamic[-1].address), dynamic[-1].size)
    last = dict(tags)
    strings = _place(loaded, last[_STRTAB]) if _STRTAB in last else None

    def text(value: int) -> str:
        if strings is None:
            raise EvidenceError("its dynamic section names text and has no table of strings")
        return _text(read, strings + value, MAX_TEXT)

    def of(*wanted: int) -> tuple[str, ...]:
        return tuple(text(value) for tag, value in tags if tag in wanted)

    return Elf(
        found.bits,
        found.order,
        found.machine,
        needed=of(_NEEDED),
        filters=of(_AUXILIARY, _FILTER),
        audit=tuple(text(last[tag]) for tag in (_AUDIT, _DEPAUDIT) if tag in last),
        rpath=text(last[_RPATH]) if _RPATH in last else None,
        runpath=text(last[_RUNPATH]) if _RUNPATH in last else None,
        soname=text(last[_SONAME]) if _SONAME in last else "",
        interpreter=interpreter,
        nodeflib=bool(last.get(_FLAGS_1, 0) & _NODEFLIB),
    )


def _tags(read: ReadAt, sign: str, bits: int, place: int, size: int) -> list[tuple[int, int]]:
    """Tag and value of the entries of the dynamic section, up to its end."""
    if size > MAX_DYNAMIC:
        raise ResourceLimitError(f"its dynamic section is larger than {MAX_DYNAMIC >> 10} KiB")
    layout = struct.Struct(sign + ("QQ" if bits == 64 else "II"))
    data = read(place, size)
    tags: list[tuple[int, int]] = []
    for tag, value in layout.iter_unpack(data[: len(data) // layout.size * layout.size]):
        if tag == 0:
            break
        tags.append((tag, value))
    if sum(tag in _LISTS for tag, _ in tags) > MAX_NAMES:
        raise ResourceLimitError(f"it needs more than {MAX_NAMES} libraries")
    return tags


def _place(loaded: list[_Segment], address: int) -> int:
    """Where in the file lies what is mapped at an address: whole pages are, and later ones cover earlier."""
    for one in reversed(loaded):
        begin = one.address - one.address % PAGE
        if begin <= address < -(-(one.address + one.size) // PAGE) * PAGE:
            place = one.offset + address - one.address
            if place >= 0:
                return place
    raise EvidenceError("its dynamic section lies in none of its segments")


def _unpack(read: ReadAt, offset: int, layout: str) -> tuple[int, ...]:
    size = struct.calcsize(layout)
    data = _at(read, offset, size)
    if len(data) < size:
        raise EvidenceError("it ends within its headers")
    return struct.unpack(layout, data)


def _text(read: ReadAt, offset: int, limit: int) -> str:
    """A string that ends with a zero byte."""
    data = _at(read, offset, 256)
    if b"\0" not in data:
        data = _at(read, offset, limit)
    text, zero, _ = data[:limit].partition(b"\0")
    if not zero:
        raise ResourceLimitError(f"it holds text that does not end within {limit} bytes")
    return os.fsdecode(text)


def _at(read: ReadAt, offset: int, size: int) -> bytes:
    if not 0 <= offset < 1 << 62:
        raise EvidenceError("it points beyond its end")
    return read(offset, size)
