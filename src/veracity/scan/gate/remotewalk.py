"""Which files a scan of a URL reads: all below it, as its filesystem lists them.

Listing happens in a process of its own. Libraries of filesystems keep threads and connections, which the
processes that read files are not to inherit, and one that never answers is ended.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from multiprocessing.connection import Connection

from ...core.errors import EvidenceError
from ...observe.artifact.remote import Listed, RemoteFolder
from ...observe.artifact.url import shown
from .walk import FOLDER_REMEDY, MAX_DEPTH, Choice, Found, LeftOut, Unread

SILENCE = 120.0
"""Seconds without a name after which a listing is ended."""
MAX_ENTRIES = 5_000_000
_MAX_MESSAGE = 16 << 20
_PAGE = re.compile(r"https?://([^/]*|.*/)\Z", re.IGNORECASE | re.DOTALL)
"""What a server answers there is a list for people, if anything."""
_CLASSES = {"found": Found, "unread": Unread, "left": LeftOut}


def walk_url(url: str, choice: Choice) -> Iterator[Found | Unread | LeftOut]:
    """What there is to read at and below ``url``. Names of what is found are URLs with all that they need."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_list, args=(ours, theirs, url, choice), daemon=True)
    process.start()
    theirs.close()
    try:
        for _ in range(MAX_ENTRIES):
            if not ours.poll(SILENCE):
                yield Unread(shown(url), f"did not say within {SILENCE:.0f} s what it holds")
                return
            word, *rest = json.loads(ours.recv_bytes(_MAX_MESSAGE))
            if word == "end":
                return
            yield _CLASSES[word](*rest)
        yield Unread(shown(url), f"holds more than {MAX_ENTRIES:,} names", FOLDER_REMEDY)
    except (EOFError, OSError, ValueError):
        yield Unread(shown(url), "the process that listed it ended")
    finally:
        ours.close()
        process.kill()
        process.join()


def _list(parent: Connection, out: Connection, url: str, choice: Choice) -> None:
    """The life of the process that lists: one message for each name, and one at the end."""
    from .workers import bound_memory

    parent.close()
    bound_memory()
    try:
        for one in _below(url, choice):
            if isinstance(one, Found):
                _tell(out, "found", one.path, one.size)
            elif isinstance(one, Unread):
                _tell(out, "unread", one.path, one.reason, one.remedy)
            else:
                _tell(out, "left", one.path)
        _tell(out, "end")
    except OSError:
        pass  # nobody listens any more
    os._exit(0)


def _tell(out: Connection, *words: str | int) -> None:
    out.send_bytes(json.dumps(words).encode("ascii"))


def _below(url: str, choice: Choice) -> Iterator[Found | Unread | LeftOut]:
    if _PAGE.match(shown(url)):
        yield Unread(shown(url), "is a page, since http has no folders", "name the files themselves")
        return
    try:
        folder = RemoteFolder(url)
        named = folder.kind()
    except EvidenceError as error:
        yield _unread(url, error)
        return
    if named.kind == "directory":
        yield from _folder(folder, url.rstrip("/"), "", choice, 0)
    else:
        yield _file(url, named)


def _folder(
    folder: RemoteFolder, url: str, below: str, choice: Choice, depth: int
) -> Iterator[Found | Unread | LeftOut]:
    here = f"{url}/{below}" if below else url
    if depth > MAX_DEPTH:
        yield Unread(shown(here), f"lies deeper than {MAX_DEPTH} folders", FOLDER_REMEDY)
        return
    try:
        names = folder.names(below)
    except EvidenceError as error:
        yield _unread(here, error)
        return
    for one in names:
        inside = f"{below}/{one.name}" if below else one.name
        if not one.name:
            yield Unread(shown(here), "lists something that does not lie in it, which was not read")
        elif choice.keeps_out(inside):
            yield LeftOut(shown(f"{url}/{inside}"))
        elif one.kind == "directory":
            yield from _folder(folder, url, inside, choice, depth + 1)
        elif choice.wants(inside):
            yield _file(f"{url}/{inside}", one)


def _file(url: str, one: Listed) -> Found | Unread:
    if one.kind != "file":
        return Unread(shown(url), "is neither a file nor a folder")
    return Found(url, max(0, one.size))


def _unread(url: str, error: EvidenceError) -> Unread:
    said = error.diagnostics()
    return Unread(shown(url), said.what, said.remedy)
