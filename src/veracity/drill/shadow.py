"""A throw-away shadow of an installed package: symbolic links to all of it but the files that are edited.

The shadow's folder goes first on the job's PYTHONPATH; the installed package is never written to. On the way
to an edited file folders are real; everything else in them is a link.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from ..core.errors import UsageError
from .sabotage import Sabotage

BYTECODE = "__pycache__"


def build_shadow(package: Path, root: Path, texts: Mapping[str, str]) -> Path:
    """Make ``root/<package name>`` and return ``root``; ``texts`` maps files of the package to their text.

    Raises UsageError for a path that leaves the package, and when the folder cannot be made.
    """
    edited = {_inside(file): text for file, text in texts.items()}
    try:
        _link_folder(package, root / package.name, edited, PurePosixPath())
    except OSError as error:
        raise UsageError(
            f"the shadow of {package.name} cannot be made: {error.strerror}", where=str(root)
        ) from error
    return root


def shadow_environment(environment: Mapping[str, str], root: Path) -> dict[str, str]:
    """``environment`` with the shadow first on PYTHONPATH.

    Bytecode is not written: through the links it would land in the installed package.
    """
    shadowed = dict(environment)
    others = shadowed.get("PYTHONPATH", "")
    shadowed["PYTHONPATH"] = str(root) + (os.pathsep + others if others else "")
    shadowed["PYTHONDONTWRITEBYTECODE"] = "1"
    return shadowed


def edited_text(package: Path, sabotage: Sabotage) -> tuple[str, str]:
    """``(file, edited text)`` for this version of the package. Raises UsageError when nothing fits."""
    texts: dict[str, str] = {}
    for edit in sabotage.edits:
        path = package / edit.file
        if edit.file not in texts and path.is_file():
            texts[edit.file] = path.read_text(encoding="utf-8")
    chosen = sabotage.choose(texts)
    return chosen.file, chosen.apply(texts[chosen.file])


def _inside(file: str) -> PurePosixPath:
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UsageError(f"not a file inside the package: {file!r}")
    return path


def _link_folder(
    source: Path, target: Path, edited: Mapping[PurePosixPath, str], inside: PurePosixPath
) -> None:
    target.mkdir(parents=True)
    here = {path.name: text for path, text in edited.items() if path.parent == inside}
    below = {path.parts[len(inside.parts)] for path in edited if inside in path.parent.parents}
    for entry in sorted(source.iterdir()):
        if entry.name == BYTECODE:
            _link_bytecode(entry, target / BYTECODE, here)
        elif entry.name in below:
            _link_folder(entry, target / entry.name, edited, inside / entry.name)
        elif entry.name not in here:
            (target / entry.name).symlink_to(entry)
    for name, text in here.items():
        (target / name).write_text(text, encoding="utf-8")


def _link_bytecode(source: Path, target: Path, edited: Iterable[str]) -> None:
    """Links to the compiled files, so that start-up is as fast; not to those of what is edited."""
    stems = {name.removesuffix(".py") for name in edited}
    target.mkdir()
    for entry in sorted(source.iterdir()):
        if entry.name.split(".", 1)[0] not in stems:
            (target / entry.name).symlink_to(entry)
