"""An environment with torch that is made to be planted in, and put back after each time.

Everything lies below one temporary folder. A planting writes through :class:`Place`, which keeps what was
there before; so a real environment need not be copied for each of them, and no link shares a file with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import veracity

TORCH = "torch==2.13.0"
MORE = ("numpy", "setuptools")
TRAIN = """\
import torch

torch.manual_seed(1)
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(5):
    loss = model(torch.randn(16, 8)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
MARK = "# PLANTED by bench/plantings"


class TakenError(Exception):
    """Another planting of the same batch has changed this file already."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that a command told: a finding's rule, the word for a change, or ``gap``."""

    by: str
    word: str
    path: str
    message: str = ""


@dataclass
class Place:
    """The folders; ``seal`` is the id of the seal that was made before anything was planted."""

    root: Path
    seal: str = ""
    touched: dict[Path, None] = field(default_factory=dict)
    _undo: list[tuple[Path, Callable[[], None]]] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "env" / "bin" / "python"

    @property
    def site(self) -> Path:
        """Its folder of packages."""
        return next((self.root / "env" / "lib").glob("python3*")) / "site-packages"

    @property
    def code(self) -> Path:
        """The program's own folder, a part of the seal."""
        return self.root / "code"

    @property
    def data(self) -> Path:
        """A folder of data with a link in it, a part of the seal."""
        return self.root / "data"

    @property
    def repository(self) -> Path:
        """A git repository with a hook, a part of the seal."""
        return self.root / "repository"

    @property
    def outside(self) -> Path:
        """A folder that is no part of anything."""
        return self.root / "outside"

    # --- changing and putting back -----------------------------------------------------------------

    def write(self, path: Path, data: bytes | str, *, keep_time: bool = False) -> None:
        """Write a file, in place of whatever is there."""
        before = path.stat() if keep_time else None
        self._remember(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        if before is not None:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def edit(self, path: Path, old: str, new: str, *, keep_time: bool = False) -> None:
        """Replace the first ``old`` in a text; it must be there."""
        text = path.read_text("utf-8")
        if old not in text:
            raise ValueError(f"{old!r} is not in {path}")
        self.write(path, text.replace(old, new, 1), keep_time=keep_time)

    def remove(self, path: Path) -> None:
        """Take a file away."""
        self._remember(path)
        path.unlink()

    def link(self, path: Path, target: Path | str) -> None:
        """Put a symbolic link there."""
        self._remember(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def mode(self, path: Path, bits: int) -> None:
        """Set permissions."""
        self._remember(path)
        path.chmod(bits)

    def alias(self, path: Path, name: Path) -> None:
        """Give a file another name, under which it can be edited; what it holds is put back, too."""
        self._remember(path)
        self._remember(name)
        name.hardlink_to(path)

    def put_back(self, left: int = 0) -> None:
        """Undo all but the first ``left`` changes."""
        while len(self._undo) > left:
            path, undo = self._undo.pop()
            undo()
            self.touched.pop(path, None)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Changes of one planting: all of them, or none when one of its files is taken."""
        left = len(self._undo)
        try:
            yield
        except TakenError:
            self.put_back(left)
            raise

    def _remember(self, path: Path) -> None:
        if path in self.touched:
            raise TakenError(str(path))
        self.touched[path] = None
        self._undo.append((path, _undo(path)))

    # --- asking --------------------------------------------------------------------------------------

    def veracity(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours with the place's home."""
        home = self.root / "home"
        command = [sys.executable, "-m", "veracity.cli.main", "--home", str(home), *map(str, words)]
        source = str(Path(veracity.__file__).parents[1])
        path = os.pathsep.join([source, *filter(None, [variables.pop("PYTHONPATH", "")])])
        # Bytecode that a job wrote would be a planting that nobody takes back.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables, "PYTHONPATH": path}
        return subprocess.run(command, env=environment, cwd=self.root, capture_output=True, text=True)

    def sealed(self, **variables: str) -> tuple[str, list[Said]]:
        """Seal anew: the seal's id, and what was found."""
        done = self.veracity("seal", *self._parts(), "--format", "json", "--quiet", **variables)
        document = loaded(done)
        examined = document["examined"]
        said = []
        for one in examined["findings"]:
            for path in [one["subject"], *one.get("locations", [])]:
                said.append(Said("seal", one["rule"], path, one["message"]))
        said += [Said("seal", "gap", one["what"], one["reason"]) for one in examined["gaps"]]
        return str(document["seal"]), said

    def verified(self, *words: str | Path) -> list[Said]:
        """Compare with the first seal: what changed."""
        done = self.veracity("verify", self.seal, "--format", "json", "--quiet", *words)
        document = loaded(done)
        folders = {part["name"]: part["path"] for part in document["parts"]}
        said = []
        for part in document["compared"]:
            for change in part["changed"]:
                path = os.path.join(folders[part["part"]], change["path"]).rstrip("/")
                said.append(Said("verify", change["change"], path))
            for row in part.get("git", {}).get("changed", []):
                said.append(Said("verify", row["change"], row["file"], f"{row['subject']} {row['detail']}"))
            said += [Said("verify", "note", part["part"], note) for note in part.get("notes", [])]
        return said

    def run(self, *words: str | Path, sealed: bool = True, **variables: str) -> list[Said]:
        """Run the program (or ``words``), on the first seal if it is to be ``sealed``: what was found."""
        command = words or (self.python, self.code / "train.py")
        shown = self.root / "run.json"
        shown.unlink(missing_ok=True)
        flags: list[str | Path] = ["--no-stacks", "--format", "json", "--output", shown]
        flags += ["--seal", self.seal] if sealed else []
        done = self.veracity("run", *flags, "--", *command, **variables)
        if not shown.exists():
            raise RuntimeError(f"the run was not observed: {done.stderr[-2000:]}")
        said = []
        for one in json.loads(shown.read_bytes())["findings"]:
            message = " ".join([one["message"], *(each["observed"] for each in one["evidence"])])
            for path in [one["subject"], *(where["path"] for where in one["locations"])]:
                said.append(Said("run", one["rule"], path, message))
        return said

    def _parts(self) -> list[str]:
        archives = ["--lock", str(self.root / "lock.txt"), "--wheels", str(self.root / "wheels")]
        parts = [f"{path.name}={path}" for path in (self.code, self.data, self.repository)]
        return [*parts, "--python", str(self.root / "env"), *archives]


def loaded(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON that a command wrote; raises RuntimeError with what it said instead."""
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}") from error


def _undo(path: Path) -> Callable[[], None]:
    """What makes ``path`` as it is now."""
    if not os.path.lexists(path):
        new = path
        while not new.parent.exists():
            new = new.parent
        return partial(_take_away, new)
    if path.is_symlink():
        return partial(_relink, path, os.readlink(path))
    status = path.stat()
    return partial(_rewrite, path, path.read_bytes(), status)


def _take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _relink(path: Path, target: str) -> None:
    _take_away(path)
    path.symlink_to(target)


def _rewrite(path: Path, data: bytes, status: os.stat_result) -> None:
    if path.is_symlink() or not path.exists():
        _take_away(path)
    path.write_bytes(data)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- making it -------------------------------------------------------------------------------------------


def make(root: Path, base: str, packages: Sequence[str] = (TORCH, *MORE)) -> Place:
    """Make environment, wheels, lock, program and data; seal them, which must find nothing."""
    place = Place(root)
    wheels = download(root / "wheels", packages)
    subprocess.run([base, "-m", "venv", root / "env"], check=True)
    install(place.python, root / "wheels", packages)
    write_lock(root / "lock.txt", wheels)
    place.code.mkdir()
    (place.code / "train.py").write_text(TRAIN)
    (place.code / "settings.py").write_text("RATE = 0.001\n")
    place.data.mkdir()
    for name in ("shard-a.bin", "shard-b.bin"):
        (place.data / name).write_bytes(name.encode() * 1000)
    (place.data / "current.bin").symlink_to("shard-a.bin")
    commit(place.repository)
    place.outside.mkdir()
    place.seal, found = place.sealed()
    if found:
        raise RuntimeError(f"the environment is not clean before anything is planted: {found[:5]}")
    return place


def commit(folder: Path) -> None:
    """A repository with one commit and a hook."""
    folder.mkdir()
    (folder / "model.py").write_text("WIDTH = 64\n")
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "Begin"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    hook = folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)


def download(folder: Path, packages: Sequence[str]) -> list[Path]:
    """The wheels of packages and of what they need."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary",
        ":all:",
        "-d",
        str(folder),
    ]
    subprocess.run([*command, *packages], check=True)
    return sorted(folder.glob("*.whl"))


def install(python: Path, wheels: Path, packages: Sequence[str], *flags: str) -> None:
    """Install from the wheels alone, with bytecode."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--compile"]
    command += ["--find-links", str(wheels)]
    # No setting of the account's, which may name other places to find packages.
    variables: Mapping[str, str] = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    variables = {name: value for name, value in variables.items() if name != "PIP_FIND_LINKS"}
    subprocess.run([*command, *flags, *packages], env=variables, check=True)


def write_lock(path: Path, wheels: Sequence[Path]) -> None:
    """A requirements file that names each wheel by its SHA-256."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
    path.write_text("".join(lines))


def recorded(data: bytes) -> str:
    """What RECORD says of a file with this content: digest and size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(data)}"
