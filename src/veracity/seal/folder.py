"""Where a seal is kept: ``<home>/seals/<seal-id>/``, and how it is found by its name."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError

LATEST = "latest"
MAX_LISTED = 10_000
ATTEMPTS = 8
"""Names tried for a new seal, of the 16 million that a second has."""
_SEAL = re.compile(r"seal-\d{8}-\d{6}-[0-9a-f]{6}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class SealFolder:
    """Paths inside a seal's directory."""

    path: Path

    @property
    def seal(self) -> str:
        """The seal's id."""
        return self.path.name

    @property
    def envelope(self) -> Path:
        """What was signed."""
        return self.path / "seal.dsse.json"

    @property
    def ssh_signature(self) -> Path:
        """An SSH signature over the bytes of the envelope, where ``ssh-keygen -Y sign`` puts it; if any."""
        return self.path / "seal.dsse.json.sig"

    @property
    def manifest(self) -> Path:
        """The nodes of the sealed trees."""
        return self.path / "manifest"

    def diff(self, digest: str) -> Path:
        """The text of how files differed from their commit, by its digest."""
        return self.path / f"{digest}.diff"

    @property
    def verifier(self) -> Path:
        """The public key it was signed with, as a vkey line."""
        return self.path / "seal.vkey"


def create_folder(home: Path, at: int) -> SealFolder:
    """A new seal's directory, mode 0700; ``at`` in ns since the epoch.

    It is made by this call or the call fails: what is there already, a link included, is another seal's or
    was put there, and nothing is ever written into it. Raises UsageError when none can be made.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at // 1_000_000_000))
    make_home(home / "seals")
    for _ in range(ATTEMPTS):
        path = home / "seals" / f"seal-{stamp}-{secrets.token_hex(3)}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue  # another seal of this second
        except OSError as error:
            raise _unwritable(path, error) from error
        return SealFolder(path)
    raise UsageError(
        "there is a seal of every name that was tried",
        where=str(home / "seals"),
        remedy=f"look who made folders that begin with seal-{stamp}: nothing was written into them",
    )


def require_empty(folder: SealFolder) -> None:
    """Raise UsageError unless there is nothing in the directory yet."""
    try:
        with os.scandir(folder.path) as entries:
            found = next(entries, None)
    except OSError as error:
        raise _unwritable(folder.path, error) from error
    if found is not None:
        raise UsageError(
            f"a seal is made in an empty folder, and this one holds {found.name}",
            where=str(folder.path),
            remedy="a seal is never written over: make another one",
        )


def make_home(path: Path) -> None:
    """Make a directory for its owner alone, if it is not there. Raises UsageError when it cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write to the home: {error.strerror}",
        where=str(path),
        remedy="choose another one with --home DIR or VERACITY_HOME",
    )


def list_seals(home: Path) -> list[SealFolder]:
    """The newest seals of a home, newest first; raises OSError when it cannot be read."""
    try:
        names = os.listdir(home / "seals")
    except FileNotFoundError:
        return []
    found = sorted((name for name in names if _SEAL.match(name)), reverse=True)
    return [SealFolder(home / "seals" / name) for name in found[:MAX_LISTED]]


def find_seal(home: Path, name: str) -> SealFolder:
    """The seal called ``name``: an id, a prefix that only one has, ``latest``, or a seal's directory.

    Raises UsageError when there is none, more than one, or what has the name is no directory.
    """
    if os.sep in name:
        folder = SealFolder(Path(name))
        if not folder.envelope.exists():
            raise UsageError("there is no seal in this folder", where=name)
        return folder
    seals = list_seals(home)
    matches = seals[:1] if name == LATEST else [one for one in seals if one.seal.startswith(name)]
    if len(matches) != 1:
        near = ", ".join(one.seal for one in (matches or seals)[:5])
        raise UsageError(
            f"{name[:200]!r} names {len(matches)} seals" if matches else f"there is no seal {name[:200]!r}",
            where=str(home),
            remedy=f"there are: {near}" if near else "make one with `veracity seal PATH`",
        )
    if not stat.S_ISDIR(matches[0].path.lstat().st_mode):
        raise UsageError(
            "this is not a seal's directory but a link or a file",
            where=str(matches[0].path),
            remedy="a seal is never moved or linked: find out who did it",
        )
    return matches[0]
