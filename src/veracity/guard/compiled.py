"""The guard's own code, compiled once for many processes: read, checked, and only then unmarshalled.

``marshal`` trusts its input, so no byte reaches it that is not in a file with the digest that the guard's
configuration names. The file is the archive owner's, and nobody else may write it. What was read is kept: a
module that is needed later comes from the same bytes, whatever lies there by then and wherever the program's
path leads. Where anything is not as it should be, the archive's sources are compiled, as they stand.

This module itself is compiled in each process: it is short, and imports little.
"""

from __future__ import annotations

import _imp
import json
import marshal
import os
import stat
import sys
from hashlib import sha256
from importlib.machinery import ModuleSpec
from types import ModuleType
from zipimport import zipimporter

MAGIC = b"VGC1"
MAX_FILE = 32 << 20
MAX_CONFIG = 1 << 16


def tag(optimize: int = sys.flags.optimize) -> str:
    """Which interpreter's code: its cache tag, the magic number of its bytecode, the optimization level."""
    magic = sys.modules["importlib._bootstrap_external"].MAGIC_NUMBER.hex()
    return f"{sys.implementation.cache_tag}-{magic}-{optimize}"


def enter(archive: str, config: str) -> bool:
    """Import the guard's modules from the code beside ``archive`` from now on; whether that can be done.

    Raises OSError, ValueError, KeyError or TypeError where the configuration or the file is not usable.
    """
    wanted = json.loads(read_private(config, MAX_CONFIG))["code"].get(tag())
    if not isinstance(wanted, str):
        return False
    data = read_private(f"{archive}.{tag()}", MAX_FILE, os.stat(archive).st_uid)
    if sha256(data).hexdigest() != wanted:
        return False
    size = int.from_bytes(data[4:8], "little")
    index = json.loads(data[8 : 8 + size])
    if data[:4] != MAGIC or index["tag"] != tag():
        return False
    Compiled(archive, memoryview(data)[8 + size :], index["modules"]).install()
    return True


def read_private(path: str, limit: int, owner: int | None = None) -> bytes:
    """The content of a regular file, of its first ``limit`` bytes.

    With ``owner`` it must be that account's, no link, and writable by nobody else. Raises OSError and
    ValueError.
    """
    # Without O_NONBLOCK a named pipe in its place would hold the program up for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if owner is None else os.O_NOFOLLOW)
    handle = os.open(path, flags)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if owner is not None and (status.st_uid != owner or status.st_mode & 0o022):
            raise ValueError("others than its owner may have written it")
        return os.read(handle, min(limit, status.st_size))
    finally:
        os.close(handle)


class Compiled:
    """Finds and loads the guard's modules. ``modules``: offset, size and whether it is a package, by name."""

    def __init__(self, archive: str, code: memoryview, modules: dict[str, tuple[int, int, bool]]) -> None:
        self.archive = archive
        self._code = code
        self._modules = modules

    def install(self) -> None:
        """Stand where the import system asks for modules of the guard's packages, and nowhere else."""
        for name, (_, _, package) in self._modules.items():
            if package:
                sys.path_importer_cache[os.path.dirname(self._file(name))] = self

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """As a finder of one entry of the path does."""
        if name not in self._modules:
            return None
        spec = ModuleSpec(name, self, origin=self._file(name), is_package=self._modules[name][2])  # type: ignore[arg-type]
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(os.path.dirname(self._file(name)))
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The module is one as any other."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module's code under the file name that the archive's source would have."""
        begin, size, _ = self._modules[module.__name__]
        code = marshal.loads(self._code[begin : begin + size])  # noqa: S302 - its digest has been checked
        _imp._fix_co_filename(code, self._file(module.__name__))  # type: ignore[attr-defined]
        exec(code, module.__dict__)  # noqa: S102 - as every loader does

    def get_source(self, name: str) -> str:
        """The source text, for tracebacks."""
        return zipimporter(self.archive).get_data(self._file(name)).decode("utf-8")

    def _file(self, name: str) -> str:
        path = os.path.join(self.archive, *name.split("."))
        return os.path.join(path, "__init__.py") if self._modules[name][2] else f"{path}.py"
