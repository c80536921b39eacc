"""Reading tensors without touching them: bytes, elements, digests. Works on any torch from 2.1 on."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import operator
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Picked:
    """Positions of sampled elements in a flattened tensor, in the forms that reading needs."""

    indices: tuple[int, ...]
    getter: Callable[[Sequence[int] | ctypes.Array[ctypes.c_uint32]], tuple[int, ...]]

    @classmethod
    def of(cls, indices: Sequence[int]) -> Picked:
        """The positions ``indices``."""
        # itemgetter of one index returns the bare item, so a single position is asked for twice and cut.
        getter = (
            operator.itemgetter(*indices) if len(indices) > 1 else operator.itemgetter(*indices, *indices)
        )
        return cls(tuple(indices), getter)


class Reader:
    """Reads sampled elements of plain tensors without copying the rest of them.

    float32 in contiguous CPU memory is read in place, word by word: a tenth of the cost of torch's own
    indexing. Everything else goes through torch. What was found out about a tensor is kept under a place
    (parameter and field) and used again only while pointer, size, type and layout are the same.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, str], tuple[int, ctypes.Array[ctypes.c_uint32]]] = {}

    def elements(self, place: tuple[int, str], tensor: torch.Tensor, picked: Picked) -> tuple[str, bytes]:
        """Type code (``f`` or ``d``) and raw values of the picked elements."""
        import torch

        if tensor.dtype is torch.float32 and tensor.is_contiguous():
            known = self._places.get(place)
            if known is None or known[0] != tensor.data_ptr() or len(known[1]) != tensor.numel():
                known = self._look(place, tensor)
            if known is not None:
                return "f", array("I", picked.getter(known[1])[: len(picked.indices)]).tobytes()
        return _through_torch(tensor, picked)

    def _look(
        self, place: tuple[int, str], tensor: torch.Tensor
    ) -> tuple[int, ctypes.Array[ctypes.c_uint32]] | None:
        self._places.pop(place, None)
        if tensor.device.type != "cpu":
            return None
        address, size, storage = tensor.data_ptr(), tensor.numel(), tensor.untyped_storage()
        # A storage may have been shrunk under the tensor (sharded trainers do): then it is not read in place.
        if not address or address + 4 * size > storage.data_ptr() + storage.nbytes():
            return None
        known = address, _words_type(size).from_address(address)
        if len(self._places) < MAX_TENSORS:
            self._places[place] = known
        return known


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
