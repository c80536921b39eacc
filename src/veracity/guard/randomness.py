"""Digests of random number generator states: torch's, Python's, and NumPy's where it was imported."""

from __future__ import annotations

import contextlib
import hashlib
import random
import struct
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from .patching import once, replace
from .tensors import is_plain, raw_bytes

if TYPE_CHECKING:
    import torch

    from .shield import Shield


class Setting:
    """The state that torch's default generator was last set to, by a seed or by a state put back."""

    def __init__(self) -> None:
        self._state: torch.Tensor | None = None

    def happened(self) -> None:
        """The generator was set just now. Reads its state, which is digested only when it is asked for."""
        import torch

        state = torch.random.default_generator.get_state()
        if is_plain(state):  # not while a program is only being traced
            self._state = state

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is set within is not the program's."""
        state = self._state
        try:
            yield
        finally:
            self._state = state

    def taken(self) -> str:
        """The digest of that state, empty when it was not set since this was asked last."""
        state, self._state = self._state, None
        return _short(raw_bytes(state)) if state is not None else ""


def watch_setting(shield: Shield, setting: Setting, torch: ModuleType) -> None:
    """Wrap ``manual_seed`` and ``set_rng_state`` in both places where they are found."""

    @once
    def make(original: Callable[..., object]) -> Callable[..., object]:
        def sets(*args: object, **kwargs: object) -> object:
            result = original(*args, **kwargs)
            shield.run("randomness", setting.happened)
            return result

        # torch.compile leaves functions with this mark alone, as it does those that are wrapped.
        sets._torchdynamo_disable = True  # type: ignore[attr-defined]
        return sets

    for owner in (torch, torch.random):
        for name in ("manual_seed", "set_rng_state"):
            replace(owner, name, make)


def digests(*, every: bool = True) -> dict[str, str]:
    """128-bit digests of each generator's state, keyed ``torch``, ``python``, ``numpy``. Changes nothing.

    With ``every`` false only torch's, which training draws from at each step; the others cost more to read.
    """
    import torch

    found = {"torch": _short(raw_bytes(torch.random.default_generator.get_state()))}
    if not every:
        return found
    version, words, _ = random.getstate()
    if version == 3:
        found["python"] = _short(struct.pack("<625I", *words))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        state = numpy_random.get_state(legacy=False)["state"]
        found["numpy"] = _short(state["key"].tobytes() + int(state["pos"]).to_bytes(4, "little"))
    return found


def _short(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
