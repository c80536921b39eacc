"""Which globals are asked for while a file is unpickled, seen before each of them is called.

Only loads of files are followed: ``torch.load``, ``pickle.load`` of a file (``numpy.load`` and many others
go through it), ``pickle.Unpickler`` of a file and what derives from it (``joblib.load`` does). Before each
of them the monitor is told of the file, or asked (:mod:`.asking`). Between processes a program's objects
are unpickled all day (loader workers, queues, ``spawn``): those are counted. Of what else is unpickled in
memory, only names that are known to be no data are reported.
"""

from __future__ import annotations

import _compat_pickle
import enum
import io
import os
import pickle
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from . import audit
from .asking import Asking
from .patching import once, replace

if TYPE_CHECKING:
    from .session import Session

R = TypeVar("R")
MAX_GLOBALS = 200
MAX_REPORTS = 1_000
MAX_CALM = 20_000
MAX_REFUSED = 1_000
MAX_NAME = 300
MAX_MEMBERS = 64
MAX_BYTES = 1 << 26
_MACHINERY = (
    *("/multiprocessing/", "/concurrent/futures/", "/torch/distributed/", "/torch/utils/data/"),
    *("/joblib/externals/", "/joblib/parallel", "/ray/", "/dask/", "/distributed/", "/copy.py"),
)
_LIBRARIES = (
    *("/torch/serialization.py", "/torch/_weights_only_unpickler.py", "/pickle.py", "/numpy/lib/"),
    *("/joblib/numpy_pickle", "/_veracity_guard/", "/veracity/guard/", "/contextlib.py", "/pandas/io/"),
)


@dataclass(slots=True)
class Load:
    """One load that goes on in one thread."""

    way: str
    path: str
    weights_only: str
    caller: str
    line: int
    fell_back: bool
    owner: int = -1
    mode: int = 0
    names: dict[tuple[str, str], None] = field(default_factory=dict)
    more: int = 0
    called: set[tuple[str, str]] = field(default_factory=set)


