"""torch's CPU generator and ``randperm``, re-derived with the standard library alone.

torch's CPU generator is the 32-bit Mersenne Twister, which is also what :mod:`random` runs. Loading torch's
state into :class:`random.Random` and reading raw words therefore gives the same numbers, without torch.

The state torch hands out is a C structure of 5,056 bytes: seed (u64), ``left`` (i32), ``seeded`` (i32),
``next`` (u64), 624 state words of 64 bits each, and the cached normal sample, read here as little-endian.
``left`` counts down from 624 to 1 within a block, so ``625 - left`` is the position :mod:`random` keeps.
"""

from __future__ import annotations

import random
import struct
from array import array
from operator import add, mod

from ....core.errors import EvidenceError

STATE_BYTES = 5056
LIMIT_32_BIT_DRAW = 1 << 28
"""From this bound on ``randint`` takes one or two words per draw, depending on torch's version."""

_WORDS = 624
_HEAD = struct.Struct("<QiiQ")
_STATE = struct.Struct(f"<{_WORDS}Q")
_BLOCK = 1 << 12


class Twister:
    """A torch CPU generator: the words it would draw from a given state on."""

    def __init__(self, words: tuple[int, ...], position: int) -> None:
        self._random = random.Random()  # noqa: S311 - reproduces a training run's draws, guards no secret
        try:
            self._random.setstate((3, (*words, position), None))
        except (ValueError, OverflowError, TypeError) as error:
            raise EvidenceError(f"not a twister state: {error}") from error

    @classmethod
    def from_state(cls, state: str) -> Twister:
        """From ``Generator.get_state()`` in hexadecimal. Raises EvidenceError on anything else."""
        if len(state) != 2 * STATE_BYTES:
            raise EvidenceError("generator state has a foreign length")
        try:
            data = bytes.fromhex(state)
        except ValueError as error:
            raise EvidenceError("generator state is not hexadecimal") from error
        if len(data) != STATE_BYTES:
            raise EvidenceError("generator state has a foreign length")
        _, left, seeded, following = _HEAD.unpack_from(data, 0)
        if seeded != 1 or not 1 <= left <= _WORDS or (left > 1 and following != _WORDS + 1 - left):
            raise EvidenceError("generator state is not one of torch's CPU generator")
        return cls(_STATE.unpack_from(data, _HEAD.size), _WORDS + 1 - left)

    @classmethod
    def seeded(cls, seed: int) -> Twister:
        """As after ``Generator.manual_seed(seed)``: the twister takes the low 32 bits.

        Initialisation after Matsumoto and Nishimura, "Mersenne Twister" (2002 form).
        """
        word = seed & 0xFFFFFFFF
        words = [word]
        for position in range(1, _WORDS):
            word = (1812433253 * (word ^ (word >> 30)) + position) & 0xFFFFFFFF
            words.append(word)
        return cls(tuple(words), _WORDS)

    def words(self, count: int) -> tuple[int, ...]:
        """The next ``count`` 32-bit words."""
        # getrandbits() fills from the least significant word on, in the order of drawing.
        block = self._random.getrandbits(32 * count).to_bytes(4 * count, "little") if count > 0 else b""
        return struct.unpack(f"<{max(count, 0)}I", block)

    def seed_value(self) -> int:
        """``torch.empty((), dtype=torch.int64).random_().item()``: 63 bits, high word first."""
        high, low = self.words(2)
        return (high << 32 | low) & (2**63 - 1)

    def below(self, bound: int, count: int) -> list[int]:
        """``torch.randint(bound, (count,))`` for ``bound`` under :data:`LIMIT_32_BIT_DRAW`."""
        return [word % bound for word in self.words(count)]

    def permutation(self, size: int) -> array[int]:
        """``torch.randperm(size)``: Fisher and Yates from the front, one word reduced modulo what remains.

        A plain array and small blocks of words stay in the processor's cache: twice as fast as lists.
        """
        order = array("I", range(size))
        for start in range(0, size - 1, _BLOCK):
            words = self.words(min(_BLOCK, size - 1 - start))
            others = map(add, map(mod, words, range(size - start, 1, -1)), range(start, size))
            for position, other in enumerate(others, start):
                order[position], order[other] = order[other], order[position]
        return order
