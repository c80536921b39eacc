"""A disk that can lose power between any two operations and keeps no more than it must.

Every operation is done for real and recorded: which content each file has and which of it was synced, which
names point where and which of these were synced with their folder. ``after_crash`` builds a folder as a file
system may leave it: per name and per file, at random, anything between what was synced and what was written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from veracity.ledger.files import Files

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class PowerCut(BaseException):
    """No handler for errors may catch this: the process is gone."""


@dataclass
class Content:
    now: bytes
    synced: bytes

    def write(self, data: bytes, offset: int) -> None:
        assert offset <= len(self.now)
        self.now = self.now[:offset] + data + self.now[offset + len(data) :]


class CrashableFiles(Files):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[Path, Content] = {}
        self.folders: set[Path] = set()
        for path in folder.rglob("*"):
            if path.is_dir():
                self.folders.add(path)
            elif path.name != "lock":
                self.names[path] = Content(path.read_bytes(), path.read_bytes())
        self.synced_names = dict(self.names)
        self.synced_folders = set(self.folders)
        self.steps_left: int | None = None

    def step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise PowerCut

    def make_folder(self, path: Path) -> None:
        self.step()
        super().make_folder(path)
        while path != self.folder and self.folder in path.parents:
            self.folders.add(path)
            path = path.parent

    def write(self, path: Path, data: bytes) -> None:
        self.step()
        super().write(path, data)
        self.names[path] = Content(data, b"")

    def rename(self, draft: Path, path: Path) -> None:
        self.step()
        super().rename(draft, path)
        self.names[path] = self.names.pop(draft)

    def write_at(self, handle: int, data: bytes, offset: int) -> None:
        content = self.opened(handle)
        try:
            self.step()
        except PowerCut:
            half = data[: len(data) // 2]
            super().write_at(handle, half, offset)
            content.write(half, offset)
            raise
        super().write_at(handle, data, offset)
        content.write(data, offset)

    def sync_data(self, handle: int) -> None:
        self.step()
        content = self.opened(handle)
        content.synced = content.now

    def truncate(self, handle: int, length: int) -> None:
        self.step()
        super().truncate(handle, length)
        content = self.opened(handle)
        content.now = content.now[:length]

    def sync(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self.step()
            if path in self.names:
                self.names[path].synced = self.names[path].now
            elif path == self.folder or path in self.folders:
                mine = {name for name in {*self.names, *self.synced_names} if name.parent == path}
                for name in mine:
                    if name in self.names:
                        self.synced_names[name] = self.names[name]
                    else:
                        del self.synced_names[name]
                self.synced_folders |= {one for one in self.folders if one.parent == path}
            else:
                assert path == self.folder.parent, f"{path} is synced but was never written"

    def remove_folder(self, path: Path) -> None:
        self.step()
        super().remove_folder(path)
        self.names = {name: content for name, content in self.names.items() if path not in name.parents}
        self.folders.discard(path)

    def opened(self, handle: int) -> Content:
        return self.names[Path(os.readlink(f"/proc/self/fd/{handle}"))]

    def after_crash(self, target: Path, chance: Random) -> None:
        """Build what the disk may hold now."""
        target.mkdir(mode=0o700)
        kept = {self.folder}
        for folder in sorted({*self.folders, *self.synced_folders}):
            alive = folder in self.synced_folders or chance.random() < 0.5
            if alive and folder.parent in kept:
                kept.add(folder)
                (target / folder.relative_to(self.folder)).mkdir()
        for name in sorted({*self.names, *self.synced_names}):
            versions = [self.synced_names.get(name), self.names.get(name)]
            content = chance.choice(versions)
            if content is not None and name.parent in kept:
                (target / name.relative_to(self.folder)).write_bytes(_left_of(content, chance))


def _left_of(content: Content, chance: Random) -> bytes:
    """Of what was replaced, each sector may be there or not; of what is longer, any part or none."""
    now, synced = content.now, content.synced
    if now == synced:
        return now
    if not synced:
        return chance.choice([now, b"", now[: chance.randint(0, len(now))], bytes(len(now))])
    kept = b"".join(
        chance.choice([now, synced])[at : min(at + SECTOR, len(now), len(synced))]
        for at in range(0, min(len(now), len(synced)), SECTOR)
    )
    if len(now) <= len(synced):
        return kept + chance.choice([b"", synced[len(now) :]])
    rest = now[len(synced) :]
    cut = chance.randint(0, len(rest))
    # The length may be on disk before the data: then zeros stand where it should be.
    tail = chance.choice([b"", bytes(len(rest) - cut), bytes(chance.randint(0, 5000))])
    return kept + rest[:cut] + tail
