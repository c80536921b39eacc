"""The guard's state in one process: configuration, stream, counters. There is one session per process."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from .compiled import MAX_CONFIG, read_private
from .shield import Shield
from .stream import Stream

CONFIG_VARIABLE = "VERACITY_GUARD"
SAFETENSORS = "safetensors.torch"
DISTRIBUTED = (
    "torch.distributed.checkpoint.state_dict_saver",
    "torch.distributed.checkpoint.state_dict_loader",
)
"""These are watched from the moment on at which both they and torch have been imported."""
_IDS = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
    "MASTER_PORT",
)
MAX_VARIABLE = 4_096
_LAUNCHERS = ("torchrun", "torch.distributed.run", "torch.distributed.launch")


@dataclass(frozen=True, slots=True)
class Config:
    """What ``veracity run`` wrote for the guard (``guard.json``, mode 0600)."""

    run: str
    archive: str
    socket: str
    spool: str
    key: bytes
    known_bytecode: str
    overhead: float = 0.01
    attention: str = ""
    variables: tuple[str, ...] = ()
    enforces: bool = False
    """Whether nothing is loaded that the monitor has not allowed."""
    answer_within: float = 300.0
    """Seconds for which a load waits for the monitor's word."""


def read_config(path: str) -> Config:
    """The configuration at ``path``; raises OSError, ValueError or KeyError when it is not usable."""
    raw = json.loads(read_private(path, MAX_CONFIG))
    return Config(
        run=str(raw["run"]),
        archive=str(raw["archive"]),
        socket=str(raw["socket"]),
        spool=str(raw["spool"]),
        key=bytes.fromhex(raw["key"]),
        known_bytecode=str(raw["known_bytecode"]),
        overhead=min(1.0, max(0.0, float(raw.get("overhead", 0.01)))),
        attention=str(raw.get("attention", "")),
        variables=tuple(str(name) for name in raw.get("variables", ())),
        enforces=raw.get("enforces") is True,
    )


class Session:
    """Ships records of this process. A forked child that trains gets a stream of its own."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.shield = Shield()
        self.shield.report = self._report_failure
        self.stream = Stream(config.spool, config.socket)
        self.steps = 0
        self.last_step = -1
        self._began = self._ended = (0, 0)
        self.arrivals: dict[str, Callable[[ModuleType], None]] = {}
        self.farewell: Callable[[], None] | None = None
        self.waiting: Callable[[], None] | None = None
        """Ships what was held back, before anything else is shipped."""
        self._greeting: dict[str, object] | None = None
        self._variables = _given(config.variables)

    def emit(self, kind: str, body: Mapping[str, object], blob: bytes = b"") -> None:
        """Ship one record of ``kind`` (see ``core.wiremap``)."""
        self._before_shipping()
        self.stream.send(kind, time.time_ns(), body, blob)

    def emit_all(self, kind: str, records: Sequence[tuple[Mapping[str, object], memoryview]]) -> None:
        """Ship many records of ``kind``, bodies and blobs, at one time."""
        self._before_shipping()
        self.stream.burst(kind, time.time_ns(), records)

    def _before_shipping(self) -> None:
        if os.getpid() != self.stream.pid:
            self._begin_in_child()
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting()

    def arrived(self, module: ModuleType) -> None:
        """A module that is watched when torch is there has been imported (it imports torch itself)."""
        watch = self.arrivals.pop(module.__name__, None)
        if watch is not None:
            self.shield.run("checkpoint", watch, module)

    def greet(self, torch_version: str, numerics: dict[str, str]) -> None:
        """Say hello: who this process is and which torch it runs."""
        self._greeting = {
            "ppid": os.getppid(),
            "role": role_of_process(),
            "executable": sys.executable or "",
            "python": sys.version.split()[0],
            "torch": torch_version,
            "optimize": sys.flags.optimize,
            "ids": {name: os.environ[name] for name in _IDS if name in os.environ},
            "numerics": numerics,
            "variables": self._variables,
        }
        self.stream.greet(time.time_ns(), self._greeting)

    def stepped(self, step: int) -> None:
        """An optimizer has made its step number ``step``."""
        self.steps += 1
        self.last_step = step
        self._ended = time.perf_counter_ns(), self.shield.spent
        if self.steps == 1:
            self._began = self._ended

    def say_goodbye(self) -> None:
        """The last record of a process that ends in order."""
        if os.getpid() != self.stream.pid or self._greeting is None:
            return
        if self.farewell is not None:
            self.shield.run("unpickling", self.farewell)
        body: dict[str, object] = {
            "records": self.stream.sent,
            "dropped": self.stream.dropped,
            "steps": self.steps,
            "trained": self._ended[0] - self._began[0],
            "spent": self._ended[1] - self._began[1],
        }
        self.emit("bye", body)

    def gap(self, what: str, reason: str, *, law: str = "", stops: bool = False, remedy: str = "") -> None:
        """Report something that could not be observed."""
        self.emit("gap", {"what": what, "reason": reason, "remedy": remedy, "law": law, "stops": stops})

    def _begin_in_child(self) -> None:
        self.stream = Stream(self.config.spool, self.config.socket)
        if self._greeting is not None:
            self._greeting = {**self._greeting, "ppid": os.getppid(), "role": role_of_process()}
            self.stream.greet(time.time_ns(), self._greeting)

    def _report_failure(self, site: str, message: str, rests: bool) -> None:
        what = f"the guard failed in {site}" + (" and rests there" if rests else "")
        self.gap(what, message, law=LAW_OF_SITE.get(site, ""), stops=rests)


LAW_OF_SITE = {
    "step": "update",
    "gradient": "gradient-continuity",
    "gradient root": "gradient-truth",
    "loader": "data-order",
    "data content": "data-content",
    "scheduler": "schedule",
    "checkpoint": "weight-continuity",
    "unpickling": "load",
    "asking": "load",
    "modules": "code-identity",
    "functions": "code-identity",
    "channels": "channels",
}


def _given(names: tuple[str, ...]) -> dict[str, str]:
    """Which of ``names`` the environment has, with their values, as text that can be recorded."""
    found = ((name, os.environ[name]) for name in names if name in os.environ)
    return {name: value[:MAX_VARIABLE].encode("utf-8", "replace").decode() for name, value in found}


def role_of_process() -> str:
    """``launcher`` for torchrun's agent, ``child`` for a multiprocessing child, else ``rank``."""
    words = list(getattr(sys, "orig_argv", ()))[:6]
    if "RANK" not in os.environ and any(
        os.path.basename(word) in _LAUNCHERS or word in _LAUNCHERS for word in words
    ):
        return "launcher"
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        return "child"
    if "--multiprocessing-fork" in words:
        return "child"
    return "rank"
