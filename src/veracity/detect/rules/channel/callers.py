"""Whose code made a call: reading the frames that the guard shipped, innermost first."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.finding import Evidence, Location
from ....core.observation import CallFrame, ChannelUsed

OPENS = ("connect", "bind", "spawn", "dlopen")
_SITES = ("/site-packages/", "/dist-packages/")
_BUILDERS = (
    *("/torch/_inductor/", "/torch/_dynamo/", "/torch/_functorch/", "/torch/utils/cpp_extension.py"),
    *("/torch/distributed/", "/torch/utils/_triton.py", "/torch/cuda/", "/triton/"),
)
_VERBS = {"connect": "connects to", "bind": "opens a port at", "spawn": "starts", "dlopen": "maps"}


def is_installed(path: str) -> bool:
    """Whether a file lies in a folder that distributions are installed in."""
    return any(part in path for part in _SITES)


def is_textual(path: str) -> bool:
    """Whether code was made from text that is in no file (``<string>``)."""
    return path.startswith("<")


def builds(frames: Sequence[CallFrame]) -> bool:
    """Whether a compiler, a collective's set-up or a device's did it on the way."""
    return any(part in frame.path for frame in frames for part in _BUILDERS)


def said(used: ChannelUsed) -> str:
    """``starts 'gcc'``."""
    return f"{_VERBS.get(used.kind, used.kind)} {used.target[:120]!r}"


def place_of(frames: Sequence[CallFrame]) -> tuple[Location, ...]:
    """The innermost frame in a file."""
    own = next((frame for frame in frames if not is_textual(frame.path)), None)
    return () if own is None else (Location(own.path, own.line),)


def stack(frames: Sequence[CallFrame]) -> Evidence:
    """The frames as evidence."""
    lines = tuple(f"{frame.path}:{frame.line} {frame.function}" for frame in frames)
    return Evidence("called from, innermost first", excerpt=lines)
