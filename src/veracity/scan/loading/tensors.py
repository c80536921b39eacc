"""Makers of torch's data: tensors on storages that are in memory already. The only module here with torch.

Signatures as of ``torch/_utils.py`` (torch 2.1 to 2.13); ``torch.load``'s persistent ids as of
``torch/serialization.py``. A tensor whose size, stride and offset lead out of its storage is refused: torch
would make the storage larger.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from ...core.errors import EvidenceError, UsageError
from ...core.quantity import quantity
from .build import Makers, UnfitError
from .opaque import Named

if TYPE_CHECKING:
    import torch
    from torch import UntypedStorage

MAX_DIMENSIONS = 64
_DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("complex32", "complex64", "complex128", "uint16", "uint32", "uint64"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("double", "float", "half", "long", "int", "short", "cfloat", "cdouble"),
)
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}
_LAYOUTS = ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
_FORMATS = ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format")


def torch_module() -> ModuleType:
    """The torch of this environment; raises UsageError without one."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise UsageError(
            "torch is not installed here, and the file holds tensors",
            remedy="install torch, or use `veracity scan`",
        ) from error


class Storages:
    """Storages by key, each a part of bytes that stay in memory.

    ``find(key)`` gives offset and length in ``data`` of a storage; raises EvidenceError for one that is
    missing.
    """

    def __init__(self, data: bytearray, find: Callable[[str], tuple[int, int]]) -> None:
        self._torch = torch_module()
        self._data = data
        self._find = find
        self._made: dict[str, UntypedStorage] = {}

    def persistent(self, identifier: object) -> object:
        """What ``('storage', type, key, location, elements)`` names: a typed storage."""
        if not isinstance(identifier, tuple) or len(identifier) < 5 or identifier[0] != "storage":
            raise EvidenceError("the pickle asks for something else than a storage")
        _, kind, key, _, elements = identifier[:5]
        if len(identifier) > 5 and identifier[5] is not None:
            raise EvidenceError("a storage is a view of another, which only very old versions of torch wrote")
        dtype = self.dtype_of(kind)
        if (
            not isinstance(key, str)
            or not isinstance(elements, int)
            or isinstance(elements, bool)
            or elements < 0
        ):
            raise EvidenceError("the pickle describes a storage that cannot be")
        return Typed(self._storage(key, elements * dtype.itemsize), dtype)

    def dtype_of(self, kind: object) -> torch.dtype:
        """The dtype of a storage class; raises EvidenceError for what is none."""
        if isinstance(kind, Named) and kind.name in _STORAGES and kind.module in ("torch", "torch.storage"):
            found: torch.dtype = getattr(self._torch, _STORAGES[kind.name])
            return found
        raise EvidenceError("the pickle describes a storage of no known type")

    def _storage(self, key: str, needed: int) -> UntypedStorage:
        if key not in self._made:
            at, length = self._find(key)
            self._made[key] = self._take(at, length)
        made = self._made[key]
        if made.nbytes() < needed:
            raise EvidenceError(
                f"storage {key[:80]!r} is {quantity(made.nbytes(), 'byte')}, and {needed:,} should be in it"
            )
        return made

    def _take(self, at: int, length: int) -> UntypedStorage:
        torch = self._torch
        if not length:
            return torch.UntypedStorage(0)
        view = torch.frombuffer(self._data, dtype=torch.uint8, count=length, offset=at)
        # Kernels expect numbers at multiples of their size; zips of torch put them so.
        aligned = view if view.data_ptr() % 16 == 0 else view.clone()
        found: UntypedStorage = aligned.untyped_storage()
        return found


class Typed:
    """A storage with the dtype that the file says its numbers have."""

    __slots__ = ("dtype", "storage")

    def __init__(self, storage: UntypedStorage, dtype: torch.dtype) -> None:
        self.storage = storage
        self.dtype = dtype