class Unpickling:
    """Follows loads of this process. One object serves all threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.asking = Asking(session)
        self._open: dict[int, Load] = {}
        self._calm: set[object] = set()
        self._reported: set[object] = set()
        self._refused: set[str] = set()
        self._repeated = 0
        self._elsewhere = 0

    def begin(self, way: str, path: str, weights_only: str) -> Load | None:
        """A load begins in this thread; None within another one, which it belongs to."""
        me = threading.get_ident()
        if me in self._open:
            return None
        caller, line = _caller(sys._getframe(1))
        fell_back = weights_only == "false" and bool(path) and path in self._refused
        load = Load(way, path, weights_only, caller, line, fell_back)
        if path:
            try:
                status = os.stat(path)
                load.owner, load.mode = status.st_uid, stat.S_IMODE(status.st_mode)
            except OSError:
                pass  # the load itself will say that the file is not there
        self._open[me] = load
        return load

    def end(self, load: Load, error: str) -> None:
        """The load has ended, with an exception of the type ``error`` unless that is empty."""
        from ..core.pickled import Danger, danger_of

        self._open.pop(threading.get_ident(), None)
        refused = error == "UnpicklingError" and load.weights_only != "false"
        if refused and len(self._refused) < MAX_REFUSED:
            self._refused.add(load.path)
        key = (load.way, load.caller, load.line, load.weights_only, error, load.owner, *load.names)
        dangers = {name: danger_of(*name) for name in load.names}
        if Danger.IDLE in dangers.values():
            # Rare, so that the file is read a second time only then.
            load.called = _called(load.path)
        dangerous = any(
            danger is not None and (danger is not Danger.IDLE or name in load.called)
            for name, danger in dangers.items()
        )
        if (key in self._reported and not dangerous and not load.fell_back) or len(
            self._reported
        ) >= MAX_REPORTS:
            self._repeated += 1
            return
        self._reported.add((*key, load.path) if dangerous or load.fell_back else key)
        self._ship(load, list(load.names), error, begun=False)

    def passes(self, arguments: tuple[object, ...]) -> bool:
        """Whether a global is one that was met before, and no load goes on: several come with each batch."""
        if self._open:
            return False
        try:
            known = arguments in self._calm
        except TypeError:  # a program may raise the event itself, with anything
            return False
        self._elsewhere += known
        return known

    def named(self, arguments: tuple[object, ...]) -> None:
        """``pickle.find_class`` was raised: a pickle names a global, which is about to be imported."""
        load = self._open.get(threading.get_ident()) if self._open else None
        if load is None and arguments in self._calm:
            self._elsewhere += 1
            return
        from ..core.pickled import Danger, danger_of

        module, name = (str(part)[:MAX_NAME] for part in arguments[:2])
        danger = danger_of(module, name)
        if load is not None:
            if (module, name) in load.names:
                return
            if len(load.names) >= MAX_GLOBALS and danger is None:
                load.more += 1
                return
            load.names[module, name] = None
            if danger not in (None, Danger.IDLE) and len(load.names) < 2 * MAX_GLOBALS:
                # At once: what comes next may end the process.
                self._ship(load, [(module, name)], "", begun=True)
            return
        self._elsewhere += 1
        if danger in (None, Danger.IDLE):
            if len(self._calm) < MAX_CALM:
                self._calm.add(arguments)
            return
        self._in_memory(module, name)

    def finish(self) -> None:
        """The process ends: say what was only counted."""
        self.asking.finish()
        if self._elsewhere or self._repeated:
            load = Load("elsewhere", "", "", "", 0, False, more=self._elsewhere)
            self._ship(load, [], "", begun=False)

    def follow(self, way: str, file: object, call: Callable[[], R], *, counts: bool) -> R:
        """The result of ``call``, which unpickles ``file``. Raises LoadRefusedError when it must not."""
        run = self._session.shield.run
        with self.asking.about(way, file, counts=counts):
            going_on = run("unpickling", self._of_file, way, file)
            if going_on is None:
                return call()
            error = ""
            try:
                return call()
            except BaseException as raised:
                error = type(raised).__name__
                raise
            finally:
                run("unpickling", self.end, going_on, error)

    def _of_file(self, way: str, file: object) -> Load | None:
        """A load if ``file`` is a regular file or a member of a zip; pipes and buffers are none."""
        if type(file).__name__ == "ZipExtFile":
            return self.begin(way, "", "")
        if not isinstance(file, io.IOBase):
            return None
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
        except (OSError, ValueError):
            return None
        name = getattr(file, "name", None)
        path = os.path.realpath(name) if isinstance(name, str) else ""
        return self.begin(way, path, "")

    def _in_memory(self, module: str, name: str) -> None:
        frame: FrameType | None = sys._getframe(2)
        joblib = False
        for _ in range(40):
            if frame is None:
                break
            file = frame.f_code.co_filename
            if any(part in file for part in _MACHINERY):
                return
            joblib = joblib or "/joblib/numpy_pickle" in file
            frame = frame.f_back
        caller, line = _caller(sys._getframe(2))
        key = (caller, line, module, name)
        if key in self._reported or len(self._reported) >= MAX_REPORTS:
            return
        self._reported.add(key)
        load = Load("joblib.load" if joblib else "unpickled", "", "", caller, line, False)
        self._ship(load, [(module, name)], "", begun=True)

    def _ship(self, load: Load, names: list[tuple[str, str]], error: str, *, begun: bool) -> None:
        body = {
            "way": load.way,
            "path": load.path,
            "step": self._session.last_step,
            "caller": load.caller,
            "line": load.line,
            "weights_only": load.weights_only,
            "failed": error,
            "begun": begun,
            "fell_back": load.fell_back,
            "owner": load.owner,
            "mode": load.mode,
            "user": os.geteuid(),
            "globals": [{**_described(*name), "called": name in load.called} for name in names],
            "more": load.more,
            "repeated": self._repeated,
        }
        self._session.emit("unpickled", body)


def watch_unpickling(session: Session) -> Unpickling:
    """Follow unpickling of files and the audit event; ``torch.load`` is wrapped with the checkpoints."""
    unpickling = Unpickling(session)

    def around(original: Callable[..., object]) -> Callable[..., object]:
        def load(file: object, *args: object, **kwargs: object) -> object:
            return unpickling.follow(
                "pickle.load", file, lambda: original(file, *args, **kwargs), counts=True
            )

        return load

    def around_python(original: Callable[..., object]) -> Callable[..., object]:
        def load(self: object) -> object:
            # The one place where it keeps what it was given: the file's own method.
            file = getattr(getattr(self, "_file_read", None), "__self__", None)
            way = "joblib.load" if type(self).__module__.startswith("joblib.") else "pickle.Unpickler"
            return unpickling.follow(way, file, lambda: original(self), counts=False)

        return load

    make, kind = once(around), once(partial(_followed, unpickling))
    for name in ("pickle", "_pickle"):
        module = sys.modules.get(name)
        if module is not None:
            replace(module, "load", make)
            replace(module, "Unpickler", kind)
    replace(pickle._Unpickler, "load", around_python)
    audit.watch("pickle.find_class", unpickling.named, session.shield, "unpickling", unpickling.passes)
    return unpickling


def _followed(unpickling: Unpickling, original: Callable[..., object]) -> Callable[..., object]:
    """The interpreter's class of unpicklers, whose loads are followed; itself where it is no class."""
    if not isinstance(original, type):
        return original

    class Unpickler(original):  # type: ignore[misc, valid-type]
        __slots__ = ("_veracity_reads",)

        def __init__(self, *args: object, **kwargs: object) -> None:
            self._veracity_reads = args[0] if args else kwargs.get("file")
            super().__init__(*args, **kwargs)

        def load(self) -> object:
            file = getattr(self, "_veracity_reads", None)
            return unpickling.follow("pickle.Unpickler", file, super().load, counts=False)

    return Unpickler


