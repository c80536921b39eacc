"""Reading tensors without touching them: bytes, elements, digests. Works on any torch from 2.1 on."""

from __future__ import annotations

import ctypes
import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
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
    state = hashlib.sha256()
    feed(state, tensor)
    return state.hexdigest()


def feed(state: hashlib._Hash, tensor: torch.Tensor) -> None:
    """Update a hash by the elements of a plain strided tensor in logical order, without a copy of them."""
    flat = tensor.detach().contiguous().cpu()
    size = flat.numel() * flat.element_size()
    if size:
        state.update((ctypes.c_char * size).from_address(flat.data_ptr()))


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


def in_place(tensor: torch.Tensor) -> bool:
    """Whether the elements of a plain tensor can be read at its address: float32, contiguous, on the CPU."""
    import torch

    if tensor.dtype is not torch.float32 or not tensor.is_contiguous() or tensor.device.type != "cpu":
        return False
    address, size, storage = tensor.data_ptr(), tensor.numel(), tensor.untyped_storage()
    # A storage may have been shrunk under the tensor (sharded trainers do), or begin in the middle of a word.
    return address != 0 and address % 4 == 0 and address + 4 * size <= storage.data_ptr() + storage.nbytes()


def join(pieces: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One block of all pieces: float32 (``f``) or, when any piece is float64, float64 (``d``) values."""
    if all(code == "f" for code, _ in pieces):
        return "f", b"".join([data for _, data in pieces])
    wide: array[float] = array("d")
    for code, data in pieces:
        wide.extend(array(code, data).tolist())  # an array extends another one of its own kind only
    return "d", wide.tobytes()
