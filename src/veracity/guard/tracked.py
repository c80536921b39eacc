"""What the guard remembers of an optimizer, and of a step between its two hooks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .gradients import Trail
from .reader import Picked, Piece, Reader
from .sweep import Sweeper, Swept

if TYPE_CHECKING:
    import weakref

    import torch

    from .held import Held
    from .hooks import Hooks
    from .modules import Modules

Picks = list[tuple[int, Picked]]


@dataclass(slots=True)
class Tracked:
    """What the guard remembers of one optimizer."""

    index: int
    parameters: list[torch.Tensor]
    local: list[torch.Tensor]
    groups: list[int]
    numels: list[int]
    plain: list[bool]
    identity: tuple[tuple[int, ...], ...]
    trail: Trail
    dtypes: list[torch.dtype]
    declarations: int = 1
    steps: int = 0
    picks: Picks = field(default_factory=list)
    open_frame: int = 0
    pending: Open | None = None
    scheduled: list[dict[str, object]] = field(default_factory=list)
    finger_at: int = 0
    finger_tensors: list[int] = field(default_factory=list)
    backwards: int = 0
    batches: int = 0
    swept: Swept | None = None
    home: Swept | None = None
    moves: int = 0
    loaded_module: bool = False
    loaded_state: bool = False
    restore: bool = False
    readable: set[int] = field(default_factory=set)
    lost_sight: bool = False
    settled: bool = False
    several: bool = False
    close: bool = True
    looked: int = 0
    grouped: bool = False
    sweeper: Sweeper | None = None
    modules: Modules | None = None
    held_by: list[weakref.ref[torch.nn.Module]] = field(default_factory=list)
    hooks_since: tuple[dict[int, int], dict[int, int]] = field(default_factory=lambda: ({}, {}))
    waiting: Waiting | None = None
    reader: Reader = field(default_factory=lambda: Reader(sys.modules.get("numpy")))


@dataclass(slots=True)
class Waiting:
    """A step whose hooks of the program's own are about to run: what was held from before them."""

    held: Held
    after: Hooks
    swept: Swept
    fingers: list[list[int]]
    written: list[list[int]] | None


@dataclass(slots=True)
class Open:
    """A step between its two hooks.

    ``after`` are hooks of the program that run when the optimizer has made its step, ``held`` what was read
    before them; ``hooked`` are reports of what the hooks changed.
    """

    fresh: Picks
    picks: list[tuple[int, bool, Picked]]
    items: list[list[object]]
    pieces: list[list[Piece]]
    body: dict[str, object]
    swept: Swept
    trail: bytes
    started: int = 0
    ended: int = 0
    after: Hooks | None = None
    held: Held | None = None
    left: list[Piece] = field(default_factory=list)
    hooked: list[dict[str, object]] = field(default_factory=list)


class FieldSets:
    """Distinct lists of field names, so that a record names each once."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self._index: dict[tuple[str, ...], int] = {}

    def index(self, names: Sequence[str]) -> int:
        """The position of ``names`` in :attr:`names`."""
        key = tuple(names)
        if key not in self._index:
            self._index[key] = len(self.names)
            self.names.append(list(key))
        return self._index[key]
