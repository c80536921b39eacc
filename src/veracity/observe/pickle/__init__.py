"""Pickles, followed without running them: bytes → :class:`~veracity.core.pickleprogram.PickleProgram`."""

from .machine import walk, walk_all
from .source import Readable
from .state import USUAL, Limits

__all__ = ["USUAL", "Limits", "Readable", "walk", "walk_all"]