def _called(path: str) -> set[tuple[str, str]]:
    """The globals that the pickles in a file call; empty where it is none of a known kind."""
    # Hardly ever needed, and every process of the job imports this module.
    import zipfile

    from ..core.pickled_calls import calls_in

    if not path:
        return set()
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return calls_in(file)
    found: set[tuple[str, str]] = set()
    with zipfile.ZipFile(path) as archive:
        for member in [one for one in archive.namelist() if one.endswith(".pkl")][:MAX_MEMBERS]:
            if archive.getinfo(member).file_size <= MAX_BYTES:
                found |= calls_in(io.BytesIO(archive.read(member)))
    return found


def _caller(frame: FrameType | None) -> tuple[str, int]:
    """File and line of the first frame outside of the loading libraries."""
    for _ in range(40):
        if frame is None:
            break
        file = frame.f_code.co_filename
        if not any(part in file for part in _LIBRARIES):
            return file[:1000], frame.f_lineno
        frame = frame.f_back
    return "", 0


def _described(module: str, name: str) -> dict[str, object]:
    """The global as it stands in memory. Nothing is imported and no attribute is computed."""
    kind, real = "", ""
    found: object = sys.modules.get(module)
    path = name
    if found is None:
        # Pickles of the first protocols, which torch.save writes, use the names of Python 2.
        new, path = _compat_pickle.NAME_MAPPING.get(
            (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
        )
        found = sys.modules.get(new)
    for part in path.split("."):
        if found is None:
            break
        # Dictionaries alone: a module's or a metaclass's own __getattr__ may do anything.
        space: Mapping[str, object] = getattr(found, "__dict__", {}) if _is_space(found) else {}
        found = space.get(part)
    if found is not None:
        kind = _kind_of(found)
        real = _own_name(found, kind)
    return {"module": module, "name": name, "kind": kind, "real": "" if real == f"{module}.{name}" else real}


def _is_space(value: object) -> bool:
    return type(value) is ModuleType or isinstance(value, (ModuleType, type))


def _kind_of(value: object) -> str:
    if isinstance(value, ModuleType):
        return "module"
    if isinstance(value, type):
        return "enum" if issubclass(value, enum.Enum) else "class"
    return "function" if callable(value) else "other"


def _own_name(value: object, kind: str) -> str:
    if kind == "module":
        return str(vars(value).get("__name__", ""))[:MAX_NAME]
    if kind not in ("class", "enum", "function"):
        return ""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{name}"[:MAX_NAME] if isinstance(module, str) and isinstance(name, str) else ""
