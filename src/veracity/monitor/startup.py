"""The start of the job's interpreters: read once for each, and compared with earlier runs that held."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.observation import Gap, Hello, StartedWith, StartupItem
from ..core.origin import monitor_origin
from ..ledger.files import write_private
from ..observe import process
from ..observe.pyenv import RecordIndex
from ..observe.startup import LAW, VARIABLES, Interpreter, StartupReader
from .accounts import recorded

MAX_INTERPRETERS = 16
MAX_ANCESTORS = 12
MAX_REMEMBERED = 5_000
MAX_DOCUMENT = 4 << 20


class Startup:
    """Reads what executes before the program; ``cache`` is the home's folder for what was found earlier.

    ``command``: the job's own.
    """

    def __init__(self, cache: Path, archive: Path, command: Sequence[str] = ()) -> None:
        self._cache = cache
        self._command = tuple(command)
        self._archive = str(archive)
        self._readers: dict[str, StartupReader] = {}
        self._by_pid: dict[int, str] = {}
        self._known: dict[str, dict[str, str] | None] = {}

    def greeted(self, hello: Hello, python: str, records: RecordIndex | None) -> list[StartupItem | Gap]:
        """A guard greeted from an interpreter called ``python``: its start, unless it was read before."""
        pid = hello.origin.pid
        environment = _variables(hello)
        found: list[StartupItem | Gap] = []
        if environment is None:
            environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
            what = f"the variables that process {pid} was started with cannot be read"
            why = "it is gone or belongs to another account; the monitor's own were taken in their place"
            found.append(Gap(monitor_origin(time.time_ns(), pid=pid), what, why, law=LAW))
        key = _key(python, hello.python, environment)
        self._by_pid[pid] = key
        if key in self._readers or len(self._readers) >= MAX_INTERPRETERS or records is None:
            return found
        version = ".".join(hello.python.split(".")[:2])
        commands = (self._command, *_ancestors(pid))
        interpreter = Interpreter(python, version, environment, self._archive, commands, _account(pid))
        origin = monitor_origin(time.time_ns(), pid=pid, rank=hello.origin.rank)
        reader = self._readers[key] = StartupReader(interpreter, records, origin)
        self._known[key] = self._read(interpreter)
        found += [self._compared(item, key) for item in reader.read()]
        return [*found, *reader.gaps()]

    def began(self, seen: StartedWith) -> list[StartupItem]:
        """What a guard found loaded when it woke up: only what the files did not already show."""
        key = self._by_pid.get(seen.origin.pid, "")
        reader = self._readers.get(key)
        if reader is None:
            return []
        before = len(reader.items)
        for module in seen.modules:
            if os.path.isabs(module.path) and _is_a_path(module.path):
                reader.early(module.name, module.path)
        reader.filters(seen.warn_options)
        unowned = [item for item in reader.items[before:] if item.standing == "none"]
        return [self._compared(item, key) for item in unowned]

    @recorded
    def held(self) -> None:
        """The run held: what its interpreters started with is what later starts are compared with.

        Raises OSError when the home cannot be written.
        """
        for reader in self._readers.values():
            items = {_name(item): item.sha256 for item in reader.items[:MAX_REMEMBERED]}
            path = self._place(reader.interpreter)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, json.dumps(items, indent=0, sort_keys=True).encode())

    def _compared(self, item: StartupItem, key: str) -> StartupItem:
        known = self._known.get(key)
        if known is None:
            return item
        digest = known.get(_name(item))
        before = "new" if digest is None else "same" if digest == item.sha256 else "changed"
        return replace(item, before=before)

    @recorded
    def _read(self, interpreter: Interpreter) -> dict[str, str] | None:
        """Name → digest of an earlier run's items; None when there was none or it cannot be read."""
        try:
            with self._place(interpreter).open("rb") as file:
                document = json.loads(file.read(MAX_DOCUMENT))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        return {name: value for name, value in document.items() if isinstance(value, str)}

    def _place(self, interpreter: Interpreter) -> Path:
        name = hashlib.sha256(os.fsencode(interpreter.prefix)).hexdigest()[:32]
        return self._cache / f"startup-{name}.json"


def _name(item: StartupItem) -> str:
    return f"{item.kind} {item.path}:{item.line}"


def _is_a_path(text: str) -> bool:
    """Whether the system could have a file of this name: a record may hold any text."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _ancestors(pid: int) -> list[tuple[str, ...]]:
    """The commands of the processes between the monitor and a process of the job."""
    found: list[tuple[str, ...]] = []
    for _ in range(MAX_ANCESTORS):
        status = process.read_stat(pid)
        if status is None or status.ppid in (0, 1, os.getpid()):
            break
        pid = status.ppid
        found.append(tuple(process.read_cmdline(pid) or ()))
    return found


def _account(pid: int) -> int:
    try:
        return os.stat(f"{process.PROC}/{pid}").st_uid
    except OSError:
        return -1


def _variables(hello: Hello) -> dict[str, str] | None:
    """The variables that a process was started with; None when neither the kernel nor its guard tells.

    The guard's word, given before the program began, counts for a process that has ended: a busy machine may
    bring the greeting so late. Both are of the process's own memory, so neither is worth more than the other.
    """
    stat = process.read_stat(hello.origin.pid)
    if stat is None or stat.state in "ZX":
        told = {name: value for name, value in hello.variables.items() if name in VARIABLES}
        return told or None
    return process.read_environ(hello.origin.pid, VARIABLES)


def _key(python: str, version: str, environment: Mapping[str, str]) -> str:
    """Interpreters of one key start alike: same program, same variables.

    Ranks may well have a cache of compiled code each: of those the first one's is looked at.
    """
    given = [(name, value) for name, value in sorted(environment.items()) if not name.endswith("CACHE_DIR")]
    return json.dumps([python, version, given])
