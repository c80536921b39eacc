"""Saving and loading of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

from .root import Observation


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """SHA-256 of a tensor's elements in row-major order. ``key`` is its path in the saved object."""

    key: str
    sha256: str
    dtype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class TensorCopy:
    """Some elements of a saved tensor, and the same ones of the parameter in memory that has its name.

    ``prefix`` and ``name`` make up its path in the saved object.
    """

    prefix: str
    name: str
    saved_dtype: str
    live_dtype: str
    saved: list[float]
    live: list[float]


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Observation):
    """``torch.save`` returned. ``tensors`` are those of the object given, ``path`` empty for a buffer.

    ``inode`` is that of the file written, 0 when unknown: a program may rename it a moment later.
    ``copies`` are of tensors that have the names of parameters and are not what these are; ``same`` says, by
    what comes before the names, how many are. ``elsewhere``: a rank of another machine wrote this file of a
    checkpoint of many; what it holds is not known here.
    """

    path: str
    step: int
    tensors: list[TensorDigest]
    truncated: bool
    inode: int = 0
    same: dict[str, int] = field(default_factory=dict)
    copies: list[TensorCopy] = field(default_factory=list)
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointLoaded(Observation):
    """``torch.load`` returned. ``tensors`` are those of the object it returned."""

    path: str
    step: int
    tensors: list[TensorDigest]
    truncated: bool


@dataclass(frozen=True, slots=True)
class FileDigested(Observation):
    """A checkpoint file read by the monitor after the guard spoke of it.

    ``event``: ``saved`` or ``loaded``; ``seq`` is the guard record it belongs to. ``digest`` is empty when
    the file could not be read (a Gap says why). ``storages`` are the SHA-256 of the raw storages in a torch
    zip; empty for other formats. ``known``: runs that recorded this digest; ``path_known``: a digest was
    recorded for this path before, the last one being ``last_digest``. ``saved_tensors``: the tensor digests
    recorded when a file of this digest was saved.
    """

    event: str
    seq: int
    path: str
    digest: str
    storages: list[str]
    known: list[str]
    path_known: bool
    last_digest: str
    last_run: str
    saved_tensors: list[TensorDigest]
    size: int = 0


@dataclass(frozen=True, slots=True)
class StateRestored(Observation):
    """Parameters and optimizer state at the first step after a checkpoint was loaded into them.

    ``tensors``: digests of the parameters by name; ``state``: of optimizer state, key
    ``<tensor index>.<state name>``. ``loaded_modules``/``loaded_optimizer``: whether ``load_state_dict``
    was called on a module or on this optimizer since the last load.
    """

    optimizer: int
    step: int
    loaded_module: bool
    loaded_optimizer: bool
    tensors: list[TensorDigest]
    state: list[TensorDigest]
