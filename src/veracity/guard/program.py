"""The program itself: the code that runs as ``__main__``, taken from the frame that runs it.

No import brings it, so nothing is captured on the way. But its frame is the outermost one of the main thread
for as long as it runs: what it executes stands there, whatever its file holds by now.
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
import threading
from dataclasses import dataclass
from types import CodeType, FrameType

from ..core import codeobject
from ..core.errors import EvidenceError

MAX_FRAMES = 2_000
MAX_BODY = 48 << 20
SPAWNED = "__mp_main__"
"""What multiprocessing calls the program in a process that it has started anew."""


@dataclass(frozen=True, slots=True)
class Program:
    """``digest`` is that of the code object, ``body`` its marshalled form; both empty with a ``reason``.

    ``cached``: where bytecode of the file would lie, which names the optimization level.
    """

    path: str
    cached: str
    digest: str
    body: bytes
    reason: str


def find_program() -> Program | None:
    """The program of this process; None while it does not run (its package is still being imported)."""
    frames = _frames()
    runpy = getattr(sys.modules.get("runpy"), "__dict__", None)
    spawned = "--multiprocessing-fork" in getattr(sys, "orig_argv", ())
    for frame in frames:
        code = frame.f_code
        if spawned:
            if code.co_name == "<module>" and frame.f_globals.get("__name__") == SPAWNED:
                return _program(code)
        elif frame.f_globals is not runpy:
            return _program(code) if code.co_name == "<module>" else None
    return None


def _frames() -> list[FrameType]:
    """The frames of the main thread, the outermost first; none where they are too many to be gone through."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if len(frames) >= MAX_FRAMES:
            return []
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _program(code: CodeType) -> Program:
    path = code.co_filename
    if path.startswith("<"):
        how = "on the command line (-c)" if path == "<string>" else "typed or through a pipe"
        return Program("", "", "", b"", f"the program was given {how}: it has no file")
    try:
        digest, body = codeobject.digest(code, columns=True), marshal.dumps(code)
    except (EvidenceError, ValueError, RecursionError) as error:
        return Program(path, "", "", b"", f"the program's code cannot be shown: {error}"[:200])
    if len(body) > MAX_BODY:
        return Program(path, "", "", b"", "the program's code is too large to be kept")
    return Program(path, importlib.util.cache_from_source(path), digest, body, "")
