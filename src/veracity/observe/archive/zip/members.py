"""Members of a zip archive by all readings: where the bytes of each lie, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass, field

from .structures import ENCRYPTED, Central, Local

STORED, DEFLATED, BZIP2, LZMA, ZSTANDARD, XZ = 0, 8, 12, 14, 93, 95
METHODS = frozenset({*range(7), 8, 9, 10, 12, 14, 16, 18, 19, 20, 92, 93, 94, 95, 96, 97, 98, 99})
"""All methods that the specification names (4.4.5)."""


@dataclass(slots=True)
class Member:
    """Bytes of the archive that some reader takes for a member: ``packed`` of them from ``data``.

    ``names``: all that any reader knows it by, in the order they were found. ``checksums`` and ``sizes``:
    what is said of the content. ``encrypted``: whether one says so; ``surely``: all do. ``open``:
    its end was never told, so ``packed`` is how far it may reach.
    """

    data: int
    packed: int
    method: int
    names: list[bytes] = field(default_factory=list)
    checksums: set[int] = field(default_factory=set)
    sizes: set[int] = field(default_factory=set)
    encrypted: bool = False
    surely: bool = True
    mode: int = 0
    open: bool = False

    @property
    def end(self) -> int:
        """Where its data end."""
        return self.data + self.packed

    def seen(self, name: bytes, flags: int, crc: int | None, size: int | None) -> None:
        """One reader's word on it."""
        if name not in self.names:
            self.names.append(name)
        if crc is not None:
            self.checksums.add(crc)
        if size is not None:
            self.sizes.add(size)
        self.encrypted |= bool(flags & ENCRYPTED)
        self.surely &= bool(flags & ENCRYPTED)


class Members:
    """All members, each once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int, int], Member] = {}

    def __len__(self) -> int:
        return len(self._found)

    def all(self) -> list[Member]:
        """In the order of their places."""
        return sorted(self._found.values(), key=lambda one: (one.data, one.packed))

    def listed(self, central: Central, local: Local) -> None:
        """A member of a directory, and what its own header makes of it where that differs."""
        one = self._at(local.data, central.packed, central.method)
        one.seen(local.name, local.flags, None, None)
        for name in filter(None, (central.name, central.unicode)):
            one.seen(name, central.flags, central.crc, central.size)
        one.mode = one.mode or central.mode
        if central.size != central.packed and central.method == STORED:
            # Some take as many bytes as it is said to be packed into, others as it is long.
            self._copy(one, self._at(local.data, central.size, STORED))
        if local.method != central.method or (not local.described and local.packed != central.packed):
            packed = central.packed if local.described else local.packed
            self._copy(one, self._at(local.data, packed, local.method))

    def unlisted(self, local: Local, packed: int, *, is_open: bool = False) -> Member:
        """A member that no directory has."""
        one = self._at(local.data, packed, local.method)
        told = None if local.described else local.crc
        one.seen(local.name, local.flags, told, None if local.described else local.size)
        one.open = is_open
        return one

    def _at(self, data: int, packed: int, method: int) -> Member:
        key = (data, packed, method)
        if key not in self._found:
            self._found[key] = Member(data, packed, method)
        return self._found[key]

    @staticmethod
    def _copy(one: Member, other: Member) -> None:
        for name in one.names:
            if name not in other.names:
                other.names.append(name)
        other.checksums |= one.checksums
        other.encrypted |= one.encrypted
        other.surely &= one.surely
