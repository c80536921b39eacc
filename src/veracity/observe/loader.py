"""Which files the system's loader would map for a program: found from the files, nothing is run.

The search is that of glibc's ld.so (ld.so(8)). A name with a slash is a path. Another one is looked for

1. in the folders of DT_RPATH of the object that needs it, of those that brought that one in, and of the
   program; not when the object has a DT_RUNPATH;
2. in LD_LIBRARY_PATH;
3. in the folders of the object's own DT_RUNPATH;
4. in ``ld.so.cache`` (see :mod:`ldcache`);
5. in the default folders.

What cannot be known without the machine that runs the program is taken in all its forms: folders for
processors of some kind (``glibc-hwcaps`` and their predecessors), and what ``$LIB`` stands for.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .elf import Elf, read_elf

MAX_OBJECTS = 20_000
MAX_TRIED = 500_000
MAX_STEPS = 5_000_000
"""Places looked at in all: a made-up object may name thousands of libraries and of folders."""
MAX_FOLDERS = 256
MAX_VARIANTS = 64
MAX_LINKS = 40
RPATH, RUNPATH, LIBRARY_PATH = "RPATH", "RUNPATH", "LD_LIBRARY_PATH"
CACHE, DEFAULT, PATH, INTERPRETER, AUDIT = "ld.so.cache", "default folder", "path", "PT_INTERP", "DT_AUDIT"
TRIPLETS = {
    3: "i386-linux-gnu",
    21: "powerpc64le-linux-gnu",
    22: "s390x-linux-gnu",
    40: "arm-linux-gnueabihf",
    62: "x86_64-linux-gnu",
    183: "aarch64-linux-gnu",
    243: "riscv64-linux-gnu",
}
_PLATFORMS = ("haswell", "xeon_phi", "avx512_1", "tls")
"""Folders that loaders before glibc 2.37 look into, beside the one that is called as the machine is."""
_DEEP = 3
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")


@dataclass(frozen=True, slots=True)
class Found:
    """A file as the loader would open it, what of the search led there, and for which object.

    ``before``: the next file of the same name in the search, which this one stands before; empty without.
    """

    name: str
    path: str
    by: str
    needed_by: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """A folder that an object or a variable tells the loader to look into, as it stands there."""

    of: str
    by: str
    text: str
    folders: tuple[str, ...]

    @property
    def is_relative(self) -> bool:
        """Whether it depends on the folder in which the program is started."""
        token = _TOKEN.match(self.text)
        from_origin = token is not None and "ORIGIN" in token.groups()
        return not (from_origin or self.text.startswith("/"))


@dataclass(slots=True)
class Loaded:
    """What would be mapped, by the files without links; ``missing``: name → the object that needs it."""

    libraries: dict[str, Found] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    elements: dict[tuple[str, str, str], Element] = field(default_factory=dict)
    more: int = 0


class Loader:
    """The search of one program's loader.

    ``cache``: what ``ld.so.cache`` has; ``library_path``: the variable's value.
    """

    def __init__(self, program: str, cache: Mapping[str, tuple[str, ...]], library_path: str = "") -> None:
        self._program = program
        self._cache = cache
        self._known: dict[str, Elf | str] = {}
        self._found = Loaded()
        self._steps = 0
        self._variants: dict[str, tuple[str, ...]] = {}
        self._reals: dict[str, str] = {}
        found = self._elf(program)
        self.elf: Elf | str = found
        """The program, or why it cannot be read."""
        triplet = TRIPLETS.get(found.machine, "") if isinstance(found, Elf) else ""
        self._triplet = triplet
        self._default = [
            *((f"/lib/{triplet}", f"/usr/lib/{triplet}") if triplet else ()),
            *("/lib64", "/usr/lib64", "/lib", "/usr/lib"),
        ]
        texts = re.split("[:;]", library_path) if library_path else []
        self._library_path = [self._element(LIBRARY_PATH, LIBRARY_PATH, one) for one in texts[:MAX_FOLDERS]]
        self._seen: set[tuple[str, tuple[str, ...]]] = set()
        self._loaded: set[str] = set()

    def load(self, objects: Iterable[str] = ()) -> Loaded:
        """The libraries of the program, then of each of ``objects`` as if it alone was opened later."""
        result = self._found
        for one in self._library_path:
            result.elements[one.of, one.by, one.text] = one
        if isinstance(self.elf, Elf):
            if self.elf.interpreter:
                self._add(Found(self.elf.interpreter, self.elf.interpreter, INTERPRETER, self._program))
            for name in _split(":".join(self.elf.audit)):
                self._resolve(name, self._program, self.elf, (), by=AUDIT)
            self._walk(self._program, self.elf)
            # What the program has already, no later object looks for again.
            self._loaded = {one.name for one in result.libraries.values()}
            for path in list(result.libraries):
                elf = self._elf(path)
                if isinstance(elf, Elf) and elf.soname:
                    self._loaded.add(elf.soname)
        for path in objects:
            found = self._elf(path)
            if isinstance(found, str):
                if found:
                    result.unread[path] = found
            elif not isinstance(self.elf, Elf) or found.kind == self.elf.kind:
                self._walk(path, found)
        return result

    # --- the walk ----------------------------------------------------------------------------------

    def _walk(self, path: str, elf: Elf) -> None:
        """Breadth first, as the loader does; in one walk a file is loaded once, by whoever comes first."""
        pending: deque[tuple[str, Elf, tuple[str, ...]]] = deque([(path, elf, ())])
        loaded: set[str] = set()
        while pending:
            at, one, inherited = pending.popleft()
            real = self._real(at)
            if real in loaded or (real, inherited) in self._seen:
                continue
            if len(self._seen) >= MAX_OBJECTS:
                self._found.more += 1
                return
            loaded.add(real)
            self._seen.add((real, inherited))
            self._folders(at, one, RUNPATH)  # noted also where only ``dlopen`` will look into them
            ours = tuple(dict.fromkeys((*self._folders(at, one, RPATH), *inherited)))
            for name in (*one.needed, *one.filters):
                if name not in self._loaded:
                    for found in self._resolve(name, at, one, inherited):
                        inner = self._elf(found.path)
                        if isinstance(inner, Elf):
                            pending.append((found.path, inner, ours))

    def _resolve(self, name: str, at: str, elf: Elf, inherited: tuple[str, ...], by: str = "") -> list[Found]:
        """The file of a name, with its forms for kinds of processors."""
        chosen: list[Found] = []
        plain = ""
        for path, how, is_plain in self._candidates(name, at, elf, inherited):
            if plain:
                if self._real(path) != self._real(plain):
                    chosen = [Found(one.name, one.path, one.by, one.needed_by, path) for one in chosen]
                    break
                continue
            chosen.append(Found(name, path, by or how, at))
            plain = path if is_plain else ""
        if not chosen:
            self._found.missing.setdefault(name, at)
        for one in chosen:
            self._add(one)
        return chosen

    def _add(self, found: Found) -> None:
        self._found.libraries.setdefault(self._real(found.path), found)

    def _candidates(
        self, name: str, at: str, elf: Elf, inherited: tuple[str, ...]
    ) -> Iterator[tuple[str, str, bool]]:
        """Files that fit, in the order of the search: path, how it is found, and whether on any processor."""
        if "/" in name:
            for path in self._expanded(name, at):
                if self._fits(path):
                    yield path, PATH, True
            return
        stages: list[tuple[str, Iterable[str]]] = [(LIBRARY_PATH, self._by_variable())]
        if elf.runpath is None:
            own = self._folders(at, elf, RPATH)
            program = self._folders(self._program, self.elf, RPATH) if isinstance(self.elf, Elf) else ()
            stages.insert(0, (RPATH, (*own, *inherited, *program)))
        else:
            stages.append((RUNPATH, self._folders(at, elf, RUNPATH)))
        for how, folders in stages:
            for folder in folders:
                yield from self._in_folder(folder, name, how)
        for path in self._cache.get(name, ()):
            is_default = os.path.dirname(path) in self._default
            if self._fits(path) and not (elf.nodeflib and is_default):
                yield path, CACHE, "/glibc-hwcaps/" not in path
        for folder in () if elf.nodeflib else self._default:
            yield from self._in_folder(folder, name, DEFAULT)

    def _in_folder(self, folder: str, name: str, how: str) -> Iterator[tuple[str, str, bool]]:
        for variant in self._forms(folder):
            self._steps += 1
            if self._steps > MAX_STEPS:
                self._found.more += 1
                return
            path = os.path.join(variant, name)
            if self._fits(path):
                yield path, how, variant == folder

    # --- folders -----------------------------------------------------------------------------------

    def _folders(self, at: str, elf: Elf, by: str) -> tuple[str, ...]:
        """Those of an object's DT_RPATH or DT_RUNPATH, which are noted."""
        text = elf.rpath if by == RPATH else elf.runpath
        if not text or (by == RPATH and elf.runpath is not None):
            return ()
        found: list[str] = []
        for one in text.split(":")[:MAX_FOLDERS]:
            key = (at, by, one)
            element = self._found.elements.get(key) or self._element(at, by, one)
            self._found.elements[key] = element
            found += element.folders
        return tuple(found)

    def _by_variable(self) -> Iterator[str]:
        for one in self._library_path:
            yield from one.folders

    def _element(self, of: str, by: str, text: str) -> Element:
        """One that is relative leads nowhere that could be known: it is told, and not searched."""
        one = Element(of, by, text, ())
        origin = self._program if by == LIBRARY_PATH else of
        return one if one.is_relative else Element(of, by, text, self._expanded(text, origin))

    def _expanded(self, text: str, at: str) -> tuple[str, ...]:
        """A path with its tokens replaced, in all the ways they may stand for something."""
        machine = self._triplet.partition("-")[0]
        means = {
            "ORIGIN": (os.path.dirname(at),),
            "LIB": (*((f"lib/{self._triplet}",) if self._triplet else ()), "lib64", "lib"),
            "PLATFORM": (machine or "unknown", *_PLATFORMS[:2]),
        }
        parts: list[tuple[str, ...]] = []
        end = 0
        for token in itertools.islice(_TOKEN.finditer(text), 8):
            parts += [(text[end : token.start()],), means[token[1] or token[2]]]
            end = token.end()
        every = itertools.product(*parts, (text[end:],))
        # The system follows a link before it goes up from it, so ".." stays where it is.
        return tuple("".join(one) for one in itertools.islice(every, MAX_VARIANTS))

    def _forms(self, folder: str) -> tuple[str, ...]:
        """The folders in a folder that are for kinds of processors, and itself, which is the last one."""
        known = self._variants.get(folder)
        if known is None:
            capable = os.path.join(folder, "glibc-hwcaps")
            found = [os.path.join(capable, name) for name in _names(capable)]
            names = (*_PLATFORMS, self._triplet.partition("-")[0] or "x86_64")
            level = [folder]
            for _ in range(_DEEP):
                level = [
                    inside for one in level for name in names if os.path.isdir(inside := f"{one}/{name}")
                ][:MAX_VARIANTS]
                found += level
            known = self._variants[folder] = (*found, folder)
        return known

    # --- files -------------------------------------------------------------------------------------

    def _real(self, path: str) -> str:
        """The path without links; each folder is followed once."""
        folder, name = os.path.split(path)
        real = self._reals.get(folder)
        if real is None:
            real = self._reals[folder] = os.path.realpath(folder)
        whole = os.path.join(real, name)
        return os.path.realpath(whole) if name in ("", ".", "..") or os.path.islink(whole) else whole

    def _fits(self, path: str) -> bool:
        """Whether the loader would take the file: it passes over those of another machine."""
        found = self._elf(path)
        return isinstance(found, Elf) and (not isinstance(self.elf, Elf) or found.kind == self.elf.kind)

    def _elf(self, path: str) -> Elf | str:
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= MAX_TRIED:
                self._found.more += 1
                return ""
            known = self._known[path] = read_elf(path)
        return known


def on_the_way(path: str) -> list[str]:
    """The links that are followed to a file, each by where it lies, and the file itself; no link stays open.

    Raises OSError for a loop, or where nothing is.
    """
    passed: list[str] = []
    rest = [name for name in path.split("/") if name]
    at = "/"
    while rest:
        name = rest.pop(0)
        if name == "..":
            at = os.path.dirname(at)
            continue
        here = os.path.join(at, name) if name != "." else at
        if os.path.islink(here):
            if len(passed) >= MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            passed.append(here)
            target = os.readlink(here)
            at = "/" if target.startswith("/") else at
            rest = [*(part for part in target.split("/") if part), *rest]
        else:
            at = here
    os.lstat(at)
    return [*passed, at]


def _split(text: str) -> list[str]:
    return [one for one in text.split(":") if one][:MAX_FOLDERS]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MAX_VARIANTS]
    except OSError:
        return []
