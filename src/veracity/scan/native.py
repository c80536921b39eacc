"""The native libraries of an environment before anything runs: which would be mapped, and whose they are.

The interpreter and every shared object in the environment's folders are followed as the loader would follow
them (``observe/loader.py``). What lies outside becomes a part of the seal, with the links that lead there.
Libraries that a program opens by a name that it makes up itself (``dlopen``) are seen while it runs alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor

from ..core.observation import Gap, LibraryResolved, SearchFolder
from ..core.origin import monitor_origin
from ..core.tree import TreeEntry
from ..observe.dpkg import Digests, digests_of, packages_of
from ..observe.elf import Elf
from ..observe.interpreter import PythonEnvironment
from ..observe.ldcache import read_cache
from ..observe.loader import LIBRARY_PATH, Element, Found, Loaded, Loader, on_the_way
from ..observe.marks import mark_of
from ..observe.ownership import DPKG, NOBODY, Owner, Ownership
from ..observe.pyenv import RecordIndex, read_small
from ..observe.writers import writers_of

LAW = "native-libraries"
MAX_LIBRARY = 512 << 20
MAX_OBJECTS = 20_000
MAX_LINES = 2_000
SHARED = ("/usr", "/usr/local", "/", "")
"""Prefixes that are not the interpreter's alone."""
_LIBRARY = re.compile(rb".*\.so(\.\d+)*\Z", re.S)

Tree = Mapping[bytes, TreeEntry]


