"""Where a Python environment lies, found from its files: the interpreter is not run.

But for a script in its place, which alone knows what it starts (``shim.py``).

A virtual environment says in ``pyvenv.cfg`` of which version it is and where the installation lies that it
was made from; any other installation is told by its folder ``lib/pythonX.Y``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from .pyenv import read_settings, site_directories
from .shim import behind_shim, is_script

_VERSION = re.compile(r"(3\.\d{1,3})\b")
_FOLDER = re.compile(r"python(3\.\d{1,3})t?\Z")


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """``python`` as it is called, its ``version`` (``3.11``), and the folders it imports packages from.

    Folders are named without links. ``stdlib``: the standard library's, empty when not found. ``virtual``:
    it is a virtual environment. ``doubts``: why what its files say may not be what it starts with.
    """

    python: str
    version: str
    prefix: str
    sites: tuple[str, ...]
    stdlib: str
    virtual: bool = False
    doubts: tuple[str, ...] = ()


def find_environment(path: Path, variables: Mapping[str, str]) -> PythonEnvironment:
    """The environment of an interpreter, or the virtual environment in a folder.

    ``variables``: those that it would be started with (``PYTHONPATH``, ``HOME`` …). Raises UsageError when
    there is none.
    """
    python = path / "bin" / "python" if path.is_dir() else path
    if not os.access(python, os.X_OK) or python.is_dir():
        raise UsageError(
            "there is no Python interpreter",
            where=str(path),
            remedy="name an interpreter, such as .venv/bin/python, or the folder of a virtual environment",
        )
    called = os.path.abspath(python)
    if is_script(called):
        called = behind_shim(called, variables)
    prefix = os.path.dirname(os.path.dirname(called))
    settings = read_settings(prefix)
    real = os.path.dirname(os.path.dirname(os.path.realpath(called)))
    # A virtual environment has no library of its own, whatever lies at its place.
    home = os.path.dirname((settings or {}).get("home", "").rstrip("/"))
    bases = [prefix, real] if settings is None else [home, real] if home else [real]
    version, told = _version(called, bases, settings or {})
    if not version:
        raise UsageError(
            "it cannot be told of which version this Python is",
            where=called,
            remedy="name an interpreter in its installation, or the folder of a virtual environment",
        )
    own = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    # lib64 is often a link to lib, and a folder is read once.
    sites = dict.fromkeys(map(os.path.realpath, site_directories(called, version, own)))
    libraries = [found for base in bases if (found := _library(base, version))]
    doubts = []
    if told and told != version:
        doubts.append(f"pyvenv.cfg says that it is of version {told}, and the interpreter is {version}")
    if settings is not None and len(set(libraries)) > 1:
        doubts.append(f"pyvenv.cfg leads to {libraries[0]}, and the interpreter is of {libraries[-1]}")
    if not sites:
        doubts.append("it has no folder of packages")
    library = libraries[0] if libraries else ""
    return PythonEnvironment(
        called, version, prefix, tuple(sites), library, settings is not None, tuple(doubts)
    )


def _library(base: str, version: str) -> str:
    """The standard library below a folder, without links; empty when it is not there."""
    for folder in ("lib", "lib64"):
        found = os.path.join(base, folder, f"python{version}")
        if os.path.isfile(os.path.join(found, "os.py")):
            return os.path.realpath(found)
    return ""


def _version(python: str, bases: list[str], settings: Mapping[str, str]) -> tuple[str, str]:
    """The version, by the interpreter's name before all else, and the one that ``pyvenv.cfg`` tells."""
    found = _VERSION.match(settings.get("version", "") or settings.get("version_info", ""))
    told = found[1] if found is not None else ""
    named = _FOLDER.search(os.path.basename(os.path.realpath(python)))
    if named is not None:
        return named[1], told
    if told and any(_library(base, told) for base in bases):
        return told, told
    for base in bases:
        try:
            folders = [
                match[1] for one in os.listdir(os.path.join(base, "lib")) if (match := _FOLDER.match(one))
            ]
        except OSError:
            continue
        if len(folders) == 1:
            return folders[0], told
    return told, told
