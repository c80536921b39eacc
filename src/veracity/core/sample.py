"""The sample block: elements of parameters, gradients and optimizer state around one step.

The guard packs it, the monitor unpacks it; both use this module, so there is one definition.

Which elements are read is decided by a keyed function of the step (:func:`pick`), which the monitor can
reproduce and a program without the key cannot predict. At each step the guard reads the elements picked
for this step on both sides of it, and before it *again* parameter and state of some of those of the step
before: the values after step ``t`` must be the values before step ``t + 1``, which is the law of weight
continuity (``core.sweep`` looks at the weights of all other tensors).

Layout of the binary part: for each tensor in order, each of its ``before`` fields then each of its
``after`` fields, ``count`` values each, little-endian float32 (type code ``f``) or float64 (``d``).
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import EvidenceError

if TYPE_CHECKING:
    from typing import TypeAlias

    Values: TypeAlias = array[float]
else:
    # array is subscriptable from Python 3.12 on only, and decoders evaluate these annotations.
    Values = array

TENSORS_PER_STEP = 8
ELEMENTS_PER_TENSOR = 32
MAX_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TensorSample:
    """Sampled elements of one parameter tensor around one step.

    ``tensor`` indexes the optimizer declaration's tensors. ``repeated`` is true for the elements that were
    also read at the step before; these have no ``after``. ``before``/``after`` map a field (``param``,
    ``grad``, or an optimizer state name such as ``exp_avg``) to its values; one that did not exist is absent.
    ``step_before``/``step_after`` are the optimizer's own per-tensor step counts, None where it has none.
    """

    tensor: int
    repeated: bool
    count: int
    step_before: float | None
    step_after: float | None
    before: dict[str, Values]
    after: dict[str, Values]


def pick(key: bytes, step: int, numels: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Tensors and element indices to read at ``step``: every tensor comes up in turn.

    ``numels`` are the element counts of the optimizer's tensors. The order of a cycle is a keyed
    shuffle; a tensor is visited once in ``ceil(len(numels) / TENSORS_PER_STEP)`` steps. Indices are drawn
    with replacement from SHAKE-128 over key, step and tensor (64 bits reduced modulo ``numel``: the bias
    is below 2**-30 for any tensor that fits in memory).
    """
    chosen, each, data = drawn(key, step, numels)
    words = struct.unpack(f"<{each * len(chosen)}Q", data)
    picked = []
    for position, tensor in enumerate(chosen):
        numel = numels[tensor]
        if numel <= 0:
            continue
        if numel <= each:
            indices = list(range(numel))
        else:
            indices = [word % numel for word in words[position * each : (position + 1) * each]]
        picked.append((tensor, indices))
    return picked


def drawn(key: bytes, step: int, numels: Sequence[int]) -> tuple[tuple[int, ...], int, bytes]:
    """What :func:`pick` rests on: the tensors, how many elements of each, and their random words.

    The words are little-endian uint64, those of the first tensor first.
    """
    total = len(numels)
    if total == 0:
        return (), 0, b""
    per_step = min(TENSORS_PER_STEP, total)
    per_cycle = -(-total // per_step)
    cycle, part = divmod(step, per_cycle)
    chosen = keyed_order(key, cycle, total)[part * per_step : (part + 1) * per_step]
    each = TENSORS_PER_STEP * ELEMENTS_PER_TENSOR // len(chosen)
    seed = key + b"element" + step.to_bytes(8, "little")
    return chosen, each, hashlib.shake_128(seed).digest(8 * each * len(chosen))


@functools.lru_cache(maxsize=8)
def keyed_order(key: bytes, cycle: int, total: int) -> tuple[int, ...]:
    """A keyed permutation of ``range(total)``, another one for each ``cycle``."""
    seed = key + b"order" + cycle.to_bytes(8, "little")
    words = struct.unpack(f"<{total}Q", hashlib.shake_128(seed).digest(8 * total))
    return tuple(sorted(range(total), key=words.__getitem__))


def unpack(
    layout: Sequence[Sequence[object]],
    fields: Sequence[Sequence[str]],
    typecode: str,
    blob: bytes,
) -> list[TensorSample]:
    """Samples from a block's description and bytes.

    ``layout`` items are ``[tensor, repeated, count, step_before, step_after, before, after]`` where the last
    two index ``fields``. Raises EvidenceError when the description does not fit the bytes.
    """
    if typecode not in ("f", "d") or len(blob) > MAX_BLOCK:
        raise EvidenceError("sample block has a foreign type code or is too large")
    values: Values = array(typecode)
    if len(blob) % values.itemsize:
        raise EvidenceError("sample block is cut within a value")
    values.frombytes(blob)
    if sys.byteorder == "big":
        values.byteswap()
    samples = []
    position = 0
    for item in layout:
        tensor, repeated, count, step_before, step_after, before, after = _layout_item(item, len(fields))
        parts: list[dict[str, Values]] = []
        for names in (fields[before], fields[after]):
            # Looked at before anything is built: a few bytes of description must not cost much time.
            if position + count * len(names) > len(values):
                raise EvidenceError("sample block and its description differ in length")
            part: dict[str, Values] = {}
            for name in names:
                part[name] = values[position : position + count]
                position += count
            parts.append(part)
        samples.append(TensorSample(tensor, repeated, count, step_before, step_after, parts[0], parts[1]))
    if position != len(values):
        raise EvidenceError("sample block and its description differ in length")
    return samples


def _layout_item(
    item: Sequence[object], sets: int
) -> tuple[int, bool, int, float | None, float | None, int, int]:
    if len(item) != 7:
        raise EvidenceError("sample description has a malformed item")
    tensor, repeated, count, step_before, step_after, before, after = item
    if not (isinstance(tensor, int) and isinstance(count, int) and isinstance(before, int)):
        raise EvidenceError("sample description has a malformed item")
    if not (isinstance(after, int) and 0 <= before < sets and 0 <= after < sets and tensor >= 0):
        raise EvidenceError("sample description names an unknown field set")
    if not 1 <= count <= MAX_BLOCK:
        raise EvidenceError("sample description has an impossible count")
    return tensor, bool(repeated), count, _number(step_before), _number(step_after), before, after


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, float) or (type(value) is int and abs(value) < 2**63):
        return float(value)
    raise EvidenceError("sample description has a malformed step count")
