"""What map-style data sets hold in memory, and whether a loader is still the one that was built.

Tensors tell by their version counters when something was written into them; NumPy arrays, writes that go
round the counters, and edited copies put in their places are met at sampled elements. Data that workers or
files hold is not seen.
"""

from __future__ import annotations

import hashlib
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ..core.sweep import positions
from .tensors import is_plain, raw_bytes

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

    from .session import Session

MAX_HELD = 16
MAX_PARTS = 64
MAX_DEPTH = 4
MAX_RECORDS = 40
SAMPLED = 256
# Elements are looked at with every so many batches, version counters with each.
EVERY = 4
# What is exchanged for another was edited if so much of it is the same; another part of the data is not.
MOSTLY = 0.75


@dataclass(frozen=True, slots=True)
class Where:
    """An attribute of a data set, or a place in a list there."""

    owner: weakref.ref[object]
    attribute: str
    place: int | None

    def value(self) -> object:
        """What stands there now; None when nothing does."""
        value = getattr(self.owner(), "__dict__", {}).get(self.attribute)
        if self.place is None:
            return value
        return value[self.place] if isinstance(value, (list, tuple)) and len(value) > self.place else None


@dataclass(slots=True)
class Held:
    """One tensor or array of a data set."""

    name: str
    where: Where
    like: str
    reference: weakref.ref[object]
    places: torch.Tensor
    version: int
    elements: bytes

    def exchanged(self) -> bool | None:
        """None unless another object stands in its place now; then whether that is nearly the same."""
        now = self.where.value()
        if now is None or now is self.reference():
            return None
        if not _can_be_read(now) or _like(now) != self.like:
            return False
        elements, kept = _elements(now, self.places), self.elements
        self.reference, self.version, self.elements = weakref.ref(now), _version(now), elements
        size = len(kept) // len(self.places)
        pairs = zip(_parts_of(kept, size), _parts_of(elements, size), strict=True)
        share = sum(was == found for was, found in pairs) / len(self.places)
        return MOSTLY <= share < 1.0

    def changed(self, *, sampled: bool) -> bool:
        """Whether it was written since the last call, as far as was looked."""
        value = self.reference()
        if value is None:
            return False
        version, before = _version(value), self.version
        self.version = version
        if not sampled and version == before:
            return False
        elements, kept = _elements(value, self.places), self.elements
        self.elements = elements
        return version != before or elements != kept


