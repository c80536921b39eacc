"""What stands around a program's start beside Python's own: profiles, plug-ins, caches of compiled code.

Found in the variables and the command that a job was started with. Most of it belongs to no package on any
ordinary machine, so what counts is who may exchange it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from . import autoload
from .shellprofile import profiles_of
from .writers import writers_of

MAX_COMMANDS = 16
UNMAPPED = 65_534
"""Whose files are told as when a container or a network share does not know their owner."""
LibraryFinder: TypeAlias = Callable[[str, Mapping[str, str]], str]
"""The file of a library by its name or path and the variables; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Around:
    """``kind``: ``profile``, ``library``, ``folder`` or ``cache`` (see ``StartupItem``).

    ``via`` brings it in. ``writers``: who beside root and the job's own account may exchange it, empty for
    nobody.
    """

    kind: str
    name: str
    path: str
    via: str
    writers: str


def around(
    variables: Mapping[str, str], commands: Sequence[Sequence[str]], uid: int, find_library: LibraryFinder
) -> Iterator[Around]:
    """All of it that is there; ``uid``: the job's account, -1 when it is not known."""
    for command in commands[:MAX_COMMANDS]:
        for path, via in profiles_of(command, variables):
            if os.path.isfile(path):
                yield Around("profile", os.path.basename(path), path, via, writers_of(path))
    shell = variables.get("BASH_ENV", "")
    if os.path.isfile(shell):
        yield Around("profile", os.path.basename(shell), shell, "BASH_ENV", writers_of(shell))
    for variable, words in autoload.libraries(variables):
        found = next((path for word in words if (path := find_library(word, variables))), "")
        if found:
            yield Around("library", words[0], found, variable, writers_of(found))
    for variable, folder in autoload.folders(variables):
        if os.path.isdir(folder):
            yield Around("folder", folder, folder, variable, writers_of(folder))
    user = variables.get("USER") or variables.get("LOGNAME") or _name(uid)
    for reader, folder, via in autoload.caches(variables, user):
        if os.path.isdir(folder):
            # Compiled code is taken from there as it is: whoever made the folder may put some into it.
            yield Around("cache", reader, folder, via, writers_of(folder) or _stranger(folder, uid))


def _stranger(folder: str, uid: int) -> str:
    """The account that a folder belongs to, when it is neither root nor the job's own."""
    try:
        owner = os.stat(folder).st_uid
    except OSError:
        return ""
    if uid < 0 or owner in (0, uid, UNMAPPED):
        return ""
    return f"the account {_name(owner) or owner}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name if uid >= 0 else ""
    except KeyError:
        return ""
