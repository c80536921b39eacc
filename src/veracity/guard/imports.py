"""Watching imports: which code each module executed, and the moment torch arrives.

A live function does not show a module's top level, and a ``.pyc`` may be gone a moment after it was read.
So the code is captured where the import system unmarshals or compiles it: the body of the ``.pyc`` that
was read, or the digest of the source that was compiled.

Bodies wait for their way out until the program begins to train. They would wait between the modules' own
objects and leave hundreds of holes there, in which each step's tensors are then searched a place, so the
heap is left alone: what the monitor knows already is not kept, and the rest lies in memory mapped for it.
"""

from __future__ import annotations

import importlib.machinery
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

from .program import find_program

if TYPE_CHECKING:
    # Not to be imported in earnest: it would bring importlib.resources and all that needs into each process.
    from importlib.abc import Loader

    from .session import Session

MAX_HELD = 48 << 20
MAX_MODULES = 50_000
LOOKED_THROUGH = 64
PIECE = 2 << 20
NOTHING = memoryview(b"")
_EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@dataclass(slots=True)
class Capture:
    """What one module was made of. ``body`` is the .pyc's marshalled code, empty when not held."""

    module: str
    path: str
    cached: str
    how: str
    sha256: str
    body: memoryview


class Bodies:
    """Bytes kept apart from the heap, in pieces of mapped memory that go when nothing in them is used."""

    def __init__(self) -> None:
        self.held = 0
        self._room = NOTHING

    def keep(self, body: memoryview) -> memoryview:
        """A copy of ``body`` (bytes, one dimension); empty when :data:`MAX_HELD` is reached."""
        size = len(body)
        if not size or self.held + size > MAX_HELD:
            return NOTHING
        if size > len(self._room):
            self._room = memoryview(mmap.mmap(-1, max(PIECE, size)))
        kept, self._room = self._room[:size], self._room[size:]
        kept[:] = body
        self.held += size
        return kept