class Datasets:
    """The data sets of all loaders that were iterated over, by the loader's number."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._built: weakref.WeakKeyDictionary[object, tuple[object, object]] = weakref.WeakKeyDictionary()
        self._held: dict[int, list[Held]] = {}
        self._deliveries: dict[int, int] = {}
        self._records = 0

    def constructed(self, loader: DataLoader[object]) -> None:
        """A loader was built. Subclasses may arrange their parts after this."""
        from torch.utils.data import DataLoader

        if type(loader) is DataLoader:
            self._built[loader] = _parts(loader)

    def exchanged(self, loader: DataLoader[object]) -> list[str]:
        """Parts of a loader that are others than it was built with."""
        built = self._built.get(loader)
        if built is None:
            return []
        names = ("sampler", "collate_fn")
        return [name for name, then, now in zip(names, built, _parts(loader), strict=True) if then is not now]

    def begin(self, number: int, iteration: int, dataset: object) -> None:
        """A pass over loader ``number`` begins."""
        if number not in self._held:
            if len(self._held) >= MAX_PARTS:
                return
            self._held[number] = list(_held(dataset, self._session.config.key))
            self._deliveries[number] = 0
        else:
            self._look(number, iteration, sampled=True, at_begin=True)

    def delivered(self, number: int, iteration: int) -> None:
        """A batch was handed to the program."""
        if number in self._held:
            self._deliveries[number] += 1
            sampled = self._deliveries[number] % EVERY == 0
            self._look(number, iteration, sampled=sampled, at_begin=False)

    def _look(self, number: int, iteration: int, *, sampled: bool, at_begin: bool) -> None:
        everything = self._held[number]
        changed = [held.name for held in everything if held.changed(sampled=sampled)]
        exchanged = {held.name: near for held in everything if (near := held.exchanged()) is not None}
        # A data set that goes on to its next part exchanges all of them.
        if len(exchanged) < len(everything) or len(everything) == 1:
            changed += [name for name, near in exchanged.items() if near]
        if not changed or self._records >= MAX_RECORDS:
            return
        self._records += 1
        body = {
            "loader": number,
            "iteration": iteration,
            "deliveries": self._deliveries[number],
            "changed": changed,
            "held": len(self._held[number]),
            "at_begin": at_begin,
            "before_step": self._session.last_step + 1,
        }
        self._session.emit("dataset", body)


def _parts(loader: DataLoader[object]) -> tuple[object, object]:
    # Without a batch size the program gave the batch sampler, which may have no sampler at all.
    sampler = getattr(loader.batch_sampler, "sampler", None) if loader.batch_size is not None else None
    return sampler, loader.collate_fn


def _held(dataset: object, key: bytes) -> Iterator[Held]:
    import torch

    for count, (name, where, value) in enumerate(_values(dataset, "", 0)):
        if count >= MAX_HELD:
            return
        numel = int(cast("torch.Tensor", value).numel()) if _is_tensor(value) else int(value.size)  # type: ignore[attr-defined]
        start = int.from_bytes(hashlib.sha256(key + b"dataset" + name.encode()).digest()[:8], "little")
        places = torch.tensor(positions(start % numel, numel, min(SAMPLED, numel)), device="cpu")
        elements = _elements(value, places)
        yield Held(name, where, _like(value), weakref.ref(value), places, _version(value), elements)


def _values(outer: object, prefix: str, depth: int) -> Iterator[tuple[str, Where, object]]:
    """Tensors and arrays in the attributes of a data set, and of those that it wraps."""
    attributes = getattr(outer, "__dict__", None)
    if depth > MAX_DEPTH or not isinstance(attributes, dict) or not type(outer).__weakrefoffset__:
        return
    for name, value in list(attributes.items())[:MAX_PARTS]:
        listed = list(value) if isinstance(value, (list, tuple)) and len(value) <= MAX_HELD else [value]
        for place, one in enumerate(listed):
            where = f"{prefix}{name}" + (f"[{place}]" if one is not value else "")
            if _can_be_read(one):
                yield where, Where(weakref.ref(outer), name, None if one is value else place), one
            elif name in ("dataset", "datasets"):
                yield from _values(one, where + ".", depth + 1)


def _like(value: object) -> str:
    """Shape and type of a tensor or array."""
    return f"{tuple(value.shape)} {value.dtype}"  # type: ignore[attr-defined]


def _parts_of(elements: bytes, size: int) -> list[bytes]:
    return [elements[at : at + size] for at in range(0, len(elements), size)]


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _can_be_read(value: object) -> bool:
    import torch

    if isinstance(value, torch.Tensor):
        plain = is_plain(value) and value.device.type == "cpu" and value.is_contiguous()
        return plain and value.numel() > 0 and not value.is_inference()
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return False
    # Elements of a mapped file would be read from disk.
    mapped = isinstance(value.base, numpy.memmap)  # type: ignore[attr-defined]
    return bool(value.size and value.flags.c_contiguous and not value.dtype.hasobject and not mapped)  # type: ignore[attr-defined]


def _version(value: object) -> int:
    return cast("torch.Tensor", value)._version if _is_tensor(value) else 0


def _elements(value: object, places: torch.Tensor) -> bytes:
    import torch

    if isinstance(value, torch.Tensor):
        with torch.no_grad():
            return raw_bytes(value.detach().reshape(-1)[places])
    return bytes(value.reshape(-1)[places.numpy()].tobytes())  # type: ignore[attr-defined]
