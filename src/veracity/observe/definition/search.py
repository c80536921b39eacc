"""Where an interpreter looks for modules: its ``sys.path``, found from files, in its order.

PYTHONPATH, the standard library, then each folder of packages with the folders that its ``.pth`` files add.
The folder of the program comes before all of them and is not known. What code at the start does to the path
is not followed: :mod:`veracity.observe.startup` lists it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..interpreter import PythonEnvironment
from ..pyenv import read_small

MAX_NAMES = 200_000
MAX_PTH = 2_000
MAX_SMALL = 4 << 20
_EXTENSION = re.compile(r"\.(cpython-(?P<version>3\d{1,3})t?-[\w-]+\.|abi3\.)?so\Z")


@dataclass(frozen=True, slots=True)
class SearchPath:
    """Folders in order, those of the standard library among them, and what may make it another path.

    Archives stand among the folders and are not looked into: ``archives``.
    """

    folders: tuple[str, ...]
    library: frozenset[str]
    doubts: tuple[str, ...]
    archives: frozenset[str]

    def hidden_before(self, path: str) -> list[str]:
        """The archives that come before the folder in which ``path`` was found; all, when it is empty."""
        found: list[str] = []
        for folder in self.folders:
            if path.startswith(folder.rstrip(os.sep) + os.sep):
                return found
            if folder in self.archives:
                found.append(folder)
        return found


def search_path(environment: PythonEnvironment, variables: Mapping[str, str]) -> SearchPath:
    """The path of an interpreter that is started with ``variables``."""
    doubts = list(environment.doubts)
    if variables.get("PYTHONHOME"):
        doubts.append(f"PYTHONHOME is {variables['PYTHONHOME'][:200]}: the library is looked for there")
    folders = [part for part in variables.get("PYTHONPATH", "").split(os.pathsep) if part]
    doubts += [f"PYTHONPATH names {one}, which depends on the folder one is in"
               for one in folders if not os.path.isabs(one)]  # fmt: skip
    library = (
        [environment.stdlib, os.path.join(environment.stdlib, "lib-dynload")] if environment.stdlib else []
    )
    if environment.stdlib:
        archive = f"python{environment.version.replace('.', '')}.zip"
        folders.append(os.path.join(os.path.dirname(environment.stdlib), archive))
    folders += library
    own = os.path.realpath(environment.prefix) + os.sep
    # site adds a virtual environment's own folder before the account's.
    for site in sorted(environment.sites, key=lambda one: environment.virtual and not one.startswith(own)):
        folders.append(site)
        folders += _added(site)
    archives = frozenset(one for one in folders if os.path.isfile(one))
    return SearchPath(tuple(dict.fromkeys(folders)), frozenset(library), tuple(doubts), archives)


def _added(site: str) -> list[str]:
    """Folders that the ``.pth`` files of a folder of packages add."""
    try:
        names = sorted(name for name in os.listdir(site) if name.endswith(".pth"))[:MAX_PTH]
    except OSError:
        return []
    found = []
    for name in names:
        data = read_small(os.path.join(site, name), MAX_SMALL) or b""
        for line in data.decode("utf-8-sig", "replace").splitlines():
            if line.strip() and not line.startswith(("#", "import ", "import\t")):
                folder = os.path.join(site, line.rstrip())
                if "\0" not in folder and os.path.exists(folder):
                    found.append(folder)
    return found


@dataclass(frozen=True, slots=True)
class Located:
    """A module: the files that importing it executes, packages first; none when no folder has it.

    ``namespaces``: its folders, when it is a package without a file of its own.
    """

    files: tuple[tuple[str, str], ...]
    namespaces: tuple[str, ...] = ()
    found: bool = True


NOWHERE = Located((), found=False)


@dataclass(slots=True)
class Finder:
    """Finds modules in folders as :class:`importlib.machinery.PathFinder` would.

    In each folder a package comes before a module, and compiled modules before sources.
    """

    version: str
    _names: dict[str, frozenset[str]] = field(default_factory=dict)

    def locate(self, module: str, folders: Sequence[str]) -> Located:
        """``module``, looked for in ``folders`` in their order; files as (module, path)."""
        files: list[tuple[str, str]] = []
        parts = module.split(".")
        where: Sequence[str] = folders
        path, portions = "", list[str]()
        for at, part in enumerate(parts, 1):
            path, portions = self._one(part, where)
            if not path and not portions:
                return NOWHERE
            if path:
                files.append((".".join(parts[:at]), path))
            where = [os.path.dirname(path)] if is_package(path) else () if path else portions
        return Located(tuple(files), () if path else tuple(portions))

    def locate_in(self, module: str, place: str) -> Located:
        """``module``, whose top-level package or module is at ``place``, without a suffix."""
        top, _, rest = module.partition(".")
        folder, name = os.path.split(place.rstrip(os.sep))
        first = next(iter(self._files("__init__", place)), "") or self._file(name, folder)
        if not first:
            return NOWHERE
        if not rest:
            return Located(((top, first),))
        inner = self.locate(rest, [place] if is_package(first) else [])
        files = tuple((f"{top}.{inside}", path) for inside, path in inner.files)
        return Located(((top, first), *files), inner.namespaces) if inner.found else NOWHERE

    def every(self, module: str, folders: Sequence[str]) -> list[str]:
        """All files that ``module`` could be in these folders, whichever of them Python takes."""
        parent, _, name = module.replace(".", os.sep).rpartition(os.sep)
        found = []
        for folder in folders:
            inside = os.path.join(folder, parent) if parent else folder
            if name in self._listed(inside):
                found += self._files("__init__", os.path.join(inside, name))
            found += self._files(name, inside)
        return found

    def _one(self, name: str, folders: Sequence[str]) -> tuple[str, list[str]]:
        """The file of a module or package; else the folders of a namespace package."""
        portions = []
        for folder in folders:
            names = self._listed(folder)
            inside = os.path.join(folder, name)
            if name in names and os.path.isdir(inside):
                if found := self._file("__init__", inside):
                    return found, []
                portions.append(inside)
            if found := self._file(name, folder):
                return found, []
        return "", portions

    def _file(self, name: str, folder: str) -> str:
        return next(iter(self._files(name, folder)), "")

    def _files(self, name: str, folder: str) -> list[str]:
        """The files of a module in a folder, that which Python takes first."""
        names = self._listed(folder)
        compiled = [one for one in names if one.startswith(f"{name}.") and self._loads(one[len(name) :])]
        # The suffix of the exact version comes first, then that of the stable interface.
        ordered = (*sorted(compiled, key=lambda each: (-len(each), each)), f"{name}.py", f"{name}.pyc")
        paths = [os.path.join(folder, one) for one in ordered if one in names]
        return [path for path in paths if os.path.isfile(path)]

    def _loads(self, suffix: str) -> bool:
        match = _EXTENSION.match(suffix)
        return match is not None and match["version"] in (None, self.version.replace(".", ""))

    def _listed(self, folder: str) -> frozenset[str]:
        known = self._names.get(folder)
        if known is None:
            try:
                known = frozenset(os.listdir(folder)[:MAX_NAMES])
            except (OSError, ValueError):
                known = frozenset()
            self._names[folder] = known
        return known


def is_package(path: str) -> bool:
    """Whether a module's file is that of a package."""
    return os.path.basename(path).partition(".")[0] == "__init__"
