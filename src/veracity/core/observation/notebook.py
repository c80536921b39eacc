"""What notebooks hand to others than Python."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class CommandAsked(Observation):
    """A notebook hands a command to the shell, or runs a script from elsewhere.

    ``line`` of its cell. ``how``: ``shell``, the name of the magic that hands a whole cell over, ``run`` or
    ``load`` (a script at an address), or ``cell`` (one that is too long to be read).
    """

    name: str
    where: str
    line: int
    how: str
    text: str
