"""``veracity seal --python``: an environment as parts of a seal, and what is compared with its archives."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from ..core.canonical import Json
    from ..core.tree import TreeEntry
    from ..observe.interpreter import PythonEnvironment
    from ..scan.archives import Archives
    from ..scan.examine import Examined
    from ..scan.native import NativeCheck
    from ..seal.paths import Trees, Wanted
    from .progress import Told

DEBIAN_WHEELS = "/usr/share/python-wheels"
SETTINGS = "settings"
"""``pyvenv.cfg``, a line of which decides whether other folders of packages are on the path, too."""
INTERPRETER, LIBRARY, COMMANDS, PACKAGES = "interpreter", "library", "commands", "packages"
NATIVE = "native"
"""The libraries outside the environment."""


@dataclass(slots=True)
class Examination:
    """The environment to be sealed and examined; ``found`` is there when it was."""

    environment: PythonEnvironment
    archives: Archives | None
    named_by: tuple[tuple[str, str], ...]
    home: Path
    told: Callable[[str, int], object]
    found: Examined | None = None
    native: NativeCheck | None = None

    def add_to(self, paths: Mapping[str, Path]) -> Wanted:
        """The parts asked for, and those of the environment; raises UsageError for a name of both."""
        from ..observe.pyenv import list_distributions
        from ..seal.paths import Wanted

        one = self.environment
        if self.archives is not None:
            self.archives.begin(found for site in one.sites for found in list_distributions(site))
        own = {INTERPRETER: Path(os.path.realpath(one.python))}
        if one.stdlib:
            own[LIBRARY] = Path(one.stdlib)
        if one.virtual:
            own[COMMANDS] = Path(one.prefix, "bin")
            own[SETTINGS] = Path(one.prefix, "pyvenv.cfg")
        for number, site in enumerate(one.sites, start=1):
            own[PACKAGES if number == 1 else f"{PACKAGES}-{number}"] = Path(site)
        for name in (own.keys() | {NATIVE}) & paths.keys():
            raise UsageError(f"two parts are called {name!r}", remedy="give yours another name: NAME=PATH")
        # Packages of an environment that a virtual one was made from are no part of the latter.
        folders = ("site-packages", "dist-packages")
        without = {LIBRARY: [Path(one.stdlib, name) for name in folders if Path(one.stdlib, name).is_dir()]}
        return Wanted({**paths, **own}, without, self.examine, own=tuple(paths), further=self.libraries)

    def libraries(self, trees: Trees) -> dict[str, list[str]]:
        """The native libraries outside the environment, as a part of the seal."""
        from ..scan.native import NativeCheck

        self.native = NativeCheck(self.environment, os.environ)
        found = self.native.files(self._folders(trees))
        return {NATIVE: found} if found else {}

    def examine(self, trees: Trees) -> dict[str, Json]:
        """Compare what was read; what is found goes into the seal."""
        import veracity

        from ..render.examined import sealed_part
        from ..scan.examine import Asked, examine

        one = self.environment
        code = Path(veracity.__file__).resolve().parent
        asked = Asked(self.archives, os.environ, code.parent, code.name, self.home / "cache", self.native)
        self.found = examine(one, self._folders(trees), asked, self.told)
        return sealed_part(self.found, one.python, one.version, self.named_by)

    def _folders(self, trees: Trees) -> dict[str, Mapping[bytes, TreeEntry]]:
        one = self.environment
        return {path: trees[path] for path in (one.stdlib, *one.sites) if path in trees}

    def text(self, console: Console | None) -> str:
        """What was found, for people."""
        from ..render.examined import examined

        return "" if self.found is None else examined(self.found, console)

    def exit_code(self) -> int:
        """0, 1 or 2, as ``veracity seal`` documents them."""
        from ..render.examined import exit_code

        return 2 if self.found is None else exit_code(self.found)


def examination_of(arguments: argparse.Namespace, home: Path, told: Told) -> Examination | None:
    """What ``--python`` and the flags about archives ask for; None without the first."""
    python: Path | None = arguments.python
    locks: list[Path] = arguments.lock
    folders: list[Path] = arguments.wheels
    indexes: list[str] = arguments.index
    if python is None:
        if locks or folders or indexes or arguments.fetch:
            raise UsageError(
                "--lock, --wheels, --index and --fetch are about an environment, and none was named",
                remedy="name it with --python, such as --python .venv",
            )
        return None
    from ..observe.index import Index, fetch
    from ..observe.interpreter import find_environment
    from ..observe.lockfile import read_lock
    from ..observe.torchzip import FileDigest, digest_file
    from ..scan.archives import Archives, Network

    environment = find_environment(python.expanduser(), os.environ)
    named: list[tuple[str, str]] = []
    for path in locks:
        digest = digest_file(str(path))
        named.append((str(path), digest.sha256 if isinstance(digest, FileDigest) else ""))
    named += [(str(path), "") for path in folders]
    named += [(url, "") for url in indexes]
    asked = tuple(Index(url).archives for url in indexes)
    network = Network(fetch if arguments.fetch or indexes else None, asked)
    archives = None
    if named:
        bundled = [Path(environment.stdlib, "ensurepip", "_bundled"), Path(DEBIAN_WHEELS)]
        present = [folder for folder in bundled if folder.is_dir()]
        archives = Archives(home / "cache", [read_lock(path) for path in locks], folders, present, network)
    return Examination(environment, archives, tuple(named), home, told.note)
