"""A service under an account of its own, and two other accounts: made by useradd, and removed again.

What runs as one of them is started by setpriv with nothing of root's left. The interpreter must be one that
everybody may run, so it is the system's when this one lies in a home of root's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import veracity
from veracity.core.canonical import Json
from veracity.core.summary import RunSummary
from veracity.monitor.service.log import events
from veracity.monitor.summary import load_summary

LIMIT = 120
SOURCES = Path(veracity.__file__).resolve().parents[1]
TOOLS = ("useradd", "userdel", "setpriv")
CAPABILITIES = "+setuid,+setgid"
_SERVE = """
import sys
from veracity.monitor.service import server
server.TAKE_UP_AFTER, server.TICK, server.LOOK_AGAIN, server.WAKE_EVERY = {after}, 0.1, 1.0, 0.5
from veracity.cli.main import main
sys.exit(main())
"""


def why_not() -> str:
    """Why such tests cannot be run here, empty when they can."""
    if os.geteuid() != 0:
        return "accounts are made and taken on by root alone"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(missing)} is not installed" if missing else ""


@dataclass(frozen=True)
class User:
    """An account with a folder of its own."""

    name: str
    uid: int
    folder: Path


@dataclass
class World:
    """Three accounts, an interpreter for all, and the service."""

    folder: Path
    python: Path
    veracity: User
    alice: User
    bob: User
    service: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The service's."""
        return self.folder / "state"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "run" / "monitor.sock"

    def start(self, *, after: float = 2.5, **quota: int) -> None:
        """Start the service, with capabilities for nothing but taking on accounts."""
        words = ["monitor", "--system", "--home", str(self.home), "--socket", str(self.socket), "--quiet"]
        if quota:
            config = self.folder / "quota.toml"
            config.write_text("[service]\n" + "".join(f"{key} = {value}\n" for key, value in quota.items()))
            words += ["--config", str(config)]
        self.service = subprocess.Popen(
            [
                *_as(self.veracity, CAPABILITIES),
                *(str(self.python), "-c", _SERVE.format(after=after), *words),
            ],
            env=self.environment(self.veracity),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stderr=(self.folder / "service.log").open("ab"),
        )
        wait_for(self.answers)

    def answers(self) -> bool:
        """Whether somebody listens at the socket."""
        assert self.service is not None
        assert self.service.poll() is None, (self.folder / "service.log").read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one, contextlib.suppress(OSError):
            one.connect(str(self.socket))
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the service."""
        if self.service is not None and self.service.poll() is None:
            self.service.send_signal(number)
            self.service.wait(LIMIT)
        self.service = None

    def environment(self, user: User, **more: str) -> dict[str, str]:
        """What programs of ``user`` are started with."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(user.folder),
            "PYTHONPATH": str(SOURCES),
            "OMP_NUM_THREADS": "1",
            "VERACITY_HOME": str(user.folder / "home"),
            "VERACITY_MONITOR": str(self.socket),
            **more,
        }

    def popen(self, user: User, *words: str | Path, **more: str) -> subprocess.Popen[str]:
        """Start a program as ``user``."""
        process = subprocess.Popen(
            [*_as(user), *map(str, words)],
            env=self.environment(user, **more),
            cwd=user.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def veracity_command(self, *words: str | Path) -> list[str]:
        """The command line of ``veracity``."""
        return [str(self.python), "-m", "veracity", *map(str, words)]

    def call(self, user: User, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """``veracity`` with ``words`` as ``user``, to its end."""
        process = self.popen(user, *self.veracity_command(*words), **more)
        out, err = process.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(list(map(str, words)), process.returncode, out, err)

    def script(self, user: User, text: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A Python program as ``user``, without any guard."""
        process = self.popen(user, self.python, "-c", textwrap.dedent(text), *words)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def write(self, user: User, name: str, text: str) -> Path:
        """A file of ``user``'s."""
        path = user.folder / name
        path.write_text(textwrap.dedent(text))
        os.chown(path, user.uid, user.uid)
        return path

    def runs(self, user: User) -> list[Path]:
        """The folders of the account's runs, oldest first."""
        folder = self.home / "accounts" / str(user.uid) / "runs"
        found = sorted(folder.iterdir(), key=lambda one: one.stat().st_ctime_ns) if folder.is_dir() else []
        return [one for one in found if (one / "ledger").exists()]

    def summary(self, user: User) -> RunSummary:
        """The account's newest run, as its record has it."""
        return load_summary(self.runs(user)[-1])

    def events(self, name: str = "") -> list[dict[str, Json]]:
        """What the service recorded of itself."""
        return [one for one in events(self.home) if not name or one["event"] == name]

    def keepers(self) -> list[int]:
        """The processes that record runs."""
        found = []
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0") if path.name.isdigit() else []
                if b"veracity.monitor.service.keeper" in words:
                    found.append(int(path.name))
        return found

    def close(self) -> None:
        """End what was started."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=LIMIT)
        self.stop()


def _as(user: User, capabilities: str = "") -> list[str]:
    held = f"-all{',' + capabilities if capabilities else ''}"
    return [
        *("setpriv", "--reuid", str(user.uid), "--regid", str(user.uid), "--clear-groups"),
        *("--inh-caps", held, "--ambient-caps", held, "--bounding-set", held, "--no-new-privs"),
        # setpriv itself still has root's way to files when it starts a program; a shell has not.
        *("/bin/sh", "-c", 'exec "$0" "$@"'),
    ]


@contextlib.contextmanager
def new_world() -> Iterator[World]:
    """Accounts and folders; both are removed at the end."""
    # Not among pytest's own folders, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="veracity-accounts-") as name:
        Path(name).chmod(0o755)
        with _world_in(Path(name)) as world:
            yield world


@contextlib.contextmanager
def _world_in(folder: Path) -> Iterator[World]:
    names = [f"vt{secrets.token_hex(3)}{word}" for word in ("v", "a", "b")]
    try:
        for name in names:
            subprocess.run(["useradd", "--no-create-home", "--user-group", name], check=True)
        users = [_user(name, folder / name[-1]) for name in names]
        for place in ("state", "run"):
            (folder / place).mkdir(mode=0o700)
            os.chown(folder / place, users[0].uid, users[0].uid)
        world = World(folder, _python(folder / "python", users[1]), users[0], users[1], users[2])
        try:
            yield world
        finally:
            world.close()
    finally:
        for name in names:
            subprocess.run(["userdel", name], check=False, stderr=subprocess.DEVNULL)


def _user(name: str, folder: Path) -> User:
    found = pwd.getpwnam(name)
    assert found.pw_uid == found.pw_gid, "a group of its own with the same number"
    folder.mkdir(mode=0o700)
    os.chown(folder, found.pw_uid, found.pw_gid)
    return User(name, found.pw_uid, folder)


def _python(folder: Path, user: User) -> Path:
    """An environment with the packages of this one, and an interpreter that ``user`` may run."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / f"python{version}" / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(sysconfig.get_path("purelib"))
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    for base in (Path(sys.executable).resolve(), Path(f"/usr/bin/python{version}")):
        (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        python.unlink(missing_ok=True)
        python.symlink_to(base)
        words = [*_as(user), str(python), "-I", "-c", "import sys, msgspec; print(sys.prefix)"]
        if subprocess.run(words, check=False, capture_output=True, env={}, cwd="/").returncode == 0:
            return python
    raise NoInterpreterError(f"no Python {version} with these packages that another account may run")


class NoInterpreterError(Exception):
    """The tests cannot be run here."""


def wait_for(done: Any, seconds: float = 30.0) -> None:
    """Until ``done()`` is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def everything_in(run: Path) -> bytes:
    """All bytes of a run's folder, entries of the ledger decoded."""
    return b"".join(path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file())


def document(text: str) -> dict[str, Any]:
    """A JSON document."""
    found: dict[str, Any] = json.loads(text)
    return found
