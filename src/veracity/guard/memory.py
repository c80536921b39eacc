"""NumPy's view of the process' own memory, where NumPy has been imported anyway.

Elements of many tensors are read in one go through a window over all addresses, of which no word is touched
but those asked for: one call overlaps the waits for memory that reading them one by one would add up.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

_FIRST = 1 << 12
_WORDS = (1 << 45) - (1 << 20)


class Array(Protocol):
    """What is used of a NumPy array."""

    def __getitem__(self, index: int) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Array]: ...
    def __add__(self, other: object) -> Array: ...
    def __mul__(self, other: object) -> Array: ...
    def __mod__(self, other: object) -> Array: ...
    def __floordiv__(self, other: object) -> Array: ...

    def reshape(self, shape: tuple[int, ...]) -> Array:
        """The same elements in another shape."""

    def repeat(self, times: Sequence[int]) -> Array:
        """Each element as often as the number at its place says."""

    def take(self, index: Array) -> Array:
        """The elements at these flat positions."""

    def tobytes(self) -> bytes:
        """The elements' bytes in order."""

    def tolist(self) -> list[int]:
        """The elements as Python numbers."""

    def astype(self, dtype: type) -> Array:
        """The elements as numbers of another type."""


class NumPy(Protocol):
    """What is used of NumPy."""

    uint32: type
    uint64: type
    int64: type

    def frombuffer(self, buffer: object, dtype: type) -> Array:
        """Memory seen as an array."""

    def array(self, values: Sequence[int], dtype: type) -> Array:
        """An array of these values."""

    def arange(self, stop: int) -> Array:
        """The numbers below ``stop``."""

    def maximum(self, values: Array, least: int) -> Array:
        """Each value, but at least ``least``."""

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """One array of all."""


_USED = ("uint32", "uint64", "int64", "frombuffer", "array", "arange", "maximum", "concatenate")


def numpy_of(module: object) -> NumPy | None:
    """A module as :class:`NumPy`, None when it lacks what is used: then everything works without it."""
    usable = sys.byteorder == "little" and all(hasattr(module, name) for name in _USED)
    return cast("NumPy", module) if usable else None


def window(numpy: NumPy) -> Array:
    """All of the memory as 32-bit words, from :func:`word_of` 's word 0 on."""
    return numpy.frombuffer((ctypes.c_uint32 * _WORDS).from_address(_FIRST), numpy.uint32)


def word_of(address: int) -> int:
    """The window's word at an address, which is a multiple of 4."""
    return (address - _FIRST) >> 2
