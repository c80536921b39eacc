"""What a service keeps of a run that was handed over to it, so that it can be taken up again.

``handed.json`` in the run's directory, mode 0600 and the service's: the sampling key stands in it, since the
one that the job reads lies among files of the job's account.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from ...core.errors import EvidenceError
from ...ledger.files import read_bounded
from ..folder import RunFolder, write_document

ACCOUNTS = "accounts"
MAX_HANDED = 1 << 20
_RUN = re.compile(r"run-\d{8}-\d{6}-[0-9a-f]{6}\Z", re.ASCII)
_UID = re.compile(r"\d{1,10}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Handed:
    """``pid`` and ``starttime``: the process that handed over. ``root``: its command's, 0 before the start.

    ``uid``, ``gid`` and ``groups`` are the job's. ``key`` is the sampling key in hexadecimal. Witnesses and
    authorities are as in :class:`.protocol.Open`.
    """

    uid: int
    gid: int
    groups: list[int]
    pid: int
    starttime: int
    place: str
    socket: str
    policy: str
    stacks: bool
    overhead: float
    hang_after: float
    key: str = ""
    root: int = 0
    root_starttime: int = 0
    closed: bool = False
    witnesses: list[str] = field(default_factory=list)
    witness_policy: str = ""
    timestamps: list[str] = field(default_factory=list)

    def write(self, folder: RunFolder) -> None:
        """Keep it. Raises OSError when the disk refuses."""
        write_document(folder.handed, asdict(self))


def read_handed(folder: RunFolder) -> Handed:
    """What was kept; raises EvidenceError when it cannot be read."""
    try:
        return msgspec.json.decode(read_bounded(folder.handed, MAX_HANDED), type=Handed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EvidenceError("what was kept of a run cannot be read", where=str(folder.handed)) from error


def account_home(home: Path, uid: int) -> Path:
    """Where the runs of one account lie."""
    return home / ACCOUNTS / str(uid)


def is_run(name: str) -> bool:
    """Whether this is a run's id, and so the name of a folder and nothing else."""
    return _RUN.match(name) is not None


def unfinished(home: Path) -> Iterator[tuple[RunFolder, Handed]]:
    """Runs whose record is not closed, of all accounts."""
    accounts = home / ACCOUNTS
    if not accounts.is_dir():
        return
    for account in sorted(accounts.iterdir()):
        runs = account / "runs"
        if not _UID.match(account.name) or not runs.is_dir():
            continue
        for path in sorted(runs.iterdir()):
            if not is_run(path.name):
                continue
            folder = RunFolder(path)
            try:
                handed = read_handed(folder)
            except EvidenceError:
                continue  # a folder without what it takes to go on; the service's log names its run
            if not handed.closed:
                yield folder, handed
