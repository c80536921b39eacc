"""``veracity.load``: what a file holds, built without running anything that it says.

The file is read once, by one descriptor, and its digest is that of the very bytes that everything is made of.
The gate judges them first. What passes is built by makers of our own: no name of the file is imported, no
function of it called, and nothing falls back to the pickle module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.digest import Digest
from ...core.errors import EvidenceError, VerificationError
from ...core.finding import Finding
from ...core.pickleprogram import Import, PickleProgram
from ...core.rule import Severity
from ...observe.artifact.budget import Budget
from ...observe.artifact.input import Input, open_file
from ...observe.safetensorsheader import begins_header
from ..gate.examine import examine
from ..gate.readers import READERS
from . import arrays, plain, tensors
from .build import Makers, build
from .files import open_pickle
from .opaque import Opaque
from .safetensors import read_safetensors

_BLOCK = 1 << 22
MAX_SHOWN = 5


class RefusedError(VerificationError):
    """A file that was not loaded because of what the gate found in it: ``findings``, worst first."""

    def __init__(self, path: str, findings: Sequence[Finding]) -> None:
        worst = findings[0]
        more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
        super().__init__(
            f"{path} was not loaded: {worst.message}{more}",
            where=path,
            remedy=f"see `veracity scan {path}`; if it is as it should be, save what it holds as tensors",
        )
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds. ``digest`` is of all its bytes; ``opaque`` lists what was not built, anywhere."""

    value: object
    digest: Digest
    opaque: tuple[Opaque, ...] = field(default=())


class SharedMemory:
    """The bytes of a file as a source of inputs: what is built later stands on the same memory."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.data)

    def read(self, at: int, length: int) -> bytes:
        """A copy of a part."""
        return bytes(memoryview(self.data)[at : at + max(0, length)])


def load_whole(path: str | os.PathLike[str], *, digest: str = "") -> Loaded:
    """The object in a file of torch, pickle or safetensors, the file's digest, and what was not built.

    Tensors are on the CPU. What no maker is known for is an :class:`Opaque`. Raises :class:`RefusedError`
    when the gate finds anything of at least a warning, VerificationError when ``digest`` (``sha256:<hex>``)
    is given and is another, EvidenceError for what cannot be read or built; each says what and where.
    """
    name = os.fspath(path)
    data = _read(name)
    found = Digest("sha256", hashlib.sha256(data).hexdigest())
    if digest and Digest.parse(digest) != found:
        raise VerificationError(f"{name} is not the file that was meant", where=f"{found}, not {digest}")
    whole = Input.of(name, SharedMemory(data))
    _judge(whole)
    if begins_header(whole.read(0, 10)):
        return Loaded(read_safetensors(whole, data), found)
    opened = open_pickle(whole, Budget())
    storages = None
    if opened.find is not None:
        storages = tensors.Storages(data, opened.find)
    made, opaque = build(
        opened.program, opened.pickle, _makers(opened.program), storages.persistent if storages else None
    )
    return Loaded(made, found, tuple(opaque))


def _read(name: str) -> bytearray:
    source = open_file(Path(name))
    try:
        data = bytearray(source.size)
        for at in range(0, source.size, _BLOCK):
            block = source.read(at, _BLOCK)
            data[at : at + len(block)] = block
    finally:
        source.close()
    return data


def _judge(whole: Input) -> None:
    examined = examine(whole, READERS)
    grave = [one for one in examined.findings if one.severity is not Severity.NOTE]
    if grave:
        raise RefusedError(whole.name, sorted(grave, key=lambda one: -one.severity.weight))
    if examined.gaps:
        gap = examined.gaps[0]
        raise EvidenceError(f"{gap.what}: {gap.reason}", where=whole.name, remedy=gap.remedy)


def _makers(program: PickleProgram) -> Makers:
    """The tables that a program needs: neither torch nor numpy is imported for a file without them."""
    table = plain.makers()
    named = {one.value.module.partition(".")[0] for one in program.operations if isinstance(one, Import)}
    if "numpy" in named:
        table.add(arrays.makers())
    if "torch" in named:
        table.add(tensors.makers())
    return table
