"""Timestamps of a finished record by authorities, each in a file of its own in the run's directory.

Each is asked in a thread: one that does not answer costs its timestamp and a little time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import Error, EvidenceError
from ..ledger.files import read_bounded, write_private
from ..ledger.reader import Reader
from ..ledger.timestamp import MAX_TIMESTAMPS, MAX_TOKEN, SUFFIX, ask_authority
from ..ledger.tree_head import TreeHead
from .accounts import recording
from .folder import RunFolder

LAST_SECONDS = 20.0


def stamp(folder: RunFolder, urls: Sequence[str]) -> list[str]:
    """Have the record as it is stamped by the authority at each address; sentences about those that did not.

    Returns after LAST_SECONDS at most.
    """
    if not urls:
        return []
    failed: dict[str, str] = dict.fromkeys(urls, "did not answer in time")
    try:
        with recording():
            with Reader(folder.ledger) as reader:
                head = reader.tree_head
            folder.timestamps.mkdir(mode=0o700, exist_ok=True)
    except (Error, OSError) as error:
        return [f"the record cannot be stamped: {error}"]
    threads = [
        threading.Thread(target=_stamp_one, args=(folder, number, url, head, failed), daemon=True)
        for number, url in enumerate(failed, 1)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + LAST_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [f"{url}: {reason}" for url, reason in list(failed.items()) if reason]


def _stamp_one(folder: RunFolder, number: int, url: str, head: TreeHead, failed: dict[str, str]) -> None:
    try:
        answer = ask_authority(url, head)
        with recording():
            write_private(folder.timestamps / f"{number}{SUFFIX}", answer)
        failed[url] = ""
    except (Error, OSError) as error:
        failed[url] = str(error)


def read_timestamps(folder: Path) -> list[bytes]:
    """The answers that are kept, none when none are. Raises EvidenceError when they cannot be read."""
    if not folder.is_dir():
        return []
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if len(paths) > MAX_TIMESTAMPS:
        raise EvidenceError(f"there are more than {MAX_TIMESTAMPS} timestamps", where=str(folder))
    return [read_bounded(path, MAX_TOKEN) for path in paths]