def makers() -> Makers:
    """The table; raises UsageError without torch."""
    torch = torch_module()
    table = Makers()
    build = _Tensors(torch)
    table.calls.update(
        {
            ("torch._utils", "_rebuild_tensor"): build.plain,
            ("torch._utils", "_rebuild_tensor_v2"): build.second,
            ("torch._utils", "_rebuild_tensor_v3"): build.third,
            ("torch._utils", "_rebuild_parameter"): build.parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): build.parameter_with_state,
            ("torch._utils", "_rebuild_sparse_tensor"): build.sparse,
            ("torch._utils", "_rebuild_meta_tensor_no_storage"): build.meta,
            ("torch._tensor", "_rebuild_from_type_v2"): build.from_type,
            ("torch", "Size"): build.size,
            ("torch", "device"): build.device,
            ("torch.serialization", "_get_layout"): build.layout,
        }
    )
    for name in (*_DTYPES, *_LAYOUTS, *_FORMATS):
        if hasattr(torch, name):
            table.values["torch", name] = getattr(torch, name)
    return table


class _Tensors:
    def __init__(self, torch: ModuleType) -> None:
        self._torch = torch
        self._rebuilders: Mapping[tuple[str, str], Callable[[Sequence[object]], object]] = {
            ("torch._utils", "_rebuild_tensor_v2"): self.second,
            ("torch._utils", "_rebuild_tensor_v3"): self.third,
            ("torch._utils", "_rebuild_parameter"): self.parameter,
        }

    # --- tensors ---------------------------------------------------------------------------------

    def plain(self, given: Sequence[object]) -> object:
        """``(storage, offset, size, stride)``."""
        return self._tensor(given, 4)

    def second(self, given: Sequence[object]) -> object:
        """``(storage, offset, size, stride, requires_grad, hooks[, metadata])``."""
        self._check_tail(given[4:], 2, 3)
        made = self._tensor(given[:4], 4)
        return self._requiring(made, given[4])

    def third(self, given: Sequence[object]) -> object:
        """``(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])``."""
        dtype = given[6] if len(given) > 6 else None
        self._check_tail((*given[4:6], *given[7:]), 2, 3)
        if not isinstance(dtype, self._torch.dtype):
            raise UnfitError
        made = self._tensor(given[:4], 4, dtype)
        return self._requiring(made, given[4])

    def _check_tail(self, tail: Sequence[object], least: int, most: int) -> None:
        """Hooks are functions of the program that saved: none are taken."""
        if not least <= len(tail) <= most or not isinstance(tail[0], bool):
            raise UnfitError
        if tail[1] is not None and not (isinstance(tail[1], OrderedDict) and not tail[1]):
            raise UnfitError
        if len(tail) > 2 and tail[2]:
            raise UnfitError

    def _tensor(self, given: Sequence[object], count: int, dtype: object = None) -> torch.Tensor:
        if len(given) != count or not isinstance(given[0], Typed):
            raise UnfitError
        typed, offset, size, stride = given[0], given[1], _numbers(given[2]), _numbers(given[3])
        dtype = typed.dtype if dtype is None else dtype
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0 or len(size) != len(stride):
            raise UnfitError
        made: torch.Tensor = self._torch.empty(0, dtype=dtype)
        last = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        elements = offset + last + 1 if all(size) else 0
        if elements * made.element_size() > typed.storage.nbytes():
            raise EvidenceError("a tensor reaches out of its storage")
        made.set_(typed.storage, offset if all(size) else 0, size, stride)
        return made

    def _requiring(self, made: torch.Tensor, requires: object) -> torch.Tensor:
        if requires is True:
            if not (made.is_floating_point() or made.is_complex()):
                raise UnfitError
            made.requires_grad_(True)
        return made

    def parameter(self, given: Sequence[object]) -> object:
        """``(data, requires_grad, hooks)``."""
        if len(given) != 3 or not isinstance(given[0], self._torch.Tensor):
            raise UnfitError
        self._check_tail(given[1:], 2, 2)
        data = given[0].detach()
        if given[1] is True and not (data.is_floating_point() or data.is_complex()):
            raise UnfitError
        return self._torch.nn.Parameter(data, requires_grad=given[1] is True)

    def parameter_with_state(self, given: Sequence[object]) -> object:
        """``(data, requires_grad, hooks, state)``: attributes that the program hung on its parameter."""
        made = self.parameter(given[:3])
        return self._with_state(made, given[3]) if len(given) == 4 else made

    def from_type(self, given: Sequence[object]) -> object:
        """``(rebuild, class, arguments, state)``: a tensor with attributes; other classes stay opaque."""
        if len(given) != 4 or not isinstance(given[0], Named) or not isinstance(given[1], Named):
            raise UnfitError
        rebuild = self._rebuilders.get((given[0].module, given[0].name))
        wanted = f"{given[1].module}.{given[1].name}"
        if rebuild is None or not isinstance(given[2], tuple):
            raise UnfitError
        if wanted not in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"):
            raise UnfitError
        return self._with_state(rebuild(given[2]), given[3])

    def _with_state(self, made: object, state: object) -> object:
        if isinstance(state, tuple) and len(state) == 2 and not state[1]:
            state = state[0]
        if not isinstance(state, dict):
            raise UnfitError
        for name, value in state.items():
            if not isinstance(name, str) or name.startswith("__") or hasattr(self._torch.Tensor, name):
                raise UnfitError
            vars(made)[name] = value
        return made

    def sparse(self, given: Sequence[object]) -> object:
        """``(layout, data)``, checked by torch's own invariants."""
        torch = self._torch
        if len(given) != 2 or not isinstance(given[1], tuple):
            raise UnfitError
        layout, data = given[0], given[1]
        tensors = [one for one in data if isinstance(one, torch.Tensor)]
        try:
            if layout is torch.sparse_coo and len(data) in (3, 4) and len(tensors) == 2:
                return torch.sparse_coo_tensor(
                    tensors[0], tensors[1], _numbers(data[2]), check_invariants=True
                )
            if layout in (torch.sparse_csr, torch.sparse_csc) and len(data) == 4 and len(tensors) == 3:
                return torch.sparse_compressed_tensor(
                    *tensors, _numbers(data[3]), layout=layout, check_invariants=True
                )
        except (RuntimeError, ValueError) as error:
            raise EvidenceError(f"a sparse tensor cannot be: {str(error)[:200]}") from error
        raise UnfitError

    def meta(self, given: Sequence[object]) -> object:
        """``(dtype, size, stride, requires_grad)``: a tensor without numbers."""
        if len(given) != 4 or not isinstance(given[0], self._torch.dtype):
            raise UnfitError
        made = self._torch.empty_strided(
            _numbers(given[1]), _numbers(given[2]), dtype=given[0], device="meta"
        )
        return self._requiring(made, given[3])

    # --- what goes with them ---------------------------------------------------------------------

    def size(self, given: Sequence[object]) -> object:
        """``torch.Size``."""
        return self._torch.Size(_numbers(given[0])) if given else self._torch.Size()

    def device(self, given: Sequence[object]) -> object:
        """``torch.device``: a name and perhaps a number."""
        known = isinstance(given[0], str) if given else False
        if not known or len(given) > 2 or not all(isinstance(one, int) for one in given[1:]):
            raise UnfitError
        try:
            return self._torch.device(*given)
        except RuntimeError as error:
            raise UnfitError from error

    def layout(self, given: Sequence[object]) -> object:
        """``torch.serialization._get_layout('torch.sparse_coo')``."""
        name = given[0] if len(given) == 1 else None
        if not isinstance(name, str) or name.removeprefix("torch.") not in _LAYOUTS:
            raise UnfitError
        return getattr(self._torch, name.removeprefix("torch."))


def _numbers(value: object) -> tuple[int, ...]:
    """A size or a stride: a bounded tuple of integers that are not negative."""
    if not isinstance(value, (tuple, list)) or len(value) > MAX_DIMENSIONS:
        raise UnfitError
    numbers = tuple(
        one for one in value if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 62
    )
    if len(numbers) != len(value):
        raise UnfitError
    return numbers
