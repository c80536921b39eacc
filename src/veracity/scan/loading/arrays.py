"""Makers of numpy's data: arrays, scalars, dtypes. The only module here with numpy.

As ``numpy/_core/multiarray`` and ``numpy/_core/numeric`` pickle them (numpy 1.x and 2.x).
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from ...core.errors import UsageError
from .build import Makers, UnfitError
from .opaque import Named, Opaque

if TYPE_CHECKING:
    import numpy as np

MAX_DIMENSIONS = 64
MAX_FIELDS = 10_000
_CODE = re.compile(r"[<>=|]?(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUVa]\d{0,9}|O\d?|[mM]8)\Z")
_UNITS = {"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "μs", "ns", "ps", "fs", "as", "generic"}
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def numpy_module() -> ModuleType:
    """The numpy of this environment; raises UsageError without one."""
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise UsageError(
            "numpy is not installed here, and the file holds arrays",
            remedy="install numpy, or use `veracity scan`",
        ) from error


def makers() -> Makers:
    """The table; raises UsageError without numpy."""
    numpy = numpy_module()
    table = Makers()
    build = _Arrays(numpy)
    for module in _MODULES:
        table.calls[module, "_reconstruct"] = build.empty
        table.calls[module, "scalar"] = build.scalar
    for module in _NUMERIC:
        table.calls[module, "_frombuffer"] = build.from_buffer
    table.calls["numpy", "dtype"] = build.dtype
    table.states["numpy", "ndarray"] = build.filled
    for kind in {
        type(numpy.dtype(code)) for code in ("V8", "O", "M8[D]", "m8[D]", "S1", "U1", *"?bhilqBHILQefdgFDG")
    }:
        table.changes[kind] = build.changed
    return table


class _Arrays:
    def __init__(self, numpy: ModuleType) -> None:
        self._numpy = numpy

    def dtype(self, given: Sequence[object]) -> object:
        """``(code, align, copy)``."""
        if not 1 <= len(given) <= 3 or not isinstance(given[0], str) or not _CODE.match(given[0]):
            raise UnfitError
        try:
            return self._numpy.dtype(given[0])
        except (TypeError, ValueError) as error:
            raise UnfitError from error

    def changed(self, target: object, state: object) -> object:
        """``(3|4, order, subarray, names, fields, size, alignment, flags[, metadata])``: dtype's state."""
        if (
            not isinstance(target, self._numpy.dtype)
            or not isinstance(state, tuple)
            or not 8 <= len(state) <= 9
        ):
            raise UnfitError
        _, order, subarray, names, fields, size = state[:6]
        if order not in ("<", ">", "=", "|"):
            raise UnfitError
        try:
            if target.kind in "mM":
                return self._moment(target, order, state[8] if len(state) == 9 else None)
            if names:
                return self._record(names, fields, size)
            if subarray is not None:
                base, shape = subarray
                if not isinstance(base, self._numpy.dtype):
                    raise UnfitError
                return self._numpy.dtype((base, _shape(shape)))
            return target.newbyteorder(order) if order != "|" else target
        except (TypeError, ValueError, KeyError) as error:
            raise UnfitError from error

    def _moment(self, target: np.dtype, order: str, metadata: object) -> object:
        """Of times: ``(…, (unit, number, …))`` says what they count."""
        if not isinstance(metadata, tuple) or len(metadata) != 2 or not isinstance(metadata[1], tuple):
            raise UnfitError
        unit, number = metadata[1][:2]
        name = unit.decode("utf-8") if isinstance(unit, bytes) else unit
        if name not in _UNITS or not isinstance(number, int):
            raise UnfitError
        inside = "" if name == "generic" else f"[{number}{name}]"
        return self._numpy.dtype(f"{target.kind}8{inside}").newbyteorder(order)

    def _record(self, names: object, fields: object, size: object) -> object:
        if not isinstance(names, tuple) or not isinstance(fields, dict) or len(names) > MAX_FIELDS:
            raise UnfitError
        if not isinstance(size, int) or not all(isinstance(name, str) for name in names):
            raise UnfitError
        formats = [fields[name][0] for name in names]
        offsets = [fields[name][1] for name in names]
        if not all(isinstance(one, self._numpy.dtype) for one in formats):
            raise UnfitError
        return self._numpy.dtype(
            {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size}
        )

    def empty(self, given: Sequence[object]) -> object:
        """``_reconstruct(ndarray, (0,), b'b')``: an array whose state follows; subclasses stay opaque."""
        if len(given) != 3 or given[0] != Named("numpy", "ndarray") or given[1] != (0,):
            raise UnfitError
        return Opaque("numpy", "ndarray")

    def filled(self, _: Opaque, state: object) -> object:
        """``(version, shape, dtype, is_fortran, data)``."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnfitError
        _, shape, dtype, fortran, data = state
        return self._array(data, dtype, _shape(shape), "F" if fortran else "C")

    def from_buffer(self, given: Sequence[object]) -> object:
        """``(data, dtype, shape, order)``, as protocol 5 has it."""
        if len(given) != 4 or given[3] not in ("C", "F", "A"):
            raise UnfitError
        return self._array(given[0], given[1], _shape(given[2]), "F" if given[3] == "F" else "C")

    def _array(self, data: object, dtype: object, shape: tuple[int, ...], order: str) -> object:
        numpy = self._numpy
        if not isinstance(dtype, numpy.dtype):
            raise UnfitError
        count = math.prod(shape)
        if dtype.hasobject:
            if not isinstance(data, list) or len(data) != count or dtype != numpy.dtype("O"):
                raise UnfitError
            made = numpy.empty(count, dtype="O")
            for at, one in enumerate(data):
                made[at] = one  # assigned one by one: numpy would make arrays of lists otherwise
            return made.reshape(shape, order=order)
        if not isinstance(data, (bytes, bytearray)) or len(data) != count * dtype.itemsize:
            raise UnfitError
        if not dtype.itemsize:
            return numpy.zeros(shape, dtype)
        return numpy.frombuffer(bytearray(data), dtype=dtype).reshape(shape, order=order)

    def scalar(self, given: Sequence[object]) -> object:
        """``(dtype, data)``."""
        if len(given) != 2 or not isinstance(given[0], self._numpy.dtype):
            raise UnfitError
        dtype: np.dtype = given[0]
        data = given[1]
        if dtype.hasobject or not isinstance(data, bytes) or len(data) != dtype.itemsize or not data:
            raise UnfitError
        return self._numpy.frombuffer(bytearray(data), dtype=dtype)[0]


def _shape(value: object) -> tuple[int, ...]:
    value = (value,) if isinstance(value, int) else value
    if not isinstance(value, tuple) or len(value) > MAX_DIMENSIONS:
        raise UnfitError
    numbers = tuple(
        one for one in value if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 48
    )
    if len(numbers) != len(value):
        raise UnfitError
    return numbers
