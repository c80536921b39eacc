"""The files in the folder of hooks, whatever they are called: a hook may start what lies beside it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from ...core.repository import Hook
from ...core.tree import escaped
from ..tree import FLAGS

MAX_HOOKS = 500
MAX_LOOKED_AT = 5_000
MAX_DEPTH = 3
MAX_SIZE = 16 << 20
SAMPLE = ".sample"


def read_hooks(folder: str) -> tuple[list[Hook], bool]:
    """The files, by name, and whether there are more than were read. Without the folder there are none.

    Raises OSError when the folder is there and cannot be listed.
    """
    found: list[Hook] = []
    for count, (name, path) in enumerate(_walk(folder, "", 0)):
        if len(found) >= MAX_HOOKS or count >= MAX_LOOKED_AT:
            return found, True
        if not name.endswith(SAMPLE):
            found.append(_hook(name, path))
    return sorted(found, key=lambda one: one.name), False


def _walk(folder: str, start: str, depth: int) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as listing:
            items = [item for _, item in zip(range(MAX_LOOKED_AT), listing, strict=False)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for item in items:
        name = start + item.name
        try:
            is_folder = item.is_dir(follow_symlinks=False)
        except OSError:
            is_folder = False
        if not is_folder:
            yield name, item.path
        elif depth < MAX_DEPTH:
            yield from _walk(item.path, name + "/", depth + 1)


def _hook(name: str, path: str) -> Hook:
    """One file; a link is followed, as git follows it, and its target named."""
    shown, target, mode = escaped(os.fsencode(name)), "", 0
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):
            target = escaped(os.fsencode(os.readlink(path)))
        with open(os.open(path, FLAGS & ~os.O_NOFOLLOW), "rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SIZE:
                return Hook(shown, mode, status.st_size, "", _runs(name, mode), target)
            data = file.read(MAX_SIZE + 1)
    except OSError:
        return Hook(shown, mode, 0, "", _runs(name, mode), target)
    digest = hashlib.sha256(data).hexdigest()
    return Hook(shown, mode, len(data), digest, _runs(name, mode), target)


def _runs(name: str, mode: int) -> bool:
    """Whether git may start it: hooks lie in the folder itself and have no dot in their names."""
    return bool(mode & 0o111) and "/" not in name and "." not in name
