"""safetensors, read and written: a header of JSON and the numbers behind it.

Format: eight bytes little-endian with the header's length, the header, then the data; offsets of tensors are
from the first byte after the header, without holes (https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import EvidenceError, UsageError
from ...observe.artifact.input import Input
from .tensors import torch_module

if TYPE_CHECKING:
    import torch

MAX_HEADER = 100_000_000
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


def is_safetensors(whole: Input) -> bool:
    """Whether a file begins as one: a plausible length and an object of JSON."""
    head = whole.read(0, 9)
    length = int.from_bytes(head[:8], "little")
    return len(head) == 9 and head[8:] == b"{" and 2 <= length <= min(MAX_HEADER, whole.size - 8)


def read_safetensors(whole: Input, data: bytearray) -> dict[str, torch.Tensor]:
    """All tensors by name, on the memory of ``data``; raises EvidenceError for what is not so exactly.

    Shape and dtype as in the file, on the CPU.
    """
    module = torch_module()
    length = int.from_bytes(whole.read(0, 8), "little")
    try:
        header = json.loads(whole.read(8, length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"the header is no JSON: {str(error)[:100]}", where=whole.name) from error
    begin = 8 + length
    tensors: dict[str, torch.Tensor] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape, start, end = _entry(name, entry)
        kind: torch.dtype = getattr(module, DTYPES[dtype])
        if (end - start) != math.prod(shape) * kind.itemsize or begin + end > whole.size:
            raise EvidenceError(f"tensor {name[:80]!r} is not as long as its shape says", where=whole.name)
        spans.append((start, end))
        if start == end:
            tensors[name] = module.empty(shape, dtype=kind)
            continue
        view = module.frombuffer(data, dtype=module.uint8, count=end - start, offset=begin + start)
        aligned = view if view.data_ptr() % kind.itemsize == 0 else view.clone()
        tensors[name] = aligned.view(kind).reshape(shape)
    _check_spans(sorted(spans), whole.size - begin, whole.name)
    return tensors


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _entry(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    if isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}:
        dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, *span] if isinstance(shape, list) and isinstance(span, list) else [None]
        good = all(
            isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 62 for one in numbers
        )
        if good and len(span) == 2 and span[0] <= span[1] and isinstance(dtype, str) and dtype in DTYPES:
            return dtype, tuple(shape), span[0], span[1]
    raise EvidenceError(f"the header's entry of {name[:80]!r} is not one of a tensor, or of an unknown type")


def _check_spans(spans: list[tuple[int, int]], size: int, where: str) -> None:
    at = 0
    for start, end in spans:
        if start != at:
            raise EvidenceError("tensors overlap, or leave holes between them", where=where)
        at = end
    if at != size:
        raise EvidenceError(f"{size - at:,} bytes follow the tensors", where=where)


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
