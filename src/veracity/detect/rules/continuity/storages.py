"""Which saved tensors should be found again among the raw storages of their file.

A tensor that is the whole of its storage, in order, has the digest of that storage. Views of larger storages,
transposed or channels-last tensors and expanded ones have not, and nothing about a file's digests tells them
from tampering. So a tensor that is missing among the storages counts only where its being whole is known:
because it was found there in an earlier save, or because it is a one-dimensional parameter among several.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

from ....core.observation import TensorDigest
from .naming import bare, suffixes

MAX_REMEMBERED = 40_000
SEVERAL = 2
_EMPTY = hashlib.sha256(b"").hexdigest()
_WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4}
_WIDE = 1 << 20


class Storages:
    """Remembers, per process, the keys whose tensors were found to be whole storages."""

    def __init__(self) -> None:
        self._whole: OrderedDict[tuple[int, str], tuple[str, tuple[int, ...]]] = OrderedDict()

    def missing(
        self,
        pid: int,
        tensors: Sequence[TensorDigest],
        storages: Collection[str],
        parameters: Collection[str],
    ) -> tuple[list[TensorDigest], bool]:
        """Tensors that are not among ``storages``, and whether that cannot be explained by views.

        ``parameters`` are the bare names of declared parameters.
        """
        full = [tensor for tensor in tensors if math.prod(tensor.shape) > 0]
        present = frozenset(storages)
        lost = [tensor for tensor in full if tensor.sha256 not in present]
        known = [tensor for tensor in lost if self._whole.get((pid, tensor.key)) == _form(tensor)]
        flat = [tensor for tensor in lost if _is_flat(tensor) and _is_parameter(tensor.key, parameters)]
        unexplained = present - {tensor.sha256 for tensor in full} - {_EMPTY}
        # Tensors that share a storage leave fewer storages over than tensors; tampering leaves as many.
        one_to_one = len({tensor.sha256 for tensor in lost}) == len(unexplained)
        certain = bool(lost) and one_to_one and (bool(known) or len(flat) >= SEVERAL)
        if not certain:
            self._remember(pid, [tensor for tensor in full if tensor.sha256 in present])
        return (known or flat if certain else lost), certain

    def _remember(self, pid: int, tensors: Sequence[TensorDigest]) -> None:
        for tensor in tensors:
            if not _may_be_constant(tensor):
                self._whole[pid, tensor.key] = _form(tensor)
        while len(self._whole) > MAX_REMEMBERED:
            self._whole.popitem(last=False)


def _form(tensor: TensorDigest) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tuple(tensor.shape)


def _is_flat(tensor: TensorDigest) -> bool:
    return sum(extent != 1 for extent in tensor.shape) == 1


def _is_parameter(key: str, parameters: Collection[str]) -> bool:
    return any(suffix in parameters for suffix in suffixes(bare(key)))


def _may_be_constant(tensor: TensorDigest) -> bool:
    """Whether it is all zeros: those have one digest in any order. Large ones are not tried."""
    width = _WIDTHS.get(tensor.dtype)
    size = math.prod(tensor.shape) * (width or 0)
    if not width or size > _WIDE:
        return False
    return hashlib.sha256(bytes(size)).hexdigest() == tensor.sha256
