"""Ways out of this process, as the interpreter announces them: sockets, programs, libraries, sealed files.

Collected once per place and target, counted after that. Nothing is judged here, and a child by fork reports
nothing: loaders' workers would each need a stream of their own. The monitor sees those from outside.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from .audit import WRITES, Audit, raised_by

if TYPE_CHECKING:
    from .session import Session

MAX_KEYS = 256
MAX_FRAMES = 8
MAX_DEPTH = 400
MAX_TEXT = 200
MAX_PATHS = 4096
SHIP_AGAIN_AT = (1, 10, 100, 1000, 10_000)
_STDLIB = os.path.dirname(os.__file__)
# A warning of torch's own code may go to a handler that sends it over a network: then these did it.
_MESSENGERS = (os.path.join(_STDLIB, "logging") + os.sep, os.path.join(_STDLIB, "warnings.py"))
_SITES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_CODE = (".py", ".so", ".pyd", ".pth", ".pyc")
_CACHE = "__pycache__"
_PACKAGE = __name__.rpartition(".")[0] + "."
_HERE = os.path.dirname(__file__) + os.sep
# The functions of the guard that stand between the hook and the call it is about.
_DISPATCH = frozenset(
    {"hook", "connected", "bound", "spawned", "shelled", "mapped", "opened", "moved", "removed", "_touched"}
)
_AROUND = frozenset({"load", "follow", "<lambda>"})
_LOADERS = (os.sep + "unpickling.py", os.sep + "checkpoints.py")
_IMPORT, _OURS, _LIBRARY, _PROGRAM = "import", "ours", "library", "program"
_LOADS = ("load", "_load", "_legacy_load")
_BACKWARD = "_engine_run_backward"


@dataclass(slots=True)
class _Seen:
    """One way out from one place. ``told``: how often it had been seen when it was last reported."""

    times: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """What the stack says of a call. ``frames``: the nearest ones of neither guard nor standard library."""

    frames: list[FrameType]
    inside: str
    importing: bool


class Channels:
    """Callbacks for audit events, and what they have seen."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: dict[tuple[str, str, str, int, str], _Seen] = {}
        self._full = False

    def connected(self, arguments: tuple[object, ...]) -> None:
        """``socket.connect(self, address)``."""
        self._report("connect", _address(arguments[1]))

    def bound(self, arguments: tuple[object, ...]) -> None:
        """``socket.bind(self, address)``."""
        self._report("bind", _address(arguments[1]))

    def spawned(self, arguments: tuple[object, ...]) -> None:
        """``subprocess.Popen``, ``os.exec``, ``os.posix_spawn``: a program and its arguments.

        Arguments may hold secrets: only the program is reported.
        """
        program = arguments[0]
        words = arguments[1] if len(arguments) > 1 else None
        if program is None and isinstance(words, (list, tuple)) and words:
            program = words[0]
        elif program is None:
            program = words
        self._report("spawn", _first_word(program))

    def shelled(self, arguments: tuple[object, ...]) -> None:
        """``os.system(command)``."""
        self._report("spawn", _first_word(arguments[0]))

    def mapped(self, arguments: tuple[object, ...]) -> None:
        """``ctypes.dlopen(name)``."""
        if arguments[0] is not None:
            self._report("dlopen", _text(arguments[0]))

    def opened(self, arguments: tuple[object, ...]) -> None:
        """``open(path, mode, flags)``: of interest is only what could change code. Called very often."""
        path, _, flags = arguments
        if type(flags) is int and flags & WRITES and not isinstance(path, int):
            self._touched(path)

    def moved(self, arguments: tuple[object, ...]) -> None:
        """``os.rename(src, dst, …)``, which ``os.replace`` announces as well."""
        self._touched(arguments[1])

    def removed(self, arguments: tuple[object, ...]) -> None:
        """``os.remove(path, …)`` and ``os.truncate(path, …)``."""
        self._touched(arguments[0])

    def _touched(self, path: object) -> None:
        try:
            name = os.fsdecode(path)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return
        in_site = any(part in name for part in _SITES)
        if _CACHE in name or not (in_site or name.endswith(_CODE)):
            return
        name = os.path.abspath(name)
        if in_site or _is_imported(name):
            self._report("write", name)

    def _report(self, kind: str, target: str) -> None:
        session = self._session
        if os.getpid() != session.stream.pid:
            return
        call = _call(raised_by(sys._getframe(1), __file__))
        if call is None:
            return
        path, line, _ = _place(call.frames[0]) if call.frames else ("", 0, "")
        key = (kind, target, path, line, call.inside)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MAX_KEYS:
                self._overflow()
                return
            seen = self._seen[key] = _Seen()
        seen.times += 1
        if seen.times not in SHIP_AGAIN_AT:
            return
        times, seen.told = seen.times - seen.told, seen.times
        session.emit(
            "channel",
            {
                "kind": kind,
                "target": target,
                "step": session.last_step,
                "inside": call.inside,
                "importing": call.importing,
                "main": threading.current_thread() is threading.main_thread(),
                "times": times,
                "frames": [
                    {"path": _text(path), "line": line, "function": name[:MAX_TEXT]}
                    for path, line, name in map(_place, call.frames)
                ],
            },
        )

    def _overflow(self) -> None:
        if not self._full:
            self._full = True
            self._session.gap(
                f"ways out of the process are not listed beyond {MAX_KEYS}",
                "so many different sockets, programs and files were opened",
                law="channels",
            )


