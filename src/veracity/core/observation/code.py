"""Imported modules and watched functions."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class ModuleImported(Observation):
    """A module's code as the import system was about to execute it, or the program's as it runs.

    ``captured``: ``bytecode`` (read from a .pyc; ``sha256`` is of its body, the body is the frame's blob
    unless known), ``source`` (compiled now; ``sha256`` is of the source), ``program`` (``__main__``: the
    blob is its code as it runs, ``sha256`` the code object's digest), or ``none`` with ``reason``.
    """

    module: str
    path: str
    cached: str
    loader: str
    captured: str
    sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModuleChecked(Observation):
    """What the monitor found out about an imported module, outside the training process.

    ``source``: ``true`` (as its distribution's RECORD says), ``altered``, ``unrecorded`` (in no RECORD),
    ``elsewhere`` (its distribution's RECORD names another place), ``missing``.
    ``bytecode``: ``same`` as a fresh compile, ``forged``, ``stale`` (differs, but the file was changed after
    launch and no RECORD vouches for it), ``compiled`` (source was executed), ``unchecked`` with ``reason``.
    ``diff``: unified diff lines against the last trusted text, ``diff_from`` says which.
    ``sealed``: how the source stands in the seal that the run was started on: ``same``, ``differs``,
    ``added`` (into a sealed folder), ``outside``, ``unknown``; empty without a seal.
    """

    module: str
    path: str
    source_digest: str
    distribution: str
    installer: str
    source: str
    bytecode: str
    reason: str
    expected: str
    modified_at: int
    diff: list[str]
    diff_from: str
    first_line: int
    sealed: str = ""


@dataclass(frozen=True, slots=True)
class FunctionIdentity:
    """A function as it stands in memory: ``code`` is the digest of its code object, empty when it has none.

    ``path``/``line`` are where its code object says it was defined. ``forward``: a method of what is trained,
    by the name of its class; with ``()`` behind the class a ``forward`` that one module has beside it, told
    of after that of its class when it came later.
    """

    name: str
    code: str
    path: str
    line: int
    wrapped: str
    forward: bool = False


@dataclass(frozen=True, slots=True)
class FunctionsSeen(Observation):
    """Watched functions (optimizer step, clipping, backward …) re-read while the run goes on."""

    step: int
    functions: list[FunctionIdentity]


@dataclass(frozen=True, slots=True)
class FunctionsExpected(Observation):
    """Code digests of the functions that the file at ``path`` defines when freshly compiled, by name; with
    ``(in its .pyc)`` behind the name, of those that its checked bytecode has written otherwise.
    """

    path: str
    sealed: bool
    distribution: str
    functions: dict[str, str]
