"""The ``run-*.wandb`` file that W&B writes, online or offline: what was logged, before anything is sent.

A log of records in blocks of 32 KiB, laid out as LevelDB's log (its ``log_format.md``), with CRC-32 instead
of CRC-32C and seven bytes of header in front. Each is a ``Record`` message of W&B's
``wandb_internal.proto``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ...core.observation import LoggedValue
from .lines import MAX_KEYS, Printed, parsed, values_of
from .protobuf import LENGTH, VARINT, fields

BLOCK = 32 << 10
HEADER = 7
IDENT = b":W&B\xe1\xbe\x00"
MAX_RECORD = 4 << 20
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class WandbFile:
    """The numbers of the history records."""

    whole = False

    def __init__(self) -> None:
        self.damaged = ""
        self._rest = b""
        self._read = 0
        self._at = 0
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[LoggedValue]:
        """The numbers of the records that ``data`` completes."""
        self._rest, self._read = self._rest[self._read :] + data, 0
        while not self.damaged:
            record = self._record()
            if record is None:
                return
            yield from _history(record)

    def _record(self) -> bytes | None:
        """The next whole record; None when there is none yet."""
        while True:
            piece = self._piece()
            if piece is None:
                return None
            kind, data = piece
            if kind in (FULL, FIRST):
                self._parts, self._length = [], 0
            self._length += len(data)
            if self._length <= MAX_RECORD:
                self._parts.append(data)
            if kind in (FULL, LAST):
                whole, self._parts = b"".join(self._parts), []
                return whole if self._length <= MAX_RECORD else b""

    def _piece(self) -> tuple[int, bytes] | None:
        if self._at == 0:
            start = self._next(HEADER)
            if start is None:
                return None
            if start != IDENT:
                self.damaged = "it does not begin as a W&B file does"
                return None
            self._pass(HEADER)
        left = BLOCK - self._at % BLOCK
        if left < HEADER:
            if self._next(left) is None:
                return None
            self._pass(left)
        head = self._next(HEADER)
        if head is None:
            return None
        check, size, kind = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:6], "little"), head[6]
        if kind not in (FULL, FIRST, MIDDLE, LAST) or HEADER + size > BLOCK - self._at % BLOCK:
            self.damaged = "a record's header is none"
            return None
        whole = self._next(HEADER + size)
        if whole is None:
            return None
        if zlib.crc32(whole[HEADER:], zlib.crc32(bytes([kind]))) != check:
            self.damaged = "the checksum of a record does not fit"
            return None
        self._pass(HEADER + size)
        return kind, whole[HEADER:]

    def _next(self, count: int) -> bytes | None:
        """The next bytes, without passing them; None when so many are not there yet."""
        found = self._rest[self._read : self._read + count]
        return found if len(found) == count else None

    def _pass(self, count: int) -> None:
        self._read += count
        self._at += count


def _history(record: bytes) -> Iterator[LoggedValue]:
    for number, kind, value in fields(record):
        if number == 2 and kind == LENGTH and isinstance(value, bytes):
            row: dict[str, object] = {}
            for inner, inner_kind, item in fields(value):
                if not isinstance(item, bytes) or inner_kind != LENGTH:
                    continue
                if inner == 1 and len(row) < MAX_KEYS:
                    row.update(_item(item))
                elif inner == 2:
                    row.update(_step(item))
            yield from values_of(row)


def _item(data: bytes) -> dict[str, object]:
    """One key and its value; nested keys are joined by points."""
    key: list[str] = []
    text = ""
    for number, _, value in fields(data):
        if isinstance(value, bytes):
            if number in (1, 2):
                key.append(value.decode("utf-8", "replace"))
            elif number == 16:
                text = value.decode("utf-8", "replace")
    found = parsed(text)
    return {".".join(key): found} if isinstance(found, Printed) else {}


def _step(data: bytes) -> dict[str, object]:
    for number, kind, value in fields(data):
        if number == 1 and kind == VARINT:
            return {"_step": Printed(value)}
    return {"_step": Printed(0)}
