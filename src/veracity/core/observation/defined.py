"""What the globals that files name are in the environment that is to load them."""

from __future__ import annotations

from dataclasses import dataclass

from .root import Observation


@dataclass(frozen=True, slots=True)
class Reassigned:
    """Something in a module that code sets before the program begins.

    ``name``: with the module, ``?`` in the place of what is computed; the module alone when it is exchanged.
    ``path``, ``line`` and ``text`` of the code. ``plain``: it becomes a constant or a builtin type.
    ``standing`` and ``owner`` of the code, as in ``StartupItem``.
    """

    name: str
    path: str
    line: int
    text: str
    plain: bool
    standing: str
    owner: str


@dataclass(frozen=True, slots=True)
class DefiningFile:
    """A file that an import of a global executes: of a package on the way, or where the name is bound.

    ``standing``: as in ``StartupItem``, and ``interpreter`` (the module is compiled into it: ``path`` is the
    interpreter). ``instead``: the file that the standard library or a RECORD has for the module, where this
    one is found before it; empty when it is that one. ``bytecode``: a ``.pyc`` that Python would load and
    that is not what this source compiles to; empty when there is none.
    """

    module: str
    path: str
    sha256: str
    standing: str
    owner: str
    installer: str
    instead: str = ""
    bytecode: str = ""


@dataclass(frozen=True, slots=True)
class GlobalDefined(Observation):
    """A global that a file names, as an environment would define it: found from files, nothing imported.

    ``path``: the file that names it; ``python``: the environment's interpreter. ``files``: what an import of
    it executes, in order. ``replaced``: what code at the start of Python sets of the global itself: the name
    under which a module has it, a part of it, or the module; ``beside``: of what else is in its modules.
    """

    path: str
    module: str
    name: str
    python: str
    files: tuple[DefiningFile, ...]
    replaced: tuple[Reassigned, ...]
    beside: tuple[Reassigned, ...]
