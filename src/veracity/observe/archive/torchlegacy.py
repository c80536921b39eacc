"""What torch wrote before its zip files: pickles with raw storages behind or between them.

A file of ``torch.save(…, _use_new_zipfile_serialization=False)`` is five pickles in a row (a magic number, a
version, what the machine was like, the object, the keys of its storages) and then, for each key, the number
of elements and these. Of the older tar archives, the members ``storages`` and ``tensors`` have pickles and
numbers in turn. How long the numbers are, the pickles say (``torch/serialization.py``, ``_legacy_load``); so
they are followed, not run, and what stands behind numbers is read as what torch would take it for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import EvidenceError
from ...core.pickleprogram import End, Global, ListOf, Persistent, PickleProgram, Value
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Found, Nested
from ..pickle.machine import walk

MAGIC = 0x1950A86A20F9469CFC6C
IN_A_ROW = 5
MAX_STORAGES = 200_000
MAX_DIMENSIONS = 1 << 16
_MAGIC_BYTES = (MAGIC.to_bytes(10, "little"), str(MAGIC).encode())
_SIZES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "QUInt8", "QInt8", "QUInt4x2", "QUInt2x4", "Untyped"), 1),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}  # fmt: skip
"""Bytes of one element by the name of the storage's class, without ``Storage``."""


class TorchLegacyReader:
    """Reads a file of torch from before its zip files: what stands behind the five pickles."""

    name: ClassVar[str] = "torch-legacy"
    has_signature: ClassVar[bool] = True

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the magic number in the first pickle."""
        return any(one in head[:64] for one in _MAGIC_BYTES)

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """The storages, as plain numbers, and what stands behind them; the pickles are read by themselves."""
        programs: list[PickleProgram] = []
        at = 0
        for index in range(IN_A_ROW):
            program = walk(whole, at, record_values=index == IN_A_ROW - 1)
            if program.ending.kind is not End.STOP or (index == 0 and program.result != MAGIC):
                return  # torch fails here, too
            programs.append(program)
            at += program.consumed
        for key, begin, length in storages_of(whole, programs[3], programs[4]):
            budget.check_time(whole.name)
            yield Nested(whole.part(f"storage {key}", begin, length), raw=True)
            at = begin + length
        if at < whole.size:
            yield Nested(whole.part("behind", at, whole.size - at))


def storages_of(whole: Input, saved: PickleProgram, listed: PickleProgram) -> Iterator[tuple[str, int, int]]:
    """Key, offset and length in bytes of each storage, in the order in which they stand.

    ``saved``: the program of the object, ``listed``: that of the keys behind it, with its values recorded.
    Raises EvidenceError where they are cut off, or are not those of the object.
    """
    sizes = dict(_storages(saved))
    at = listed.start + listed.consumed
    for key in _keys(listed, whole):
        if key not in sizes:
            raise EvidenceError("lists a storage that its object does not name", where=whole.name)
        length = _elements(whole, at) * sizes[key]
        _within(whole, at + 8 + length)
        yield key, at + 8, length
        at += 8 + length


class TorchTarPartReader:
    """Reads ``storages`` and ``tensors`` of a tar of torch: a number, then pickles and numbers in turn."""

    name: ClassVar[str] = "torch-tar-part"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """By two pickles: how many there are, and what the first one is."""
        if b"." not in head[:32]:
            return False
        first = walk(head[:64])
        if first.ending.kind is not End.STOP or type(first.result) is not int:
            return False
        return _part_of(walk(head, first.consumed)) is not None

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """Pickles behind numbers; those before the first numbers are read by themselves."""
        first = walk(whole)
        at = first.consumed
        count = first.result if isinstance(first.result, int) else 0
        budget.spend_members(max(0, min(count, MAX_STORAGES)), whole.name)
        for index in range(min(count, MAX_STORAGES)):
            budget.check_time(whole.name)
            program = walk(whole, at)
            part = _part_of(program)
            if index and part is not None:
                yield Nested(whole.part(f"pickle {index + 1}", at, program.consumed))
            if part is None:
                yield Nested(whole.part("behind", at, whole.size - at))
                raise EvidenceError("holds a pickle that torch would not have there", where=whole.name)
            at += program.consumed
            at += _tensor_size(whole, at) if part == 0 else 8 + part * _elements(whole, at)
            _within(whole, at)
        if at < whole.size:
            yield Nested(whole.part("behind", at, whole.size - at))


def _storages(program: PickleProgram) -> Iterator[tuple[str, int]]:
    """Keys of the storages that a pickle asks for, and bytes of one element."""
    for one in program.operations:
        if isinstance(one, Persistent):
            said = one.value.identifier
            if isinstance(said, tuple) and len(said) >= 3 and isinstance(said[2], str):
                size = _element_size(said[1])
                if size:
                    yield said[2], size


def _keys(program: PickleProgram, whole: Input) -> list[str]:
    result = program.result
    if isinstance(result, ListOf) and not result.more and len(result.items) <= MAX_STORAGES:
        keys = [one for one in result.items if isinstance(one, str)]
        if len(keys) == len(result.items):
            return keys
    raise EvidenceError("its list of storages cannot be known", where=whole.name)


def _element_size(kind: Value) -> int:
    """Bytes of an element of a storage's class, 0 when it is none."""
    if not isinstance(kind, Global) or not kind.name.endswith("Storage"):
        return 0
    return _SIZES.get(kind.name.removesuffix("Storage").rpartition(".")[2], 0)


def _part_of(program: PickleProgram) -> int | None:
    """Bytes of an element when the pickle is of a storage, 0 when of a tensor, None when of neither."""
    said = program.result
    if program.ending.kind is not End.STOP or not isinstance(said, tuple) or len(said) != 3:
        return None
    kind = said[2]
    if isinstance(kind, Global) and kind.name.endswith("Tensor"):
        return 0
    return _element_size(kind) or None


def _elements(whole: Input, at: int) -> int:
    """The number of elements before a storage's bytes; raises EvidenceError when it is cut off or none."""
    read = whole.read(at, 8)
    count = int.from_bytes(read, "little", signed=True)
    if len(read) < 8 or count < 0:
        raise EvidenceError("its numbers are cut off or damaged", where=whole.name)
    return count


def _within(whole: Input, at: int) -> None:
    """Raise EvidenceError when numbers go on behind the end."""
    if at > whole.size:
        raise EvidenceError("its numbers are cut off", where=whole.name, remedy="fetch the file again")


def _tensor_size(whole: Input, at: int) -> int:
    """Bytes that say a tensor's shape, strides and offset."""
    read = whole.read(at, 4)
    dimensions = struct.unpack("<i", read)[0] if len(read) == 4 else -1
    if not 0 <= dimensions <= MAX_DIMENSIONS:
        raise EvidenceError("its tensors are cut off or damaged", where=whole.name)
    return 8 + 16 * int(dimensions) + 8
