"""Which sampler feeds a loader, and how its indices become batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import declare

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

_SKIPS = "accelerate.data_loader.SkipBatchSampler"
_SHARDS = "accelerate.data_loader.BatchSamplerShard"
_MAX_DEPTH = 4


@dataclass(slots=True)
class Batching:
    """The innermost sampler, and what makes batches of its indices (see ``LoaderDeclaration``)."""

    sampler: object
    batch_sampler_class: str
    batch_size: int
    drop_last: bool
    parts: int = 1
    part: int = 0
    split: bool = False
    even: bool = False
    skipped: int = 0


def batching_of(loader: DataLoader[object]) -> Batching:
    """How ``loader`` makes its batches.

    torch's own BatchSampler may have been given instead of a batch size, and accelerate puts one around it
    that deals batches out to the ranks, and one that skips those trained on before a resume. Anything else
    stays what the loader itself says: a batch sampler of its own.
    """
    said = Batching(
        getattr(loader, "sampler", None),
        declare.class_name(loader.batch_sampler),
        loader.batch_size if isinstance(loader.batch_size, int) else 0,
        bool(loader.drop_last),
    )
    if loader.batch_size is not None or loader.batch_sampler is None:
        return said
    return _opened(loader.batch_sampler, said.sampler) or said


def _opened(outer: object, sampler: object) -> Batching | None:
    from torch.utils.data import BatchSampler

    found = Batching(sampler, "", 0, False)
    for _ in range(_MAX_DEPTH):
        kind = declare.class_name(outer)
        values = getattr(outer, "__dict__", {})  # anything that yields lists of indices may be given
        if type(outer) is BatchSampler:
            size = values.get("batch_size")
            if type(size) is not int or size < 1:
                return None
            found.batch_sampler_class, found.batch_size = kind, size
            found.sampler, found.drop_last = values.get("sampler"), bool(values.get("drop_last"))
            return found
        if kind == _SKIPS and found.parts == 1:
            found.skipped += _whole(values.get("skip_batches"))
        elif kind == _SHARDS and found.parts == 1:
            found.parts, found.part = _whole(values.get("num_processes")), _whole(values.get("process_index"))
            found.split, found.even = bool(values.get("split_batches")), bool(values.get("even_batches"))
            if not 0 <= found.part < found.parts:
                return None
        else:
            return None
        outer = values.get("batch_sampler")
    return None


def _whole(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