class ImportWatch:
    """Captures of this process not shipped yet, and the names already shipped."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: list[Capture] = []
        self._bodies = Bodies()
        self._seen: set[str] = set()
        self._known: frozenset[str] | None = None
        self._count = self._calls = 0
        self._program_due = 2

    def bytecode(self, body: object, name: str | None, cached: str | None, path: str | None) -> None:
        """A .pyc is being executed for module ``name``."""
        if isinstance(body, (bytes, bytearray, memoryview)):
            digest = sha256(body).hexdigest()
            known = digest in (self._known or self._known_bytecode())
            kept = NOTHING if known else self._bodies.keep(memoryview(body).cast("B"))
            self._add(Capture(name or "", path or "", cached or "", "bytecode", digest, kept))

    def source(self, data: object, path: object, name: object) -> None:
        """Source text is being compiled, for the module ``name`` where its loader says so.

        The names in ``sys.modules`` are no substitute: a module may take itself out of it.
        """
        if isinstance(data, (bytes, bytearray, memoryview)) and isinstance(path, str):
            of = name if isinstance(name, str) else ""
            self._add(Capture(of, path, "", "source", sha256(data).hexdigest(), NOTHING))

    def _add(self, capture: Capture) -> None:
        if len(self._pending) + len(self._seen) < MAX_MODULES:
            self._pending.append(capture)

    def flush(self) -> None:
        """Ship what is pending, and name the modules whose code could not be captured.

        Where nothing is pending and there are as many modules as before, they are looked through at times.
        """
        count, before = len(sys.modules), self._count
        self._count, self._calls = count, self._calls + 1
        same = not self._pending and count == before and not self._program_due
        if same and self._calls % LOOKED_THROUGH:
            return
        pending, self._pending, self._bodies = self._pending, [], Bodies()
        by_path = {}
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str):
                by_path[path] = name
        waiting = self._program()
        captured = {capture.path for capture in pending}
        others = by_path.keys() - captured - self._seen - {waiting}
        self._seen.update(captured, others)
        records = [_told(one, one.module or by_path.get(one.path, ""), "") for one in pending]
        records += [_uncaptured(path, by_path[path]) for path in by_path if path in others and _is_told(path)]
        if records:
            self._session.emit_all("module", records)

    def _program(self) -> str:
        """Ship the program's own code, once; while it does not run yet, its path, which is told later.

        A package that imports torch does so before its program runs: then it is looked for once more.
        """
        if not self._program_due:
            return ""
        found = self._session.shield.run("modules", find_program)
        self._program_due = 0 if found is not None else self._program_due - 1
        if found is None:
            main = getattr(sys.modules.get("__main__"), "__file__", None)
            return main if isinstance(main, str) and self._program_due else ""
        how = "program" if found.digest else "none"
        body = memoryview(found.body)
        capture = Capture("__main__", found.path, found.cached, how, found.digest, body)
        self._session.emit_all("module", [_told(capture, "__main__", found.reason)])
        self._seen.add(found.path)
        return ""

    def _known_bytecode(self) -> frozenset[str]:
        """Digests of bodies the monitor has already verified: they need not be shipped again."""
        if self._known is None:
            path = self._session.config.known_bytecode.replace("{tag}", cache_tag())
            try:
                # Not ASCII: that codec is a module, which cannot be imported while we watch imports.
                with open(path, encoding="utf-8", opener=_without_waiting) as file:
                    self._known = frozenset(file.read(16 << 20).split())
            except (OSError, ValueError):
                self._known = frozenset()
        return self._known


def _told(capture: Capture, name: str, reason: str) -> tuple[dict[str, object], memoryview]:
    """Body and blob of a record about a module."""
    body: dict[str, object] = {
        "module": name,
        "path": capture.path,
        "cached": capture.cached,
        "loader": _loader_of(name),
        "captured": capture.how,
        "sha256": capture.sha256,
        "reason": reason,
    }
    return body, capture.body


def _is_told(path: str) -> bool:
    return not path.endswith(_EXTENSIONS) and "_veracity_guard" not in path


def _uncaptured(path: str, name: str) -> tuple[dict[str, object], memoryview]:
    before = _loader_of(name) in ("SourceFileLoader", "FrozenImporter", "type")
    reason = "imported before the guard" if before else f"loaded by {_loader_of(name)}"
    return _told(Capture(name, path, "", "none", "", NOTHING), name, reason)


def _loader_of(name: str) -> str:
    return type(getattr(sys.modules.get(name), "__loader__", None)).__name__


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def cache_tag() -> str:
    """The interpreter and optimization level that bytecode belongs to, for instance ``cpython-311-0``."""
    return f"{sys.implementation.cache_tag}-{sys.flags.optimize}"


def watch_imports(session: Session) -> ImportWatch:
    """Start capturing. Wraps the import system's two ways from bytes to code; both still do their work."""
    watch, run = ImportWatch(session), session.shield.run
    external = sys.modules["importlib._bootstrap_external"]
    unmarshal: Callable[..., CodeType] = external._compile_bytecode
    loader = external.SourceLoader
    compile_source: Callable[..., CodeType] = loader.source_to_code

    def compile_bytecode(
        data: object,
        name: str | None = None,
        bytecode_path: str | None = None,
        source_path: str | None = None,
    ) -> CodeType:
        run("modules", watch.bytecode, data, name, bytecode_path, source_path)
        return unmarshal(data, name, bytecode_path, source_path)

    def source_to_code(self: object, data: object, path: object, *args: object, **kwargs: object) -> CodeType:
        run("modules", watch.source, data, path, getattr(self, "name", ""))
        return compile_source(self, data, path, *args, **kwargs)

    external._compile_bytecode = compile_bytecode  # type: ignore[attr-defined]
    loader.source_to_code = source_to_code
    return watch


def after_import(name: str, callback: Callable[[ModuleType], object]) -> None:
    """Call ``callback(module)`` once, right after the module ``name`` has been executed."""
    if _herald not in sys.meta_path:
        sys.meta_path.insert(0, _herald)
    _herald.awaited[name] = callback


class _Herald:
    """Finds the awaited modules through the other finders and puts a loader around theirs that tells us."""

    def __init__(self) -> None:
        self.awaited: dict[str, Callable[[ModuleType], object]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.awaited:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Messenger(spec.loader, fullname)  # type: ignore[assignment]
                return spec
        return None

    def arrived(self, name: str, module: ModuleType) -> None:
        """The module has been executed: step aside and tell."""
        callback = self.awaited.pop(name, None)
        if not self.awaited and self in sys.meta_path:
            sys.meta_path.remove(self)
        if callback is not None:
            callback(module)


_herald = _Herald()


class _Messenger:
    """Behaves as the loader it wraps, is gone from the module afterwards, and tells the herald."""

    def __init__(self, loader: Loader, name: str) -> None:
        self._loader = loader
        self._name = name

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _herald.arrived(self._name, module)