class NativeCheck:
    """The libraries of one environment; ``variables`` are those that its programs are started with."""

    def __init__(
        self, environment: PythonEnvironment, variables: Mapping[str, str], *, dpkg: str = DPKG
    ) -> None:
        self._environment = environment
        self._library_path = variables.get(LIBRARY_PATH, "")
        self._dpkg = dpkg
        self._origin = monitor_origin(time.time_ns())
        self._program = os.path.realpath(environment.python)
        self._inside = [self._program]
        self._loaded: Loaded | None = None
        self._gaps: list[Gap] = []
        self._digests: dict[str, Future[Digests | None]] = {}

    def files(self, trees: Mapping[str, Tree]) -> list[str]:
        """What is to be a part of the seal: libraries outside of ``trees``, and links on the way to them."""
        self._inside = [self._program, *trees]
        chosen: dict[str, None] = {}
        for real, found in self._load(trees).libraries.items():
            if self._is_inside(real):
                continue
            try:
                passed = on_the_way(found.path)
            except OSError:
                passed = [real]
            chosen.update((path, None) for path in passed if not self._is_inside(path))
        self._begin()
        return list(chosen)

    def run(self, vouched: Set[str]) -> Iterator[LibraryResolved | SearchFolder | Gap]:
        """What :meth:`files` found, and whose it is; ``vouched``: files whose content is an archive's."""
        loaded = self._loaded
        if loaded is None:
            return
        yield from self._gaps
        outside = {real: one for real, one in loaded.libraries.items() if not self._is_inside(real)}
        brought = packages_of([*outside, self._program], self._dpkg)
        prefixes = self._prefixes()
        owners = Ownership(RecordIndex(self._environment.sites), prefixes, dpkg="")
        for real, one in outside.items():
            yield self._resolved(real, one, brought, owners, prefixes)
        for name, by in list(loaded.missing.items())[:MAX_LINES]:
            yield self._line(name, by, "missing")
        for path in list(loaded.unread)[:MAX_LINES]:
            yield self._line(path, path, "unread")
        own = [*self._inside, *(one for one in prefixes if one not in SHARED)]
        for element in loaded.elements.values():
            yield from self._folder(element, vouched, brought, own)
        if loaded.more:
            what = "not all libraries that packages need were followed"
            yield Gap(self._origin, what, "there are more than is sensible", law=LAW)

    def _begin(self) -> None:
        """Begin to digest what lies outside, in threads, beside whatever is done until :meth:`run`."""
        outside = self._loaded.libraries if self._loaded is not None else {}
        pool = ThreadPoolExecutor(os.cpu_count() or 1, "digest-libraries")
        self._digests = {
            real: pool.submit(digests_of, real, MAX_LIBRARY) for real in outside if not self._is_inside(real)
        }
        pool.shutdown(wait=False)

    # --- the search --------------------------------------------------------------------------------

    def _load(self, trees: Mapping[str, Tree]) -> Loaded:
        cache = read_cache()
        if isinstance(cache, str):
            self._gap("libraries that are found by ld.so.cache are not known", cache)
            cache = {}
        loader = Loader(self._program, cache, self._library_path)
        if not isinstance(loader.elf, Elf):
            why = loader.elf or "it is no ELF program"
            self._gap("native libraries were not looked for", f"{self._program}: {why}")
            self._loaded = Loaded()
            return self._loaded
        if "ld-musl" in loader.elf.interpreter:
            self._gap("native libraries were looked for as glibc does", "this Python is started by musl")
        self._loaded = loader.load(_objects(trees))
        return self._loaded

    def _gap(self, what: str, reason: str) -> None:
        self._gaps.append(Gap(self._origin, what, reason, law=LAW))

    def _is_inside(self, real: str) -> bool:
        return _within(real, self._inside)

    def _prefixes(self) -> list[str]:
        """Folders of the environment and of the installation that it was made from."""
        library = self._environment.stdlib
        base = os.path.dirname(os.path.dirname(library)) if library else ""
        called = self._environment.prefix
        own = os.path.dirname(os.path.dirname(self._program))
        return list(dict.fromkeys(map(os.path.realpath, filter(None, (called, own, base)))))

    # --- one library -------------------------------------------------------------------------------

    def _resolved(
        self,
        real: str,
        one: Found,
        brought: Mapping[str, tuple[str, str]],
        owners: Ownership,
        prefixes: list[str],
    ) -> LibraryResolved:
        digests = self._digests[real].result()
        owner = _owner(real, digests, brought, owners)
        if owner == NOBODY and _within(real, [one for one in prefixes if one not in SHARED]):
            owner = Owner("installation")
        digest = "" if digests is None else digests.sha256
        mark = mark_of(real)
        return LibraryResolved(
            self._origin, one.name, real, one.by, one.needed_by, one.before, digest,
            owner.standing, owner.name, owner.installer, writers_of(real),
            mark.uid, mark.user, mark.changed_at, mark.uid == os.getuid() != 0,
        )  # fmt: skip

    def _line(self, name: str, by: str, standing: str) -> LibraryResolved:
        return LibraryResolved(self._origin, name, "", "", by, "", "", standing, "", "", "", -1, "", 0, False)

    def _folder(
        self,
        element: Element,
        vouched: Set[str],
        brought: Mapping[str, tuple[str, str]],
        own: Sequence[str],
    ) -> Iterator[SearchFolder]:
        if element.by == LIBRARY_PATH:
            known = False
        else:
            real = os.path.realpath(element.of)
            known = real in vouched or real in brought
        if element.is_relative:
            yield SearchFolder(self._origin, element.of, element.by, element.text, True, "", known)
            return
        elsewhere = [one for one in element.folders if not _within(os.path.realpath(one), own)]
        who = next((found for one in elsewhere if (found := writers_of(one))), "")
        if who:
            yield SearchFolder(self._origin, element.of, element.by, element.text, False, who, known)


def _owner(
    real: str, digests: Digests | None, brought: Mapping[str, tuple[str, str]], owners: Ownership
) -> Owner:
    if digests is None:
        return Owner("unread")
    if real in brought:
        package, expected = brought[real]
        standing = "listed" if not expected else "recorded" if digests.md5 == expected else "altered"
        return Owner(standing, package, "dpkg")
    data = read_small(real, MAX_LIBRARY)
    return Owner("unread") if data is None else owners.of(real, data)


def _within(path: str, folders: Sequence[str]) -> bool:
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in folders)


def _objects(trees: Mapping[str, Tree]) -> Iterator[str]:
    """Files in the environment's folders that are called like shared objects."""
    number = 0
    for folder, tree in trees.items():
        for path, entry in tree.items():
            if b".so" in path and entry.is_file and _LIBRARY.match(path):
                number += 1
                if number > MAX_OBJECTS:
                    return
                yield os.path.join(folder, os.fsdecode(path))
