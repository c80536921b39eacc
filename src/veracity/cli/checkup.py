"""What ``veracity doctor`` looks at. Reads files and paths only; starts no process and imports no torch."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import Error

OK, NOTE, PROBLEM = "ok", "note", "problem"
MINIMUM = (3, 10)
MAX_SOCKET_PATH = 107  # sun_path holds 108 bytes with the final zero
_LOW_SPACE = 2 << 30
_RUN_EXAMPLE = "run-20250302-140211-a1b2c3"
_CAP_SYS_PTRACE = 19


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at: ``state`` is ok, note (works, but you should know) or problem (does not work)."""

    subject: str
    state: str
    seen: str
    remedy: str = ""


def examine(home: Path) -> list[Line]:
    """All checks in the order a person would want to read them; none raises."""
    checks: dict[str, Callable[[Path], Line]] = {
        "python": _python,
        "guard archive": _guard,
        "home": _home,
        "signing key": _keys,
        "disk space": _space,
        "unix socket": _socket,
        "/proc": _proc,
        "torch": _torch,
        "slow steps": _stacks,
        "account": _account,
    }
    return [_careful(subject, check, home) for subject, check in checks.items()]


def _careful(subject: str, check: Callable[[Path], Line], home: Path) -> Line:
    try:
        return check(home)
    except (OSError, Error) as error:
        return Line(subject, PROBLEM, f"could not be checked: {error}", "see that this account may read it")


def _python(_: Path) -> Line:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < MINIMUM:
        return Line("python", PROBLEM, f"{version} is too old", "use Python 3.10 or later")
    return Line("python", OK, f"{version} ({sys.executable})")


def _guard(_: Path) -> Line:
    from ..monitor.archive import build_archive

    data, digest = build_archive()
    return Line("guard archive", OK, f"{len(data) // 1024} KB, {digest}")


def _existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _home(home: Path) -> Line:
    choose = "name another directory with --home DIR or VERACITY_HOME"
    if not home.exists():
        above = _existing(home)
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            return Line("home", PROBLEM, f"{home} cannot be made: {above} is not writable", choose)
        return Line("home", OK, f"{home} will be made at the first run")
    if not home.is_dir():
        return Line("home", PROBLEM, f"{home} is not a directory", choose)
    trial = home / f".doctor-{secrets.token_hex(4)}"
    try:
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        return Line("home", PROBLEM, f"{home} is not writable: {error.strerror}", choose)
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o022:
        return Line(
            "home", PROBLEM, f"{home} can be written by others (mode {mode:04o})", f"chmod 700 '{home}'"
        )
    if mode & 0o077:
        return Line("home", NOTE, f"{home} can be read by others (mode {mode:04o})", f"chmod 700 '{home}'")
    return Line("home", OK, f"{home} is writable and yours alone")


def _keys(home: Path) -> Line:
    """Private keys lie directly in the home or in its ``keys`` folder."""
    found = []
    for folder in (home, home / "keys"):
        if folder.is_dir():
            found += [path for path in sorted(folder.iterdir()) if path.suffix in (".key", ".pem")]
    if not found:
        return Line("signing key", OK, "none yet: made at the first run")
    for path in found:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            return Line(
                "signing key", PROBLEM, f"{path} is open to others (mode {mode:04o})", f"chmod 600 '{path}'"
            )
    return Line("signing key", OK, f"{found[0]} is readable by you alone")


def _space(home: Path) -> Line:
    free = shutil.disk_usage(_existing(home)).free
    told = f"{free / 2**30:.1f} GB free for {home}"
    if free < _LOW_SPACE:
        remedy = "make room or choose another home: a long run keeps up to 2 GB of evidence"
        return Line("disk space", NOTE, told, remedy)
    return Line("disk space", OK, told)


def _socket(home: Path) -> Line:
    """Whether a Unix socket works, and whether its path in a run directory is short enough."""
    with tempfile.TemporaryDirectory(prefix="veracity-") as folder:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
                trial.bind(str(Path(folder) / "trial.sock"))
        except OSError as error:
            remedy = "guards fall back to their spool files; allow Unix sockets in this sandbox to see live"
            return Line("unix socket", PROBLEM, f"cannot be made: {error.strerror}", remedy)
    length = len(os.fsencode(home / "runs" / _RUN_EXAMPLE / "guard.sock"))
    if length > MAX_SOCKET_PATH:
        told = f"paths in this home are {length} bytes, the kernel allows {MAX_SOCKET_PATH}"
        return Line(
            "unix socket", NOTE, told, "a private temporary folder is used; a shorter --home avoids it"
        )
    return Line("unix socket", OK, f"works; paths in this home are {length} of {MAX_SOCKET_PATH} bytes")


def _proc(_: Path) -> Line:
    remedy = "mount /proc without hidepid for this account: silent processes cannot be told without it"
    try:
        Path("/proc/self/maps").read_bytes()
        Path("/proc/self/status").read_bytes()
    except OSError as error:
        return Line("/proc", PROBLEM, f"cannot be read: {error.strerror}", remedy)
    return Line("/proc", OK, "readable")


def _torch(_: Path) -> Line:
    """Looks for torch beside the ``python`` of the path, by files alone."""
    python = shutil.which("python") or shutil.which("python3")
    if python is None:
        remedy = "activate the environment you train in; nothing else needs a python on the path"
        return Line("torch", NOTE, "no python on the path", remedy)
    prefixes = dict.fromkeys((Path(python).parent.parent, Path(python).resolve().parent.parent))
    for prefix in prefixes:
        for found in sorted(prefix.glob("lib*/python3*/*-packages/torch-*.dist-info")):
            return Line("torch", OK, f"{found.name.removesuffix('.dist-info')} in {python}")
    told = f"not found in {python}"
    return Line("torch", NOTE, told, "activate the environment you train in before `veracity run`")


def _stacks(_: Path) -> Line:
    beside = Path(sys.executable).parent / "py-spy"
    tool = shutil.which("py-spy") or (str(beside) if os.access(beside, os.X_OK) else None)
    if tool is None:
        told = "py-spy is not installed: slow steps are timed, but not charged to a source line"
        return Line("slow steps", NOTE, told, "pip install 'veracity[pyspy]'")
    if _may_trace():
        return Line("slow steps", OK, f"{tool} can read the stacks of your processes")
    told = f"{tool} is there, but the kernel lets no process read another's stack"
    return Line("slow steps", NOTE, told, "set kernel.yama.ptrace_scope to 0, or give py-spy CAP_SYS_PTRACE")


def _may_trace() -> bool:
    """Whether py-spy may read the job's stacks. Yama's scope 1 allows it to parents only, which it is not."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("CapEff:") and int(line.split()[1], 16) >> _CAP_SYS_PTRACE & 1:
            return True
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text("ascii", "replace"))
    except (OSError, ValueError):
        return True  # without Yama the plain rule holds: same user may trace
    return scope == 0


def _account(_: Path) -> Line:
    told = "monitor and job run under one account: the record is tamper-visible only"
    return Line(
        "account", NOTE, told, "note the root that `veracity show` prints somewhere the job cannot write"
    )
