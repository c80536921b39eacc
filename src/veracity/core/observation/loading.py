"""What was asked for while files were unpickled."""

from __future__ import annotations

from dataclasses import dataclass

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

    ``way``: ``torch.load``, ``pickle.load``, ``joblib.load``, ``unpickled`` (from memory, by the program
    itself) or ``elsewhere``. ``caller``/``line``: the first frame outside of the loading library.
    ``weights_only``: ``true``, ``false``, ``default``, or empty where there is no such thing. ``failed``: the
    type of the exception it ended with; ``begun`` says that this was sent before the load had ended.
    ``fell_back``: a load of this file with ``weights_only`` was refused before. ``owner``, ``mode``: of the
    file; ``user``: the account of the process. ``more``: globals that are not listed; ``repeated``: loads
    that were like reported ones.
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
