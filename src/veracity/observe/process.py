"""A process as ``/proc`` shows it: bounded, race-safe readers that answer None once it is gone.

Layouts as described in proc(5). A process may end, change its program or be replaced by another of the same
number between two reads; ``Stat.starttime`` tells two processes of one number apart.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

PROC = "/proc"
MAX_DESCRIPTORS = 512
MAX_READ = 4 << 20
MAX_PROCESSES = 100_000
_PORTION = 1 << 16
READ_AGAIN = 30
"""Looks at the processes of the machine until all are read again."""


@dataclass(frozen=True, slots=True)
class Stat:
    """``/proc/<pid>/stat``. Times in clock ticks (``os.sysconf("SC_CLK_TCK")`` per second).

    ``exit_code`` is the wait status of a zombie, readable for one's own processes only; 0 otherwise.
    ``blocked_io`` is time spent waiting for block I/O (0 where the kernel does not account for it).
    """

    pid: int
    name: str
    state: str
    ppid: int
    utime: int
    stime: int
    threads: int
    starttime: int
    blocked_io: int
    exit_code: int
    nice: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """``/proc/<pid>/status``: the tracer's pid (0 for none) and the processors the main task may run on."""

    tracer: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """``schedstat`` of a task in nanoseconds: on a CPU, and runnable but waiting for one."""

    cpu: int
    run_queue: int


def read_stat(pid: int) -> Stat | None:
    """State of a process, None when it does not exist."""
    return parse_stat(_read(pid, "stat"))


def parse_stat(data: bytes | None) -> Stat | None:
    """The fields of a ``stat`` line; the name may hold spaces and parentheses."""
    if data is None:
        return None
    left, right = data.find(b"("), data.rfind(b")")
    fields = data[right + 1 :].split()
    if left < 0 or right < left or len(fields) < 22 or len(fields[0]) != 1:
        return None
    try:
        numbers = [int(field) for field in fields[1:]]
        pid = int(data[:left])
    except ValueError:
        return None
    # fields[0] is field 3 of proc(5), so field n is numbers[n - 4].
    return Stat(
        pid=pid,
        name=data[left + 1 : right].decode("utf-8", "replace"),
        state=fields[0].decode("ascii", "replace"),
        ppid=numbers[0],
        utime=numbers[14 - 4],
        stime=numbers[15 - 4],
        threads=numbers[20 - 4],
        starttime=numbers[22 - 4],
        blocked_io=numbers[42 - 4] if len(numbers) > 42 - 4 else 0,
        exit_code=numbers[52 - 4] if len(numbers) > 52 - 4 else 0,
        nice=numbers[19 - 4],
    )


def read_status(pid: int) -> dict[str, str] | None:
    """The lines of a ``status`` file by name, None when the process does not exist."""
    data = _read(pid, "status")
    if data is None:
        return None
    lines = [line.partition(":") for line in data.decode("utf-8", "replace").splitlines()]
    return {name: value.strip() for name, colon, value in lines if colon}


def read_standing(pid: int) -> Standing | None:
    """Tracer and processors of a process, None when it does not exist."""
    return parse_standing(_read(pid, "status"))


def parse_standing(data: bytes | None) -> Standing | None:
    """From a ``status`` file; None when it lacks a line."""
    tracer = cpus = None
    for line in (data or b"").splitlines():
        name, _, value = line.partition(b":")
        value = value.strip()
        if name == b"TracerPid" and value.isdigit():
            tracer = int(value[:10])
        elif name == b"Cpus_allowed":
            try:
                cpus = int(value.replace(b",", b"")[:4096], 16).bit_count()
            except ValueError:
                return None
    return None if tracer is None or cpus is None else Standing(tracer, cpus)


def read_cmdline(pid: int) -> list[str] | None:
    """The command line; empty for a zombie or kernel thread."""
    data = _read(pid, "cmdline")
    if data is None:
        return None
    parts = data.rstrip(b"\0").split(b"\0") if data else []
    return [part.decode("utf-8", "surrogateescape") for part in parts]


def read_environ(pid: int, names: frozenset[str] | None = None) -> dict[str, str] | None:
    """The environment a process was started with (later changes do not show), or those ``names`` of it.

    None when it is gone or belongs to another account.
    """
    data = _read(pid, "environ")
    if data is None:
        return None
    found: dict[str, str] = {}
    for part in data.split(b"\0"):
        name, equals, value = part.decode("utf-8", "surrogateescape").partition("=")
        if equals and (names is None or name in names):
            found.setdefault(name, value)
    return found


def read_exe(pid: int) -> str | None:
    """The program file; ends in `` (deleted)`` when it is gone from disk."""
    return _link(pid, "exe")


def read_cwd(pid: int) -> str | None:
    """The working directory."""
    return _link(pid, "cwd")


def read_maps(pid: int) -> bytes | None:
    """The memory map as text, a line for each range; None when the process is gone or not ours to read."""
    return _read(pid, "maps", MAX_READ * 4)


def mapped_files(pid: int) -> list[str] | None:
    """Files mapped into the process, in order of first address, each once."""
    data = read_maps(pid)
    if data is None:
        return None
    found: dict[str, None] = {}
    for line in data.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith(b"/"):
            found[fields[5].decode("utf-8", "surrogateescape")] = None
    return list(found)


def maps_torch(pid: int) -> bool | None:
    """Whether a torch library is mapped; None when the process is gone or not ours to read."""
    files = mapped_files(pid)
    if files is None:
        return None
    return any(is_torch_library(path) for path in files)


