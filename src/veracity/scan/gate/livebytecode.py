"""The bytecode of a few sources of an environment: would Python load what they say?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.observation import BytecodeCompared, Gap
from ...core.tree import FILE, UNREAD, TreeEntry
from ...observe.interpreter import PythonEnvironment
from ...observe.torchzip import FileDigest, digest_file
from ..bytecode import BytecodeCheck, Programs


def forged_of(
    environment: PythonEnvironment, sources: Sequence[str], cache: Path, code: Path, package: str
) -> Iterator[BytecodeCompared | Gap]:
    """Each ``.pyc`` of these sources, compared with a compile by the environment's own interpreter."""
    programs = Programs(environment.python, environment.version, code, package, os.cpu_count() or 1)
    trees: dict[str, dict[bytes, TreeEntry]] = {}
    roots = sorted({environment.stdlib, *environment.sites} - {""}, key=len, reverse=True)
    for source in dict.fromkeys(sources):
        bytecode = _bytecode(source, environment.version)
        if not bytecode:
            continue
        root = next((one for one in roots if source.startswith(one + os.sep)), os.path.dirname(source))
        tree = trees.setdefault(root, {})
        for path in (source, *bytecode):
            relative = os.fsencode(os.path.relpath(path, root))
            tree[relative] = _entry(path, relative)
    for root, tree in trees.items():
        yield from BytecodeCheck(root, tree, programs, cache, frozenset()).run()


def _bytecode(source: str, version: str) -> list[str]:
    """The ``.pyc`` files that this Python would load for a source, plain and optimised."""
    folder, name = os.path.split(source)
    stem = os.path.join(
        folder, "__pycache__", f"{name.removesuffix('.py')}.cpython-{version.replace('.', '')}"
    )
    return [one for one in (f"{stem}.pyc", f"{stem}.opt-1.pyc", f"{stem}.opt-2.pyc") if os.path.isfile(one)]


def _entry(path: str, name: bytes) -> TreeEntry:
    found = digest_file(path)
    if not isinstance(found, FileDigest):
        return TreeEntry(FILE, 0o644, 0, name, UNREAD)
    return TreeEntry(FILE, 0o644, found.size, name, found.sha256)
