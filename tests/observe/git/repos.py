"""Real repositories for tests, and what is seen of them."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from veracity.core.repository import RepositoryState, Signature
from veracity.observe.git import Repositories, find_repositories
from veracity.observe.tree import read_tree

IDENTITY = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false")
FILES = {"train.py": "lr = 1\n", "pkg/adamw.py": "beta = 0.9\n", "data.bin": "\0" * 40}


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would; its output."""
    allowed = ("-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *IDENTITY, *allowed, *arguments], cwd=folder, check=True, capture_output=True, timeout=60
    )
    return done.stdout.decode().strip()


def commit(folder: Path, message: str = "next") -> str:
    """Commit all there is; the commit's id."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def make(folder: Path, files: Mapping[str, str] = FILES, *, algorithm: str = "sha1") -> Path:
    """A repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", f"--object-format={algorithm}")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    commit(folder, "first")
    return folder


def look(**places: Path) -> Repositories:
    """Read places as a seal does, and find out what is to be known of their repositories."""
    found = find_repositories(places)
    for path in places.values():
        place = os.path.realpath(path)
        reading = read_tree(
            path,
            lambda *_: None,
            skip=[Path(one) for one in found.folders],
            seen=found.seen(place),
            content=found.content(place),
        )
        found.root(place, reading.root)
    return found


def judge(of: str, message: bytes, signature: bytes) -> Signature:
    """No judgement."""
    return Signature(of, signature[:20].decode(), hashlib.sha256(message).hexdigest(), "not checked")


def state(folder: Path) -> RepositoryState:
    """What is to be known of the repository of one folder."""
    found = look(code=folder)
    states = found.states(judge)
    assert found.reasons == []
    assert len(states) == 1, states
    assert states[0].unread == ()
    return states[0]


def edit(path: Path, text: str) -> None:
    """Write a file without a trace in size and times, as far as its owner can."""
    status = path.stat()
    assert len(text) == status.st_size
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def forge_index(folder: Path, name: str) -> None:
    """Let the index remember the file as it is now, with the content that it had: no look finds a change."""
    path = folder / ".git" / "index"
    data = bytearray(path.read_bytes()[:-20])
    at = data.index(name.encode() + b"\0") - 62
    status = os.lstat(folder / name)
    second, nano = divmod(status.st_ctime_ns, 10**9)
    msecond, mnano = divmod(status.st_mtime_ns, 10**9)
    data[at : at + 24] = struct.pack(
        ">6I", second, nano, msecond, mnano, status.st_dev & 0xFFFFFFFF, status.st_ino & 0xFFFFFFFF
    )
    struct.pack_into(">I", data, at + 36, status.st_size)
    path.write_bytes(bytes(data) + hashlib.sha1(data).digest())
    os.utime(
        path, (status.st_mtime + 100, status.st_mtime + 100)
    )  # an index older than the file is not believed
