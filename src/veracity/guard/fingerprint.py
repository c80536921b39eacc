"""Keyed fingerprints of whole tensors, cheap enough to take at every step for a part of the model.

The bytes of a tensor are read as 32-bit words ``x`` (64-bit dtypes as two words, 16-bit dtypes in pairs,
an odd rest widened) and multiplied with secret odd words ``r`` in chunks of 256 Ki: the fingerprint is the
sum over chunks of ``P**chunk * (x . r mod 2**32)`` modulo the Mersenne prime ``2**61 - 1``. Changing any one
word changes it; a change made without knowing ``r`` goes unseen with probability about 2**-32.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 18
MODULUS = (1 << 61) - 1
SHARE = 16
FLOOR = 1 << 15


class Fingerprinter:
    """Takes fingerprints with one key. The secret words are made once and live on the CPU."""

    def __init__(self, key: bytes) -> None:
        import torch

        seed, base = struct.unpack("<QQ", hashlib.sha256(key + b"fingerprint").digest()[:16])
        generator = torch.Generator("cpu").manual_seed(seed & (2**63 - 1))
        # By name: a program may have what names no device made elsewhere (`torch.set_default_device`).
        words = torch.randint(-(2**31), 2**31, (CHUNK,), dtype=torch.int64, device="cpu", generator=generator)
        self._words = words.to(torch.int32).bitwise_or_(1)
        self._base = base % MODULUS
        self._elsewhere: dict[torch.device, torch.Tensor] = {}

    def take(self, tensors: Sequence[torch.Tensor]) -> list[int]:
        """Fingerprints of plain tensors, in order."""
        import torch

        parts: list[torch.Tensor] = []
        counts = []
        for tensor in tensors:
            before = len(parts)
            words = _as_words(tensor.detach())
            secret = self._secret(words.device)
            for start in range(0, words.numel(), CHUNK):
                chunk = words[start : start + CHUNK]
                factor = secret[: chunk.numel()]
                parts.append(
                    torch.dot(chunk, factor)
                    if chunk.device.type == "cpu"
                    else (chunk * factor).sum(dtype=torch.int32)
                )
            counts.append(len(parts) - before)
        values = torch.stack([part.cpu() for part in parts]).tolist() if len(parts) > 4 else _items(parts)
        result = []
        position = 0
        for count in counts:
            total, power = 0, 1
            for value in values[position : position + count]:
                total = (total + power * (value & 0xFFFFFFFF)) % MODULUS
                power = power * self._base % MODULUS
            position += count
            result.append(total)
        return result

    def _secret(self, device: torch.device) -> torch.Tensor:
        if device.type == "cpu":
            return self._words
        if device not in self._elsewhere:
            self._elsewhere[device] = self._words.to(device)
        return self._elsewhere[device]


def _items(parts: Sequence[torch.Tensor]) -> list[int]:
    return [int(part.item()) for part in parts]


def _as_words(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    flat = tensor.contiguous().view(-1)
    size = flat.element_size()
    if size == 4 or size == 8 or size == 16:
        return flat.view(torch.int32)
    if size == 2:
        if flat.numel() % 2 == 0:
            # Pairs need an even offset; a copy has one. The words are the same wherever the tensor lies.
            return (flat.clone() if flat.storage_offset() % 2 else flat).view(torch.int32)
        return flat.view(torch.int16).to(torch.int32)
    return flat.view(torch.uint8).to(torch.int32)


def choose(order: Sequence[int], numels: Sequence[int], start: int) -> tuple[list[int], int]:
    """Tensors to fingerprint now: the next ones of ``order`` from ``start`` on, a ``SHARE``th of the model.

    Returns the chosen tensors and the position to go on from. At least one tensor is chosen, at most all.
    """
    budget = max(FLOOR, sum(numels) // SHARE)
    chosen: list[int] = []
    used = 0
    position = start
    while len(chosen) < len(order):
        tensor = order[position % len(order)]
        if chosen and used + numels[tensor] > budget:
            break
        chosen.append(tensor)
        used += numels[tensor]
        position += 1
    return chosen, position % len(order) if order else 0
