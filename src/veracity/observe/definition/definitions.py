"""What defines a global in an environment: which files, whose they are, and what replaces it at the start.

Nothing of the environment is imported or run: the path, the packages' records, the texts of modules and the
code at the start are read as files. Python reads the same files later, so what is said holds for the moment
in which it was read.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ...core.observation import DefiningFile, Gap, Reassigned, StartupItem
from ...core.origin import Origin
from ...core.packagename import normalised
from ...core.picklepolicy import Key
from ..interpreter import PythonEnvironment
from ..ownership import Owner, Ownership
from ..pyenv import RecordIndex, read_small
from ..startup import VARIABLES, Interpreter, StartupReader
from .bindings import Bindings, bindings_of
from .editable import editable_packages
from .search import NOWHERE, Finder, Located, is_package, search_path

MAX_FILE = 256 << 20
MAX_FILES = 128
"""Files that are looked at for one global."""
MAX_LINKS = 16
"""Modules that a name is followed through."""
# What the interpreter has without a file, in every build of CPython.
_BUILT_IN = frozenset(
    {
        *("_abc", "_ast", "_codecs", "_collections", "_functools", "_imp", "_io", "_locale"),
        *("_operator", "_signal", "_sre", "_stat", "_string", "_symtable", "_thread"),
        *("_tracemalloc", "_typing", "_warnings", "_weakref", "atexit", "builtins", "errno"),
        *("faulthandler", "gc", "itertools", "marshal", "posix", "pwd", "sys", "time"),
    }
)
# What it has in some builds, and others as files.
_MAYBE_BUILT_IN = _BUILT_IN | frozenset(
    {
        *("array", "audioop", "binascii", "cmath", "fcntl", "grp", "math", "mmap", "pyexpat"),
        *("readline", "resource", "select", "syslog", "termios", "unicodedata", "zlib"),
    }
)
_FROZEN = frozenset(
    {
        *("_collections_abc", "_sitebuiltins", "abc", "codecs", "genericpath", "importlib"),
        *("importlib._bootstrap", "importlib._bootstrap_external", "importlib.machinery"),
        *("importlib.util", "io", "ntpath", "os", "posixpath", "runpy", "site", "stat"),
        "zipimport",
    }
)
"""From 3.11 on the interpreter holds these itself and never looks for a file."""
_BLIND = {
    "hides": "decodes what it executes",
    "hooks": "puts itself into the import system",
    "targets": "puts itself into the import system",
}
_CODE = ("pth", "sitecustomize", "usercustomize", "module")


@dataclass(frozen=True, slots=True)
class Definition:
    """``files`` that an import of a global executes, ``definer`` the one that binds the name (None: unknown).

    ``replaced`` and ``beside`` as in ``GlobalDefined``. ``doubts``: why this may be another definition.
    ``unowned``: files among them for which nothing vouches.
    """

    files: tuple[DefiningFile, ...]
    definer: DefiningFile | None
    replaced: tuple[Reassigned, ...]
    beside: tuple[Reassigned, ...]
    doubts: tuple[str, ...]
    unowned: tuple[str, ...]


class Definitions:
    """Answers for one environment, whose programs are started with ``variables``."""

    def __init__(self, environment: PythonEnvironment, variables: Mapping[str, str], origin: Origin) -> None:
        self.environment = environment
        given = {name: variables[name] for name in VARIABLES if name in variables}
        interpreter = Interpreter(environment.python, environment.version, given, uid=os.getuid())
        self._records = RecordIndex(environment.sites)
        reader = StartupReader(interpreter, self._records, origin, through_owned=True)
        self.startup: tuple[StartupItem, ...] = tuple(reader.read())
        """What executes at the start."""
        self.gaps: tuple[Gap, ...] = tuple(reader.gaps())
        self._reassigned = reader.reassigned
        self._path = search_path(environment, given)
        self._ownership = Ownership(self._records, interpreter.bases())
        self._finder = Finder(environment.version)
        self._editable = editable_packages(environment.sites)
        self._files: dict[str, DefiningFile] = {}
        self._bindings: dict[str, Bindings] = {}
        self._definitions: dict[Key, Definition] = {}
        self._doubts = (*self._path.doubts, *_blind(self.startup), *_moves(reader.reassigned))

    def of(self, key: Key) -> Definition:
        """The definition of a global; of a name with dots that of its first part."""
        known = self._definitions.get(key)
        if known is None:
            known = self._definitions[key] = self._define((key[0], key[1].partition(".")[0]))
        return known

    def _define(self, key: Key) -> Definition:
        files: dict[str, DefiningFile] = {}
        doubts = list(self._doubts)
        names: list[Key] = []
        waiting = deque([key])
        while waiting and len(files) < MAX_FILES and len(names) < MAX_FILES:
            module, name = waiting.popleft()
            if (module, name) in names:
                continue
            names.append((module, name))
            located = self._locate(module)
            if len(names) == 1:
                first = located.files[0][1] if located.files else ""
                doubts += [f"{one} on the path was not looked into" for one in self._hidden(module, first)]
                if not located.found:
                    doubts.append(f"no folder of its path has the module {module[:200]}")
            for inside, path in located.files:
                files.setdefault(path, self._file(inside, path))
            if located.namespaces or not located.files:
                continue
            bindings = self._bound(module, located.files[-1][1])
            waiting += bindings.imported.get(name, [])
            if name not in bindings.own and name not in bindings.imported:
                waiting += ((one, name) for one in bindings.stars)
        shown = tuple(files.values())
        doubts += [f"{one.path} cannot be read" for one in shown if not one.sha256]
        doubts += self._uncertain(key[0], shown)
        replaced = tuple(one for one in self._reassigned if any(_is(one.name, *each) for each in names))
        modules = {module for module, _ in names}
        beside = tuple(one for one in self._reassigned if one.name.rpartition(".")[0] in modules)
        unowned = tuple(one.path for one in shown if one.standing == "none" and not one.instead)
        return Definition(
            shown,
            self._definer(key),
            replaced,
            tuple(one for one in beside if one not in replaced),
            tuple(dict.fromkeys(doubts)),
            unowned,
        )

    def _definer(self, key: Key) -> DefiningFile | None:
        """The file that binds a name: through modules that have it from one other and from nowhere else."""
        found: DefiningFile | None = None
        for _ in range(MAX_LINKS):
            module, name = key
            located = self._locate(module)
            if not located.files or located.namespaces:
                return found
            path = located.files[-1][1]
            found = self._file(module, path)
            source = self._bound(module, path).source(name)
            if source is None or self._locate(".".join(source)).found:  # the latter is a module, not a name
                return found
            key = source
        return None

    def _uncertain(self, module: str, files: tuple[DefiningFile, ...]) -> list[str]:
        """Modules that the interpreter may hold itself, of which a file was found outside the library."""
        top = module.partition(".")[0]
        if top not in _MAYBE_BUILT_IN - _BUILT_IN:
            return []
        found = [one for one in files if one.module == top and one.standing == "none" and not one.instead]
        return [f"{one.path} may be passed over: some interpreters hold {top} themselves" for one in found]

    def _hidden(self, module: str, path: str) -> list[str]:
        """Archives on the path that may have the module before the file at ``path``."""
        held = path == os.path.realpath(self.environment.python) or module in _FROZEN
        return [] if held else self._path.hidden_before(path)

    # --- modules and files -------------------------------------------------------------------------

    def _locate(self, module: str) -> Located:
        top = module.partition(".")[0]
        itself = Located(((module, os.path.realpath(self.environment.python)),))
        if top in _BUILT_IN:
            return itself if top == module else NOWHERE
        folders = self._path.folders
        if module in _FROZEN and _minor(self.environment.version) >= 11:
            folders = tuple(one for one in folders if one in self._path.library)
        located = self._finder.locate(module, folders)
        if not located.found and top in self._editable:
            located = self._finder.locate_in(module, self._editable[top])
        if not located.found and module in sys.stdlib_module_names:
            return itself if module in _MAYBE_BUILT_IN or module.startswith("_") else located
        return located

    def _bound(self, module: str, path: str) -> Bindings:
        known = self._bindings.get(path)
        if known is None:
            data = read_small(path, MAX_FILE) if path.endswith(".py") else None
            known = Bindings() if data is None else bindings_of(data, module, package=is_package(path))
            self._bindings[path] = known
        return known

    def _file(self, module: str, path: str) -> DefiningFile:
        known = self._files.get(path)
        if known is None:
            known = self._files[path] = self._read(module, path)
        return known

    def _read(self, module: str, path: str) -> DefiningFile:
        data = read_small(path, MAX_FILE)
        if data is None:
            return DefiningFile(module, path, "", "none", "", "")
        digest = hashlib.sha256(data).hexdigest()
        owner = self._owner(module, path, data)
        instead = self._instead(module, path, owner)
        return DefiningFile(module, path, digest, owner.standing, owner.name, owner.installer, instead)

    def _owner(self, module: str, path: str, data: bytes) -> Owner:
        owner = self._ownership.of(path, data)
        if owner.standing != "none":
            return owner
        if path == os.path.realpath(self.environment.python):
            return Owner("interpreter")
        if self._in_library(path):
            return Owner("library")
        top = normalised(module.partition(".")[0])
        found = [one for one in self._records.distributions() if one.editable and normalised(one.name) == top]
        return Owner("listed", found[0].name, "editable") if found else owner

    def _in_library(self, path: str) -> bool:
        library = self.environment.stdlib
        inside = [os.path.relpath(one, library) for one in (path, os.path.realpath(path))] if library else []
        return any(one.partition(os.sep)[0] not in ("..", "site-packages", "dist-packages") for one in inside)

    def _instead(self, module: str, path: str, owner: Owner) -> str:
        """Another file of the module that somebody else vouches for, before which this one is found.

        Of a file of nobody, anywhere on the path; of a package's, beside it: one that is installed before
        another of its name is in its right.
        """
        if owner.standing not in ("none", "recorded", "listed"):
            return ""
        folders = self._path.folders if owner.standing == "none" else (_root(module, path),)
        for other in self._finder.every(module, folders):
            data = read_small(other, MAX_FILE) if other != path else None
            if data is None:
                continue
            its = self._owner(module, other, data)
            another = owner.standing == "none" or its.name != owner.name
            if another and its.standing in ("recorded", "listed", "library"):
                return other
        return ""


def _root(module: str, path: str) -> str:
    """The folder of the path from which a module was taken."""
    for _ in range(module.count(".") + 1 + is_package(path)):
        path = os.path.dirname(path)
    return path


def _is(target: str, module: str, name: str) -> bool:
    """Whether something that is set is the global, a part of it, its module, or a package of that."""
    whole = f"{module}.{name}"
    if target in (whole, f"{module}.?") or target.startswith(f"{whole}."):
        return True
    return target == module or module.startswith(f"{target}.")


def _blind(items: tuple[StartupItem, ...]) -> list[str]:
    """Code of no package at the start, of which cannot be read what it sets."""
    found = []
    for one in items:
        if one.kind in _CODE and one.standing in ("none", "altered"):
            why = _BLIND.get(one.effect) or (one.text if one.kind != "pth" else "")
            if why:
                found.append(
                    f"what {one.path} replaces at the start cannot be told: it {why.removeprefix('it ')}"
                )
    return found


def _moves(reassigned: list[Reassigned]) -> list[str]:
    """Code of no package that changes the path, or modules whose names it computes."""
    changes = [one for one in reassigned if one.name in ("sys.path", "sys.modules")]
    paths = dict.fromkeys(one.path for one in changes if one.standing in ("none", "altered"))
    return [f"{path} changes where Python looks for modules, or the table of modules" for path in paths]


def _minor(version: str) -> int:
    return int(version.partition(".")[2] or 0)
