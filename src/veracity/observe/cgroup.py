"""Control groups as the kernel shows them: what a process may use of the machine, and whether it is frozen.

Version 1 (one tree per controller) and version 2 (one tree), by the files of cgroups(7) and the kernel's
``cgroup-v1/`` and ``cgroup-v2.rst``. In a container the own group is often the root of what is mounted, and
files may be missing: then a field is None or 0, never a guess. One :meth:`Groups.read` opens at most
``MAX_LEVELS`` small files per controller.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .process import read_file

MAX_FILE = 64 << 10
MAX_MOUNTS = 4096
MAX_LEVELS = 4
_USED = ("cpu", "freezer", "memory")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where one tree is mounted. ``root``: the group that its mount point shows."""

    point: str
    root: str


@dataclass(frozen=True, slots=True)
class Membership:
    """The folders of a process's groups, empty where there is none. ``names``: (controller, group)."""

    names: tuple[tuple[str, str], ...]
    cpu: tuple[str, ...]
    freezer: str
    memory: str

    @property
    def name(self) -> str:
        """The group that limits processor time, for people."""
        named = dict(self.names)
        return named.get("cpu", named.get("unified", "/"))


@dataclass(frozen=True, slots=True)
class GroupState:
    """``quota``: the tightest limit on the way up, in thousandths of a CPU, None without one. The counts
    are of the level that was throttled most. ``frozen``: None where the kernel does not say."""

    quota: int | None
    periods: int
    throttled: int
    throttled_ns: int
    frozen: bool | None
    reclaimed: int


class Groups:
    """The trees this machine has. ``mounts`` maps ``cpu``, ``freezer``, ``memory`` and ``unified``."""

    def __init__(self, mounts: dict[str, Mount], proc: str = "/proc") -> None:
        self._mounts = mounts
        self._proc = proc

    @classmethod
    def of_this_machine(cls) -> Groups:
        """From ``/proc/self/mountinfo``; without it there are no trees."""
        return cls(parse_mounts(_read("/proc/self/mountinfo", 4 << 20) or b""))

    def membership(self, pid: int) -> Membership | None:
        """The groups of a process, None when it is gone or none of them can be seen."""
        paths = parse_membership(_read(f"{self._proc}/{pid}/cgroup") or b"")
        folders: dict[str, tuple[str, ...]] = {}
        for name in _USED:
            tree = name if name in paths and name in self._mounts else "unified"
            mount, path = self._mounts.get(tree), paths.get(tree)
            if mount is not None and path is not None:
                folders[name] = _folders(mount, path)
        if not any(folders.values()):
            return None
        one = {name: levels[0] for name, levels in folders.items() if levels}
        names = tuple(sorted(paths.items()))
        return Membership(names, folders.get("cpu", ()), one.get("freezer", ""), one.get("memory", ""))

    @staticmethod
    def read(group: Membership) -> GroupState:
        """The group as it stands now."""
        quotas: list[int] = []
        most = (0, 0, 0)
        for folder in group.cpu:
            quota = _quota(folder)
            if quota is not None:
                quotas.append(quota)
            if quota is not None or folder == group.cpu[0]:
                counts = _throttling(folder)
                if counts[1:] >= most[1:]:
                    most = counts
        reclaimed = _keyed(_read(f"{group.memory}/memory.events")).get("high", 0) if group.memory else 0
        return GroupState(min(quotas) if quotas else None, *most, _frozen(group.freezer), reclaimed)


def parse_mounts(data: bytes) -> dict[str, Mount]:
    """Mounted trees by controller, and ``unified``; of several mounts of one the first counts."""
    found: dict[str, Mount] = {}
    for line in data.splitlines()[:MAX_MOUNTS]:
        left, _, right = line.partition(b" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in (b"cgroup", b"cgroup2"):
            continue
        mount = Mount(_unescaped(fields[4]), _unescaped(fields[3]))
        names = ["unified"] if kind[0] == b"cgroup2" else kind[2].decode("ascii", "replace").split(",")
        for name in names:
            if name == "unified" or name in _USED:
                found.setdefault(name, mount)
    return found


def parse_membership(data: bytes) -> dict[str, str]:
    """Group of each controller, and ``unified``, from ``/proc/<pid>/cgroup``."""
    found: dict[str, str] = {}
    for line in data.splitlines()[:256]:
        parts = line.decode("utf-8", "surrogateescape").split(":", 2)
        if len(parts) != 3 or not parts[2].startswith("/") or ".." in parts[2].split("/"):
            continue
        for name in parts[1].split(",") if parts[1] else ["unified"]:
            if name == "unified" or name in _USED:
                found.setdefault(name, parts[2])
    return found


def _folders(mount: Mount, path: str) -> tuple[str, ...]:
    """The group's folder and those above it, as far as the mount shows them."""
    root = mount.root.rstrip("/")
    if root and path != root and not path.startswith(root + "/"):
        return (mount.point,)  # a container's own name for its group: what is mounted is that group
    parts = [part for part in path[len(root) :].split("/") if part]
    levels = [os.path.join(mount.point, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return tuple(levels[:MAX_LEVELS])


def _quota(folder: str) -> int | None:
    limit = (_read(f"{folder}/cpu.max") or b"").split()
    if len(limit) != 2:
        limit = [(_read(f"{folder}/cpu.cfs_{name}_us") or b"").strip() for name in ("quota", "period")]
    if not all(part.isdigit() for part in limit) or int(limit[1]) == 0:
        return None
    return min(int(limit[0]) * 1000 // int(limit[1]), 10**9)


def _throttling(folder: str) -> tuple[int, int, int]:
    counts = _keyed(_read(f"{folder}/cpu.stat"))
    ns = counts.get("throttled_time", counts.get("throttled_usec", 0) * 1000)
    return counts.get("nr_periods", 0), counts.get("nr_throttled", 0), ns


def _frozen(folder: str) -> bool | None:
    if not folder:
        return None
    events = _keyed(_read(f"{folder}/cgroup.events"))
    if "frozen" in events:
        return events["frozen"] != 0
    state = _read(f"{folder}/freezer.state")
    return None if state is None else state.strip() == b"FROZEN"


def _keyed(data: bytes | None) -> dict[str, int]:
    """A "flat keyed" file: a name and a number per line."""
    found: dict[str, int] = {}
    for line in (data or b"").splitlines()[:256]:
        fields = line.split()
        if len(fields) == 2 and fields[1].isdigit() and len(fields[1]) <= 20:
            found[fields[0].decode("ascii", "replace")] = min(int(fields[1]), 2**62)
    return found


def _unescaped(field: bytes) -> str:
    for code, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, plain)
    return field.decode("utf-8", "surrogateescape")


def _read(path: str, limit: int = MAX_FILE) -> bytes | None:
    return None if "\0" in path else read_file(path, limit)