def watch_channels(session: Session) -> Audit:
    """Listen to the interpreter's audit events. ``Audit.on`` takes further callbacks."""

    def failed(event: str, error: Exception) -> None:
        session.shield.run("channels", _raise, event, error)

    audit = Audit(failed)
    channels = Channels(session)
    table: dict[str, Callable[[tuple[object, ...]], None]] = {
        "socket.connect": channels.connected,
        "socket.bind": channels.bound,
        "subprocess.Popen": channels.spawned,
        "os.exec": channels.spawned,
        "os.posix_spawn": channels.spawned,
        "os.system": channels.shelled,
        "ctypes.dlopen": channels.mapped,
        "open": channels.opened,
        "os.rename": channels.moved,
        "os.remove": channels.removed,
        "os.truncate": channels.removed,
    }
    for event, callback in table.items():
        audit.on(event, callback)
    audit.install()
    return audit


def _raise(event: str, error: Exception) -> None:
    raise RuntimeError(f"audit event {event}: {type(error).__name__}: {error}")


def _call(frame: FrameType | None) -> _Call | None:
    """The frames above the call that are neither ours nor the standard library's, and what goes on around it.

    None when the guard itself makes the call.
    """
    frames: list[FrameType] = []
    inside, importing, depth = "", False, 0
    known = _files.get
    while frame is not None and depth < MAX_DEPTH:
        depth += 1
        code = frame.f_code
        kind, acts = known(code.co_filename) or _learn(code.co_filename)
        if kind == _OURS and not str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
            kind = _PROGRAM
        if kind == _IMPORT:
            importing = importing or not inside
        elif kind == _OURS and not frames and code.co_name not in _DISPATCH and not _stands_around(code):
            return None
        elif kind == _PROGRAM:
            if len(frames) < MAX_FRAMES:
                frames.append(frame)
            if acts and not inside:
                inside = _inside(code.co_filename, code.co_name)
            if inside and len(frames) >= MAX_FRAMES:
                break
        frame = frame.f_back
    return _Call(frames, inside, importing)


def _stands_around(code: CodeType) -> bool:
    """Whether the guard only stands around a load of the program's: the unpickler has no frame of its own."""
    return code.co_name in _AROUND and code.co_filename.endswith(_LOADERS)


def _place(frame: FrameType) -> tuple[str, int, str]:
    """Path, line and function."""
    return frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name


# Asked about twenty frames for each batch of a loader, hence no cache that keeps its entries in order.
_files: dict[str, tuple[str, bool]] = {}


def _learn(path: str) -> tuple[str, bool]:
    """Whose code a file is, and whether a function of it is one in which a call matters."""
    if len(_files) >= MAX_PATHS:
        _files.clear()
    acts = any(_inside(path, name) for name in (*_LOADS, _BACKWARD))
    known = _files[path] = _kind(path), acts
    return known


def _inside(path: str, name: str) -> str:
    if path.endswith("/torch/serialization.py") and name in _LOADS:
        return "load"
    if path.endswith("/torch/autograd/graph.py") and name == _BACKWARD:
        return "backward"
    if path.endswith("/torch/nn/utils/clip_grad.py"):
        return "clip"
    if "/torch/optim/" in path and not path.endswith(("/lr_scheduler.py", "/swa_utils.py")):
        return "step"
    return ""


def _kind(path: str) -> str:
    if path.startswith("<frozen importlib"):
        return _IMPORT
    if path.startswith(_HERE):
        return _OURS
    return _LIBRARY if _is_stdlib(path) else _PROGRAM


def _is_stdlib(path: str) -> bool:
    if path.startswith("<frozen"):
        return True
    if path.startswith(_MESSENGERS):
        return False
    return path.startswith(_STDLIB) and not any(part in path for part in _SITES)


def _is_imported(path: str) -> bool:
    """Whether a file is the code of a module that has been imported."""
    return any(getattr(module, "__file__", None) == path for module in list(sys.modules.values()))


def _first_word(command: object) -> str:
    words = _text(command).split(None, 1)
    return words[0] if words else ""


def _address(address: object) -> str:
    if isinstance(address, (tuple, list)):
        return ":".join(_text(part) for part in address[:2])
    return _text(address)


def _text(value: object) -> str:
    if type(value) is str and value.isascii():
        return value[:MAX_TEXT]
    text = os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()[:MAX_TEXT]
