"""Where a Python environment lies, found from its files: the interpreter is not run.

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
from .pyenv import site_directories

_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(3\.\d{1,3})\b", re.M)
_FOLDER = re.compile(r"python(3\.\d{1,3})t?\Z")
MAX_CFG = 64 << 10


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """``python`` as it is called, its ``version`` (``3.11``), and the folders it imports packages from.

    Folders are named without links. ``library``: the standard library's, empty when not found.
    """

    python: str
    version: str
    prefix: str
    sites: tuple[str, ...]
    library: str


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
    prefix = os.path.dirname(os.path.dirname(called))
    bases = [prefix, os.path.dirname(os.path.dirname(os.path.realpath(called)))]
    version = _version(prefix, called, bases)
    if not version:
        raise UsageError("it cannot be told of which version this Python is", where=called)
    own = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    # lib64 is often a link to lib, and a folder is read once.
    sites = dict.fromkeys(map(os.path.realpath, site_directories(called, version, own)))
    libraries = [os.path.join(base, "lib", f"python{version}") for base in bases]
    library = next((one for one in libraries if os.path.isfile(os.path.join(one, "os.py"))), "")
    return PythonEnvironment(
        called, version, prefix, tuple(sites), os.path.realpath(library) if library else ""
    )


def _version(prefix: str, python: str, bases: list[str]) -> str:
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
            found = _VERSION.search(file.read(MAX_CFG))
    except OSError:
        found = None
    if found is not None:
        return found[1]
    named = _FOLDER.search(os.path.basename(os.path.realpath(python)))
    if named is not None:
        return named[1]
    for base in bases:
        try:
            folders = [
                match[1] for one in os.listdir(os.path.join(base, "lib")) if (match := _FOLDER.match(one))
            ]
        except OSError:
            continue
        if len(folders) == 1:
            return folders[0]
    return ""
