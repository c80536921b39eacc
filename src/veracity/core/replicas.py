"""What a rank's copy of the parameters looked like after a step, as digests that fit into a line.

Monitors of several nodes show each other these in place of the elements: the folder in which they meet holds
no weights. Two copies that were read at the same places with the same key have the same digests exactly
when what was read is the same bit for bit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from .contract import OptimizerDeclaration
from .observation import ReplicaStep, StepRecord
from .sweep import Sweep

MAX_PARTS = 512
"""Digests of one step: of a model with more tensors, one stands for several in a row."""
DIGEST = 8
MAX_FINGERS = 512
MAX_MACHINE = 256


@dataclass(frozen=True, slots=True)
class Held:
    """One copy after one step; ``parts`` are digests of ``DIGEST`` bytes, of the tensors in their order."""

    places: str
    parts: bytes
    fingers: dict[int, str] = field(default_factory=dict)

    def comparable(self, other: Held) -> bool:
        """Whether both were read at the same places."""
        return self.places == other.places and len(self.parts) == len(other.parts)

    def differing(self, other: Held) -> tuple[list[int], list[int]]:
        """Parts that differ, and tensors whose fingerprints, where both were taken, do."""
        parts = [
            at // DIGEST
            for at in range(0, len(self.parts), DIGEST)
            if self.parts[at : at + DIGEST] != other.parts[at : at + DIGEST]
        ]
        both = self.fingers.keys() & other.fingers.keys()
        return parts, sorted(at for at in both if self.fingers[at] != other.fingers[at])


def machine_of(numerics: Mapping[str, str]) -> str:
    """What decides the bits on a rank's machine, from its hello; bounded, since it is sent on."""
    names = ("cpu_capability", "cuda", "git", "byteorder", "gpu")
    words = ";".join(numerics.get(name, "") for name in names)
    return words.encode("ascii", "replace").decode()[:MAX_MACHINE]


def group_of(declared: OptimizerDeclaration, port: str) -> str:
    """A name for an optimizer on all ranks that hold its parameters, the same on all nodes.

    ``port`` is the one at which the ranks met: trainings side by side have others. The count of restarts is
    not in it: launchers do not agree on that across nodes.
    """
    shapes = [[one.name, one.shape, one.dtype] for one in declared.tensors]
    text = json.dumps([port, declared.index, declared.replicas, shapes])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def held_of(step: StepRecord) -> Held | None:
    """The digests of what a rank held after a step, None when nothing was read."""
    swept = step.swept_after
    if not swept.tensors or not swept.count:
        return None
    length = stretch(len(swept.tensors))
    words = swept.values.tobytes()
    size = swept.values.itemsize * swept.count * length
    parts = b"".join(_digest(words[at : at + size]) for at in range(0, len(words), size))
    pairs = [pair for pair in step.fingerprint_after if len(pair) == 2][:MAX_FINGERS]
    fingers = {tensor: _digest(b"%d" % value).hex() for tensor, value in pairs}
    return Held(_places(swept), parts, fingers)


def one_voice(made: dict[int, StepRecord]) -> list[tuple[list[int], StepRecord, Held]]:
    """Ranks below one monitor after one step, those together that hold the same, with the first of them."""
    voices: list[tuple[list[int], StepRecord, Held]] = []
    for rank, step in sorted(made.items()):
        held = held_of(step)
        if held is None:
            continue
        for ranks, _, known in voices:
            if known == held:
                ranks.append(rank)
                break
        else:
            voices.append(([rank], step, held))
    return voices


def stretch(tensors: int) -> int:
    """How many tensors in a row one part stands for."""
    return max(1, -(-tensors // MAX_PARTS))


def told(held: Held, group: str, step: StepRecord, ranks: list[int], machine: str) -> ReplicaStep:
    """The same as it goes to the monitors of other nodes."""
    fingers: list[list[int | str]] = [[tensor, digest] for tensor, digest in sorted(held.fingers.items())]
    parts = base64.b64encode(held.parts).decode()
    return ReplicaStep(group, step.step, step.origin.at, ranks, machine, held.places, parts, fingers)


def heard(step: ReplicaStep) -> Held | None:
    """And back; None when it cannot be read."""
    try:
        parts = base64.b64decode(step.parts, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not parts or len(parts) % DIGEST or len(parts) > DIGEST * MAX_PARTS or len(step.fingers) > MAX_FINGERS:
        return None
    fingers: dict[int, str] = {}
    for pair in step.fingers:
        if len(pair) != 2 or not isinstance(pair[0], int) or not isinstance(pair[1], str):
            return None
        fingers[pair[0]] = pair[1]
    return Held(step.places, parts, fingers)


def _places(swept: Sweep) -> str:
    return _digest(array("I", (swept.count, *swept.tensors)).tobytes()).hex()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST).digest()