def is_torch_library(path: str) -> bool:
    """Whether ``path`` is one of torch's own shared libraries."""
    name = os.path.basename(path.removesuffix(" (deleted)"))
    return ".so" in name and name.startswith(("libtorch.", "libtorch_", "libc10."))


def written_files(pid: int) -> list[str]:
    """Regular files the process has open for writing, by path; of the first ``MAX_DESCRIPTORS`` descriptors.

    Empty when it is gone or not ours to read. Files that have been deleted are left out.
    """
    try:
        numbers = os.listdir(f"{PROC}/{pid}/fd")[:MAX_DESCRIPTORS]
    except OSError:
        return []
    found: dict[str, None] = {}
    for number in numbers:
        path = _link(pid, f"fd/{number}")
        if path is None or not path.startswith("/") or path.endswith(" (deleted)"):
            continue
        flags = parse_flags(_read(pid, f"fdinfo/{number}"))
        if flags is not None and flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR):
            found[path] = None
    return list(found)


def parse_flags(data: bytes | None) -> int | None:
    """The ``flags`` line of a ``fdinfo`` file, which is octal."""
    for line in (data or b"").splitlines():
        name, _, value = line.partition(b":")
        if name == b"flags":
            try:
                return int(value, 8)
            except ValueError:
                return None
    return None


def read_schedule(pid: int, task: int | None = None) -> Schedule | None:
    """CPU time and run-queue delay of one task, the main one by default."""
    data = _read(pid, f"task/{pid if task is None else task}/schedstat")
    fields = data.split() if data is not None else []
    if len(fields) < 2 or not (fields[0].isdigit() and fields[1].isdigit()):
        return None
    return Schedule(int(fields[0]), int(fields[1]))


def cpu_time(pid: int) -> int:
    """How long the main thread has run so far, in ns: unchanged while it sleeps; 0 where it is not known."""
    schedule = read_schedule(pid)
    return schedule.cpu if schedule is not None else 0


def blocked_io_ns(pid: int) -> int | None:
    """Nanoseconds the process waited for block I/O, 0 where the kernel does not account for it."""
    status = read_stat(pid)
    return None if status is None else status.blocked_io * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def read_wchan(pid: int) -> str | None:
    """The kernel function the main task sleeps in; empty when it runs or the kernel does not say."""
    data = _read(pid, "wchan")
    if data is None:
        return None
    name = data.decode("ascii", "replace").strip()
    return "" if name == "0" else name


class Descent:
    """Whose child each process of the machine is, asked again and again for the descendants of one.

    A machine has thousands of processes and few of them are new: only those are read, and all of them once
    in :data:`READ_AGAIN` looks, since a number may be given to another process and a child to another parent.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._parents: dict[int, int] = {}
        self._names: list[str] = []
        self._found: list[int] = []
        self._looks = 0

    def look(self) -> list[int]:
        """Children, their children and so on, parents before children.

        A process whose parent ended has been adopted by another one and is not found any more.
        """
        try:
            names = [name for name in os.listdir(PROC) if name.isdigit()][:MAX_PROCESSES]
        except OSError:
            return []
        again = self._looks % READ_AGAIN == 0
        self._looks += 1
        if names == self._names and not again:
            return list(self._found)
        known = {} if again else self._parents
        self._names, self._parents = names, {}
        for number in map(int, names):
            parent = known.get(number)
            if parent is None:
                status = read_stat(number)
                parent = None if status is None else status.ppid
            if parent is not None:
                self._parents[number] = parent
        self._found = self._below()
        return list(self._found)

    def _below(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for number, parent in self._parents.items():
            children.setdefault(parent, []).append(number)
        found: list[int] = []
        seen = {self._pid}
        pending = [self._pid]
        while pending:
            for child in children.get(pending.pop(0), []):
                if child not in seen:
                    seen.add(child)
                    found.append(child)
                    pending.append(child)
        return found


def oom_kills(pid: int) -> int | None:
    """Processes the kernel killed for memory in the process's cgroup (v2); None when that is unreadable."""
    data = _read(pid, "cgroup")
    for line in (data or b"").splitlines():
        if line.startswith(b"0::/"):
            path = line[4:].decode("utf-8", "surrogateescape")
            if ".." in path.split("/"):
                return None
            events = read_file(os.path.join("/sys/fs/cgroup", path, "memory.events"), MAX_READ)
            return parse_oom_kills(events)
    return None


def parse_oom_kills(data: bytes | None) -> int | None:
    """The ``oom_kill`` count of a ``memory.events`` file."""
    for line in (data or b"").splitlines():
        name, _, value = line.partition(b" ")
        if name == b"oom_kill" and value.strip().isdigit():
            return int(value)
    return None


def _link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"{PROC}/{pid}/{name}")
    except OSError:
        return None


def _read(pid: int, name: str, limit: int = MAX_READ) -> bytes | None:
    return read_file(f"{PROC}/{pid}/{name}", limit)


def read_file(path: str, limit: int = MAX_READ) -> bytes | None:
    """At most ``limit`` bytes, None when the file cannot be opened or its process ended meanwhile."""
    # Without a buffered file object, which takes longer to make than such a file takes to be read.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts, left = list[bytes](), limit
            while left > 0 and (part := os.read(descriptor, min(left, _PORTION))):
                parts.append(part)  # tables come by the page
                left -= len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)
    except OSError:
        return None
