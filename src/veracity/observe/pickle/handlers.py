"""What each opcode does, but for those few that the machine's loop has in its own lines.

Handlers of :data:`SIMPLE` take the state, the place after the opcode within the window, and the stack above
the last mark; those of :data:`MARKED` also the items above that mark, which has been taken away already.
Each returns the place after the argument. IndexError is an underflow of the stack.
"""

from __future__ import annotations

from ...core import pickleopcodes as op
from ...core.pickleprogram import Value
from . import containers, effects, scalars
from .state import Marked, Simple, State, failed

MARKED: dict[int, Marked] = {**containers.MARKED, **effects.MARKED}
_SIMPLE: dict[int, Simple] = {**scalars.SIMPLE, **containers.SIMPLE, **effects.SIMPLE}
_LOOP = frozenset(
    {op.NONE, op.NEWTRUE, op.NEWFALSE, op.EMPTY_TUPLE, op.MARK, op.POP, op.POP_MARK, op.FRAME, op.STOP}
)


def _invalid(state: State, at: int, stack: list[Value]) -> int:
    raise failed(f"byte {state.data[at - 1]:#04x} is no opcode")


SIMPLE: list[Simple | None] = [
    None if code in MARKED or code in _LOOP else _SIMPLE.get(code, _invalid) for code in range(256)
]
"""By opcode; None for those of the loop and of MARKED."""
