"""What was asked for while files were unpickled, and what the gate said of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..finding import Finding
from .root import Observation


@dataclass(frozen=True, slots=True)
class NamedGlobal:
    """A global that a pickle named.

    ``kind`` is what it is in memory: ``class``, ``enum``, ``function``, ``module``, ``other``, or empty when
    it is not there. ``real`` is the name it gives itself, empty when that is the same. ``called``: the file
    calls it, as far as that was looked for.
    """

    module: str
    name: str
    kind: str
    real: str
    called: bool = False


@dataclass(frozen=True, slots=True)
class ObjectsLoaded(Observation):
    """A file was unpickled, or (``way`` is ``elsewhere``) what was unpickled outside of files, at the end.

    ``way``: ``torch.load``, ``pickle.load``, ``pickle.Unpickler``, ``joblib.load``, ``unpickled`` (from
    memory, by the program itself) or ``elsewhere``. ``caller``/``line``: the first frame outside of the
    loading library. ``weights_only``: ``true``, ``false``, ``default``, or empty where there is no such
    thing. ``failed``: the type of the exception it ended with; ``begun`` says that this was sent before
    the load had ended. ``fell_back``: a load of this file with ``weights_only`` was refused before.
    ``owner``, ``mode``: of the file; ``user``: the account of the process. ``more``: globals that are not
    listed; ``repeated``: loads that were like reported ones.
    """

    way: str
    path: str
    step: int
    caller: str
    line: int
    weights_only: str
    failed: str
    begun: bool
    fell_back: bool
    owner: int
    mode: int
    user: int
    globals: list[NamedGlobal]
    more: int
    repeated: int


@dataclass(frozen=True, slots=True)
class FileLoading(Observation):
    """A file is about to be loaded; said before the first byte of it is read.

    ``identity``: as :func:`~veracity.core.fileidentity.identity_of` has it. ``offset``: where in the file the
    load begins. ``asks``: the process waits for an answer.
    """

    way: str
    path: str
    step: int
    identity: str
    offset: int
    asks: bool


@dataclass(frozen=True, slots=True)
class FileScanned(Observation):
    """What the gate says of a file that a process of the job was about to load.

    ``status``: ``clean``, ``findings`` or ``incomplete``, as ``veracity scan`` has them, or ``changed``:
    another file lay there by then. ``formats``: what it was read as. ``findings`` count; ``more`` are not
    listed, and ``aside`` says of others why they do not count. ``missed``: what was not read, and why.
    ``digest`` is empty for a file without findings.
    """

    path: str
    identity: str
    offset: int
    status: str
    digest: str
    formats: list[str]
    findings: list[Finding]
    more: int
    aside: list[str]
    missed: list[str]
