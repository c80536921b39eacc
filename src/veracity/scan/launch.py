"""What decides how an environment's Python starts, beside its packages: files next to the interpreter.

A ``pyvenv.cfg`` there or a ``._pth`` replaces the path, another name of the interpreter may be another
program, and a command imports from the folder that it lies in before all others.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Set

from ..core.observation import Gap, StrayFile
from ..core.origin import Origin, monitor_origin
from ..observe.interpreter import PythonEnvironment
from ..observe.marks import mark_of
from ..observe.torchzip import FileDigest, digest_file

MAX_NAMES = 100_000
_MODULE = re.compile(r"(?P<stem>[^.]+)\.(pyc?|so|[\w-]+\.so)\Z")
_KNOWN = frozenset({"activate_this"})
"""virtualenv's, which is executed by name and imported by nobody."""


def find_launch(environment: PythonEnvironment, commands: Set[str] | None) -> Iterator[StrayFile | Gap]:
    """What starts or shadows; ``commands``: names in ``bin`` that are explained, None when nothing says."""
    origin = monitor_origin(time.time_ns())
    for doubt in environment.doubts:
        what = "it is not sure what this Python starts with"
        yield Gap(origin, what, doubt, law="start-up-purity")
    folder = os.path.dirname(environment.python)
    names = _names(folder)
    for name in names:
        if name == "pyvenv.cfg" or (name.startswith("python") and name.endswith("._pth")):
            yield _stray(origin, os.path.join(folder, name), "startup")
    if environment.stdlib:
        archive = f"python{environment.version.replace('.', '')}.zip"
        place = os.path.join(os.path.dirname(environment.stdlib), archive)
        if os.path.lexists(place):
            yield _stray(origin, place, "module")
    if not environment.virtual:
        return
    yield from _other_interpreters(environment, folder, origin)
    for name in names if commands is not None else ():
        place = os.path.join(folder, name)
        found = name if _MODULE.match(name) else _package(place)
        stem = name.partition(".")[0]
        if found and name not in (commands or ()) and stem.isidentifier() and stem not in _KNOWN:
            yield _stray(origin, os.path.join(folder, found), "module")


def find_elsewhere(variables: Mapping[str, str]) -> Iterator[Gap]:
    """Variables that have Python look for bytecode or its library where nobody looked."""
    origin = monitor_origin(time.time_ns())
    for name, what, law in (
        ("PYTHONPYCACHEPREFIX", "bytecode that Python would load from elsewhere", "bytecode-truth"),
        ("PYTHONPLATLIBDIR", "the standard library that Python would look for elsewhere", "start-up-purity"),
    ):
        if variables.get(name):
            yield Gap(origin, f"{what} was not looked at", f"{name} is {variables[name][:200]}", law=law)


def _other_interpreters(environment: PythonEnvironment, folder: str, origin: Origin) -> Iterator[Gap]:
    """Other names of the interpreter must be the same program: a link to it, or a copy."""
    for name in ("python", "python3", f"python{environment.version}"):
        place = os.path.join(folder, name)
        if os.path.lexists(place) and not is_one_program(place, environment.python):
            yield Gap(
                origin,
                f"{place} is another program than {environment.python}",
                "what it starts with was not looked at",
                law="start-up-purity",
            )


def is_one_program(first: str, second: str) -> bool:
    """Whether two paths lead to one file, or to copies of it: some environments have copies for links."""
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    ours, theirs = digest_file(first), digest_file(second)
    return isinstance(ours, FileDigest) and isinstance(theirs, FileDigest) and ours.sha256 == theirs.sha256


def _package(place: str) -> str:
    """The file that makes a folder a package, as a path from the folder's own; empty when it is none."""
    for name in _names(place) if os.path.isdir(place) else ():
        if name.partition(".")[0] == "__init__" and _MODULE.match(name):
            return os.path.join(os.path.basename(place), name)
    return ""


def _stray(origin: Origin, place: str, kind: str) -> StrayFile:
    found = digest_file(place)
    digest, size = (found.sha256, found.size) if isinstance(found, FileDigest) else ("", 0)
    return StrayFile(origin, place, kind, digest, size, "", *mark_of(place).fields)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MAX_NAMES]
    except OSError:
        return []
