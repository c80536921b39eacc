"""Files as the gate reads them: what could be read of each, by which readers."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class ArtifactRead(Observation):
    """An input was read to its end by every reader that claimed it.

    ``name``: the file, and behind each ``!`` what lies inside it. ``formats``: readers that claimed it, none
    when it is nothing that a known loader would open. ``size`` in bytes.
    """

    name: str
    formats: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class LimitReached(Observation):
    """A bound was met before an input was read to its end: what lies behind it is not known.

    ``limit`` says which bound, ``format`` who was reading.
    """

    name: str
    format: str
    limit: str


@dataclass(frozen=True, slots=True)
class ArrayRead(Observation):
    """The header of an array: ``dtype`` as it stands there (cut when it is long), ``shape`` in elements.

    ``fortran``: whether columns lie together. ``objects``: it may hold objects, which are a pickle.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    fortran: bool
    objects: bool


@dataclass(frozen=True, slots=True)
class ShardSlice(Observation):
    """An entry of a checkpoint's index that is no whole thing of what lies in the file beside it.

    ``name`` of the index, ``path`` of the file, ``offset``, ``length`` in bytes. ``how``: ``within`` (of
    the archives in the file it is none), ``beyond`` (there are no such bytes), ``overlaps`` (another entry).
    """

    name: str
    path: str
    offset: int
    length: int
    how: str
