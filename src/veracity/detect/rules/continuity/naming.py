"""Names of tensors inside checkpoints, and comparing lists of tensor digests by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ....core.finding import Evidence
from ....core.observation import TensorDigest
from ....core.quantity import quantity

SHOWN = 8
_WRAPPERS = frozenset({"module", "_orig_mod"})  # DistributedDataParallel, torch.compile


def bare(name: str) -> str:
    """A tensor's dotted path without the components that wrappers add."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def suffixes(name: str) -> Iterable[str]:
    """The path itself and what follows each of its dots."""
    while name:
        yield name
        name = name.partition(".")[2]


def index_by_suffix(tensors: Iterable[TensorDigest], wanted: Iterable[str]) -> dict[str, list[TensorDigest]]:
    """For each wanted bare name the tensors whose bare key is it or ends with a dot and it."""
    found: dict[str, list[TensorDigest]] = {name: [] for name in wanted}
    for tensor in tensors:
        for suffix in suffixes(bare(tensor.key)):
            if suffix in found:
                found[suffix].append(tensor)
    return found


def alike(one: TensorDigest, other: TensorDigest) -> bool:
    """Whether two tensors have the same shape and type, so that their digests can be compared."""
    return one.dtype == other.dtype and one.shape == other.shape


def differing(
    recorded: Iterable[TensorDigest], now: Iterable[TensorDigest]
) -> tuple[int, list[tuple[TensorDigest, TensorDigest]]]:
    """How many keys both lists hold, and the pairs that differ in content, type or shape."""
    known = {tensor.key: tensor for tensor in recorded}
    pairs = [(known[tensor.key], tensor) for tensor in now if tensor.key in known]
    return len(pairs), [pair for pair in pairs if pair[0].sha256 != pair[1].sha256 or not alike(*pair)]


def tensor_evidence(pairs: Sequence[tuple[TensorDigest, TensorDigest]]) -> tuple[Evidence, ...]:
    """What was recorded and what was seen, for the first of the differing tensors."""
    found = [
        Evidence(f"tensor {seen.key}", _described(recorded), _described(seen))
        for recorded, seen in pairs[:SHOWN]
    ]
    if len(pairs) > SHOWN:
        found.append(Evidence(quantity(len(pairs) - SHOWN, "more tensor"), "unchanged", "changed"))
    return tuple(found)


def listed(names: Sequence[str]) -> str:
    """A few names and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _described(tensor: TensorDigest) -> str:
    return f"{tensor.dtype}{tensor.shape} sha256:{tensor.sha256}"
