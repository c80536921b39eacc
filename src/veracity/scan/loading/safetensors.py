"""safetensors, read and written: a header of JSON and the numbers behind it.

The header is read by the gate's own parser (:mod:`safetensorsheader`), so that both see the same tensors.

Format: eight bytes little-endian with the header's length, the header, then the data; offsets of tensors are
from the first byte after the header, without holes (https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...core.errors import EvidenceError, UsageError
from ...observe.artifact.input import Input
from ...observe.safetensorsheader import Described, read_header
from .tensors import torch_module

if TYPE_CHECKING:
    import torch

_ALIGNED = 8
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}


def read_safetensors(whole: Input, data: bytearray) -> dict[str, torch.Tensor]:
    """All tensors by name, on the memory of ``data``; raises EvidenceError for what is not so exactly.

    Shape and dtype as in the file, on the CPU.
    """
    module = torch_module()
    header = read_header(whole)
    wrong = next(chain(header.broken, header.misplaced(whole)), None)
    if wrong is not None:
        raise EvidenceError(wrong.what, where=whole.name)
    tensors: dict[str, torch.Tensor] = {}
    for one in header.tensors:
        if one.dtype not in DTYPES or not hasattr(module, DTYPES[one.dtype]):
            raise EvidenceError(
                f"tensor {one.name[:80]!r} is of type {one.dtype}, which this torch lacks", where=whole.name
            )
        kind: torch.dtype = getattr(module, DTYPES[one.dtype])
        tensors[one.name] = _tensor(module, data, header.begin, one, kind)
    return tensors


def _tensor(
    module: ModuleType, data: bytearray, begin: int, one: Described, kind: torch.dtype
) -> torch.Tensor:
    try:
        if one.start == one.end:
            made: torch.Tensor = module.empty(one.shape, dtype=kind)
            return made
        view = module.frombuffer(
            data, dtype=module.uint8, count=one.end - one.start, offset=begin + one.start
        )
        aligned = view if view.data_ptr() % kind.itemsize == 0 else view.clone()
        made = aligned.view(kind).reshape(one.shape)
    except (RuntimeError, TypeError, OverflowError) as error:
        # Of no element at all, any numbers may stand beside a zero.
        raise EvidenceError(f"tensor {one.name[:80]!r} has a shape that torch has not") from error
    return made


def write_safetensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], *, force: bool = False
) -> None:
    """Write tensors, largest type first, as a file that is whole or not there.

    Raises UsageError when the file is there already (unless ``force``) or a dtype has no name in the format.
    """
    torch = torch_module()
    names = {getattr(torch, kind): code for code, kind in DTYPES.items() if hasattr(torch, kind)}
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    at = 0
    for name, tensor in ordered:
        if tensor.dtype not in names or tensor.layout is not torch.strided or tensor.device.type == "meta":
            raise UsageError(
                f"{name}: safetensors has no way to write {tensor.dtype}, {tensor.layout}, {tensor.device}"
            )
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNED)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", remedy="name another file, or use --force")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(partial, "xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, tensor in ordered:
                if tensor.numel():
                    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
                    file.write(memoryview(flat.numpy()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
