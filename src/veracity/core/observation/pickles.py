"""What a pickle in a file would do when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ..picklepolicy import PicklePolicy
from ..pickleprogram import PickleProgram
from .root import Observation


@dataclass(frozen=True, slots=True)
class PickleRead(Observation):
    """One pickle of a file, followed without running it.

    ``path``: the file. ``member``: where in it the pickle lies (``archive/data.pkl``, members of nested
    archives joined by ``!/``), empty when the file is the pickle. Several pickles in a row are several
    observations, told apart by ``program.start``.
    """

    path: str
    member: str
    program: PickleProgram


@dataclass(frozen=True, slots=True)
class GlobalsPermitted(Observation):
    """The policy that the pickles after it are judged by; without one, no global is permitted.

    ``sources``: files that it was read from, with their SHA-256.
    """

    policy: PicklePolicy
    sources: tuple[tuple[str, str], ...]
