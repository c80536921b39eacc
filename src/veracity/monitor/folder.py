"""The run directory: what lies where. Everything about a run is under it, readable with plain tools."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.canonical import Json
from ..core.errors import UsageError
from ..guard.compiled import tag
from ..ledger.files import write_private
from .accounts import recorded, recording

ARCHIVE = "guard_importlib_bootstrap.zip"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside ``<home>/runs/<run-id>/``.

    ``place``: the folder of what passes between job and monitor, where that is another one: a run that a
    service records has it among the job's own files. ``guard``: the guard's archive, where all runs share it.
    """

    path: Path
    place: Path | None = None
    guard: Path | None = None

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.name

    @property
    def home(self) -> Path:
        """The home this run belongs to."""
        return self.path.parent.parent

    @property
    def ledger(self) -> Path:
        """The append-only record."""
        return self.path / "ledger"

    @property
    def blobs(self) -> Path:
        """Raw evidence by digest."""
        return self.path / "blobs"

    @property
    def spool(self) -> Path:
        """What the guards wrote and the monitor has not consumed."""
        return (self.place or self.path) / "spool"

    @property
    def archive(self) -> Path:
        """The guard, as it entered the job's processes.

        Python's ``warnings`` and ``logging`` do not count frames of files with ``importlib`` and
        ``_bootstrap`` in their names as callers: what they print names the program's lines, as without us.
        """
        return self.guard or (self.place or self.path) / ARCHIVE

    @property
    def code(self) -> Path:
        """The guard's code, compiled for this interpreter: beside its sources."""
        return code_beside(self.archive)

    @property
    def guard_config(self) -> Path:
        """The guard's configuration; holds the sampling key."""
        return (self.place or self.path) / "guard.json"

    @property
    def attention(self) -> Path:
        """Written when the monitor asks the guards to look more closely for a while."""
        return (self.place or self.path) / "attention"

    @property
    def socket(self) -> Path:
        """Where guards say who they are."""
        return (self.place or self.path) / "guard.sock"

    @property
    def known_bytecode(self) -> Path:
        """Which bytecode the guard need not ship; ``{tag}`` stands for the interpreter's."""
        return (self.place or self.home / "cache") / "bytecode-{tag}"

    @property
    def handed(self) -> Path:
        """Who handed the run over to a service, and what it needs to take it up again."""
        return self.path / "handed.json"

    @property
    def document(self) -> Path:
        """``run.json``: a short description, derived from the ledger."""
        return self.path / "run.json"

    @property
    def contract(self) -> Path:
        """What the run declares, for people."""
        return self.path / "contract.toml"

    @property
    def seal(self) -> Path:
        """The signed manifest of what ran."""
        return self.path / "seal.dsse.json"

    @property
    def cosigned(self) -> Path:
        """The newest tree head that each witness has cosigned."""
        return self.path / "cosigned"

    @property
    def policy(self) -> Path:
        """Whose cosignatures the run asked for: a witness policy."""
        return self.path / "witness.policy"

    @property
    def timestamps(self) -> Path:
        """What authorities answered about the finished record's tree head, one file each."""
        return self.path / "timestamps"

    @property
    def state(self) -> Path:
        """How far the spools are consumed (for ``attach``)."""
        return self.path / "monitor.json"

    @property
    def verifier(self) -> Path:
        """The public key the ledger was signed with, as a vkey line."""
        return self.path / "ledger.vkey"


def code_beside(archive: Path) -> Path:
    """Where the code of the guard's ``archive`` lies that is compiled for this interpreter."""
    return archive.with_name(f"{archive.name}.{tag(0)}")


def create_folder(home: Path, at: int, place: Path | None = None, guard: Path | None = None) -> RunFolder:
    """A new run directory, mode 0700; the spool's folder too, unless it has another ``place``.

    Raises UsageError when the home cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at // 1_000_000_000))
    folder = RunFolder(home / "runs" / f"run-{stamp}-{secrets.token_hex(3)}", place, guard)
    try:
        with recording():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.path.parent.mkdir(mode=0o700, exist_ok=True)
            for path in (folder.path, folder.blobs):
                path.mkdir(mode=0o700)
        if place is None:
            folder.spool.mkdir(mode=0o700)
    except OSError as error:
        raise UsageError(
            f"cannot write to the home: {error.strerror}",
            where=str(home),
            remedy="choose another one with --home DIR or VERACITY_HOME",
        ) from error
    return folder


@recorded
def write_document(path: Path, value: dict[str, Json]) -> None:
    """Write a JSON document for people and programs."""
    write_private(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def close_document(folder: RunFolder, started_at: int, ending: Mapping[str, Json]) -> None:
    """Add how a run ended to its document, or write it anew where it is gone. ``started_at`` in ns."""
    try:
        with recording():
            document = json.loads(folder.document.read_bytes())
    except (OSError, ValueError):
        document = {"run": folder.run, "command": [], "started_at": started_at}
    document.update(ending)
    write_document(folder.document, document)
