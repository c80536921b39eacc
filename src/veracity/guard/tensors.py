"""Reading tensors without touching them: bytes, elements, digests. Works on any torch from 2.1 on."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import operator
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import torch

MAX_TENSORS = 20_000
MAX_DEPTH = 12


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """The elements of ``tensor`` in logical order as bytes; copies to the CPU when it lives elsewhere."""
    flat = tensor.detach().contiguous().cpu()
    size = flat.numel() * flat.element_size()
    return ctypes.string_at(flat.data_ptr(), size) if size else b""


def digest(tensor: torch.Tensor) -> str:
    """SHA-256 (hexadecimal) of the elements of a plain strided tensor in logical order."""
    flat = tensor.detach().contiguous().cpu()
    size = flat.numel() * flat.element_size()
    if not size:
        return hashlib.sha256(b"").hexdigest()
    view = (ctypes.c_char * size).from_address(flat.data_ptr())
    return hashlib.sha256(view).hexdigest()


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether elements can be read one by one: strided, materialised, not sharded, not quantized."""
    import torch

    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_quantized
    )


def walk(value: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors inside nested mappings, lists and tuples with their dotted paths, in order, depth bounded."""
    import torch

    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from walk(item, f"{prefix}.{key}" if prefix else str(key), depth + 1)
        elif isinstance(value, (list, tuple)):
            for position, item in enumerate(value):
                yield from walk(item, f"{prefix}.{position}" if prefix else str(position), depth + 1)


def describe(tensors: Iterator[tuple[str, torch.Tensor]]) -> tuple[list[dict[str, object]], bool]:
    """``TensorDigest`` bodies of the plain tensors, and whether the list had to be cut short."""
    found: list[dict[str, object]] = []
    for key, tensor in tensors:
        if len(found) >= MAX_TENSORS:
            return found, True
        if is_plain(tensor):
            found.append(
                {
                    "key": key,
                    "sha256": digest(tensor),
                    "dtype": str(tensor.dtype).removeprefix("torch."),
                    "shape": list(tensor.shape),
                }
            )
    return found, False


class Array(Protocol):
    """What is used of a NumPy array; a ctypes array of a tensor's memory offers the first two."""

    def __getitem__(self, index: int) -> int: ...
    def __len__(self) -> int: ...
    def __add__(self, other: object) -> Array: ...
    def __mul__(self, other: object) -> Array: ...
    def __mod__(self, other: object) -> Array: ...
    def __floordiv__(self, other: object) -> Array: ...

    def reshape(self, shape: tuple[int, ...]) -> Array:
        """The same elements in another shape."""

    def take(self, index: Array) -> Array:
        """The elements at these flat positions."""

    def tobytes(self) -> bytes:
        """The elements' bytes in order."""


class NumPy(Protocol):
    """What is used of NumPy, where the program or torch imported it."""

    uint32: type
    int64: type

    def frombuffer(self, buffer: object, dtype: type) -> Array:
        """Memory seen as an array."""

    def array(self, values: Sequence[int], dtype: type) -> Array:
        """An array of these values."""

    def arange(self, stop: int) -> Array:
        """The numbers below ``stop``."""

    def maximum(self, values: Array, least: int) -> Array:
        """Each value, but at least ``least``."""


def numpy_of(module: object) -> NumPy | None:
    """A module as :class:`NumPy`, None when it lacks what is used: then everything works without it."""
    names = ("uint32", "int64", "frombuffer", "array", "arange", "maximum")
    return cast("NumPy", module) if all(hasattr(module, name) for name in names) else None


def in_place(tensor: torch.Tensor) -> bool:
    """Whether the elements of a plain tensor can be read at its address: float32, contiguous, on the CPU."""
    import torch

    if tensor.dtype is not torch.float32 or not tensor.is_contiguous() or tensor.device.type != "cpu":
        return False
    address, size, storage = tensor.data_ptr(), tensor.numel(), tensor.untyped_storage()
    # A storage may have been shrunk under the tensor (sharded trainers do).
    return address != 0 and address + 4 * size <= storage.data_ptr() + storage.nbytes()


@dataclass(frozen=True, slots=True)
class Picked:
    """Positions of sampled elements in a flattened tensor, and what reads them out of its memory."""

    indices: tuple[int, ...]
    words: Callable[[Array], bytes]


class Reader:
    """Reads sampled elements of plain tensors without copying the rest of them.

    float32 in contiguous CPU memory is read in place, by NumPy where it has been imported anyway (it overlaps
    the waits for memory), else word by word: both a fraction of the cost of torch's own indexing. Everything
    else goes through torch. What was found out about a tensor is kept under a place (parameter and field) and
    used again only while pointer, size, type and layout are the same.
    """

    def __init__(self, numpy: object = None) -> None:
        import torch

        self._places: dict[tuple[int, str], tuple[int, int, Array]] = {}
        self._single = torch.float32
        self._kinds = (torch.Tensor, torch.nn.Parameter)
        self._numpy = numpy_of(numpy)

    def pick(self, indices: Sequence[int]) -> Picked:
        """The positions ``indices``, for :meth:`elements` of this reader."""
        count = len(indices)
        if self._numpy is not None:
            index = self._numpy.array(indices, self._numpy.int64)
            return Picked(tuple(indices), lambda words: words.take(index).tobytes())
        pack = struct.Struct(f"={count}I").pack
        # itemgetter of one index returns the bare item, so a single position is asked for twice and cut.
        getter = operator.itemgetter(*indices) if count > 1 else operator.itemgetter(*indices, *indices)
        if count > 1:
            return Picked(tuple(indices), lambda words: pack(*getter(words)))
        return Picked(tuple(indices), lambda words: pack(getter(words)[0]))

    def elements(
        self, place: tuple[int, str], tensor: object, picked: Picked, numel: int
    ) -> tuple[str, bytes] | None:
        """Type code (``f`` or ``d``) and raw values of the picked elements.

        None when ``tensor`` is no plain tensor of ``numel`` elements. Runs a hundred times at each step: the
        branch that is taken nearly always touches as little as it can.
        """
        kind = type(tensor)
        if kind is not self._kinds[0] and kind is not self._kinds[1]:
            return None
        known = self._places.get(place)
        if (
            known is None
            or known[0] != tensor.data_ptr()  # type: ignore[attr-defined]
            or known[1] != tensor.numel()  # type: ignore[attr-defined]
            or tensor.dtype is not self._single  # type: ignore[attr-defined]
            or not tensor.is_contiguous()  # type: ignore[attr-defined]
        ):
            return self._first(place, cast("torch.Tensor", tensor), picked, numel)
        return ("f", picked.words(known[2])) if known[1] == numel else None

    def _first(
        self, place: tuple[int, str], tensor: torch.Tensor, picked: Picked, numel: int
    ) -> tuple[str, bytes] | None:
        """Reads a tensor that is not, or not as it is now, under its place."""
        self._places.pop(place, None)
        if not is_plain(tensor) or tensor.numel() != numel:
            return None
        words = self._look(place, tensor)
        return ("f", picked.words(words)) if words is not None else _through_torch(tensor, picked)

    def _look(self, place: tuple[int, str], tensor: torch.Tensor) -> Array | None:
        """The tensor's memory as words, None where it cannot be read in place."""
        if not in_place(tensor):
            return None
        address, size = tensor.data_ptr(), tensor.numel()
        memory = _words_type(size).from_address(address)
        numpy = self._numpy
        words = cast("Array", memory) if numpy is None else numpy.frombuffer(memory, numpy.uint32)
        if len(self._places) < MAX_TENSORS:
            self._places[place] = address, size, words
        return words


def _through_torch(tensor: torch.Tensor, picked: Picked) -> tuple[str, bytes]:
    import torch

    bare = tensor.detach()
    index = torch.tensor(picked.indices, dtype=torch.int64, device=bare.device)
    found = bare.view(-1).index_select(0, index) if bare.is_contiguous() else bare.take(index)
    if found.dtype == torch.float64:
        return "d", raw_bytes(found)
    return "f", raw_bytes(found.to(torch.float32))


@functools.lru_cache(maxsize=4096)
def _words_type(size: int) -> type[ctypes.Array[ctypes.c_uint32]]:
    return ctypes.c_uint32 * size


def join(pieces: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One block of all pieces: float32 (``f``) or, when any piece is float64, float64 (``d``) values."""
    if all(code == "f" for code, _ in pieces):
        return "f", b"".join([data for _, data in pieces])
    wide: array[float] = array("d")
    for code, data in pieces:
        wide.extend(array(code, data).tolist())  # an array extends another one of its own kind only
    return "d", wide.tobytes()
