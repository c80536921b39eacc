"""What torch makes of the members of a zip: which are pickles and code, and which raw numbers.

``torch.save`` and TorchScript write ``<name>/data.pkl`` and the memory of storage *n* as ``<name>/data/<n>``
(``torch/serialization.py``, ``caffe2/serialize/inline_container.cc``); TorchScript writes ``constants.pkl``
with ``constants/<n>`` and its code under ``code/``; ``torch.package`` writes ``.data/<n>.storage``;
``torch.export`` writes ``archive_format``, with tensors under ``data/weights`` and ``data/constants``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TORCH, TORCHSCRIPT, PACKAGE, EXPORTED = "torch", "torchscript", "torch-package", "torch-export"

_STORAGE = re.compile(rb"(data|constants)/[0-9]{1,10}\Z|\.data/[0-9]{1,10}\.storage\Z")
_CODE = re.compile(rb"code/.*\.py\Z", re.S)
_TENSOR = re.compile(rb"data/(weights/weight_[0-9]{1,10}|constants/tensor_[0-9]{1,10})\Z")
_MARKS = (
    (b"constants.pkl", TORCHSCRIPT),
    (b"data.pkl", TORCH),
    (b".data/extern_modules", PACKAGE),
    (b"archive_format", EXPORTED),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What an archive is to torch.

    ``kind`` as above, empty for any other archive. ``roots``: of each torch archive in it, ``/`` included.
    """

    kind: str
    roots: frozenset[bytes]

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Layout:
        """The layout that these names of members make."""
        kinds: dict[str, set[bytes]] = {}
        for name in names:
            root, slash, rest = name.partition(b"/")
            for mark, kind in _MARKS:
                # miniz finds names in any case.
                if slash and rest.lower() == mark:
                    kinds.setdefault(kind, set()).add(root + b"/")
        kind = next((kind for _, kind in _MARKS if kind in kinds), "")
        return cls(kind, frozenset(root for roots in kinds.values() for root in roots))

    def is_raw(self, names: Sequence[bytes], head: bytes) -> bool:
        """Whether all names are of numbers that torch copies; ``head`` is how the member's bytes begin."""
        return all(self._is_raw(name, head) for name in names)

    def script_kind(self, names: Sequence[bytes]) -> str:
        """``code`` or ``bytecode`` when one of the names is that of TorchScript's, else empty."""
        for name in names:
            root, slash, rest = name.partition(b"/")
            if slash and root + b"/" in self.roots:
                if _CODE.match(rest.lower()):
                    return "code"
                if rest.lower() == b"bytecode.pkl":
                    return "bytecode"
        return ""

    def _is_raw(self, name: bytes, head: bytes) -> bool:
        root, slash, rest = name.partition(b"/")
        if not slash or root + b"/" not in self.roots:
            return False
        if _STORAGE.match(rest):
            return True
        # A tensor of an exported program is a pickle where its description says so.
        return bool(_TENSOR.match(rest)) and not (head[:1] == b"\x80" and head[1:2] <= b"\x05")
