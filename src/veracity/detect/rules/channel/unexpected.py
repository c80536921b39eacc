"""A way out of the process that was not open before: listed, and a warning where altered code opened it.

## The law

Channels: no unexpected socket or process of the job.

## What breaks it

Code that calls home, fetches its orders or starts helpers, hidden in a file that everybody imports.

## How it is checked

The guard hears of sockets and programs from the interpreter, with the lines that led there; the monitor looks
at the sockets and children of the job from outside. None of it is an accusation: trackers, compilers, data
sets on the network, `git` and the collectives of a job all do this. A *warning* is a socket or program that
appears after the first steps and comes from an installed file that is altered, or that no distribution
records. Listed as *notes*, the first time only: what the program's own code opens after the first steps, and,
from outside, programs and network addresses for which no call of Python was heard. What recorded
distributions do, loopback, and all that is open before the first steps are not listed.

## What fools it

Ways out that are opened before the first steps, or through libraries as installed. Sockets that open and
close between two looks of the monitor and are opened by native code. Other nodes' addresses are not told
apart from strangers' by their look, so private addresses are not listed where a job spans nodes.

## What to do

Open the line. A note needs no action if the program is meant to do so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.coverage import Coverage
from ....core.finding import Evidence, Finding, finding_of
from ....core.observation import (
    ChannelUsed,
    Hello,
    ModuleChecked,
    Observation,
    ProcessAppeared,
    SocketsSeen,
)
from ....core.rule import Confidence, Rule, Severity
from .callers import builds, is_installed, place_of, said, stack

WARM_STEPS = 5
MAX_NOTES = 30
MAX_WAITING = 256
MAX_HEARD = 4096
MAX_MODULES = 50_000
_SUSPECT = ("altered", "unrecorded", "elsewhere")
_TOOLS = frozenset(
    {
        *(
            "sh",
            "bash",
            "dash",
            "env",
            "git",
            "uname",
            "hostname",
            "ldconfig",
            "lscpu",
            "lspci",
            "nvidia-smi",
        ),
        *(
            "rocm-smi",
            "gcc",
            "g++",
            "cc",
            "c++",
            "cc1",
            "cc1plus",
            "as",
            "ld",
            "collect2",
            "clang",
            "clang++",
        ),
        *("nvcc", "ptxas", "cuobjdump", "nvdisasm", "ninja", "cmake", "make", "addr2line", "llvm-symbolizer"),
        *("ffmpeg", "ffprobe", "tar", "gzip", "unzip", "rm", "cp", "mv", "ls", "ps", "df", "du", "cat"),
    }
)
_LOCAL = ("127.", "::1:", "0.0.0.0:")
_PRIVATE = ("10.", "192.168.", "169.254.", "fd", "fe80:", *(f"172.{number}." for number in range(16, 32)))


class Unexpected:
    """Waits with each call until the monitor has said what the calling file is."""

    rule: ClassVar[Rule] = Rule(
        "channel-unexpected",
        "channels",
        "A way out of the process that was not open before",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    takes: ClassVar[tuple[type[Observation], ...]] = (
        ChannelUsed,
        Hello,
        ModuleChecked,
        ProcessAppeared,
        SocketsSeen,
    )

    def __init__(self) -> None:
        self._coverage = Coverage(self.rule.law, "looks")
        self._modules: dict[str, str] = {}
        self._waiting: list[ChannelUsed] = []
        self._heard: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._notes = 0
        self._nodes = 1
        self._addresses: set[str] = set()

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Take in what is open, and who is who."""
        if isinstance(observation, ModuleChecked):
            if len(self._modules) < MAX_MODULES:
                self._modules[observation.path] = observation.source
            known = [one for one in self._waiting if one.frames[0].path == observation.path]
            if known:
                self._waiting = [one for one in self._waiting if one.frames[0].path != observation.path]
                for one in known:
                    yield from self._used(one, observation.source)
        elif isinstance(observation, ChannelUsed):
            yield from self._channel(observation)
        elif isinstance(observation, SocketsSeen):
            why = "" if observation.readable else "the descriptors of a process could not be read"
            self._coverage.count(checked=observation.readable, reason=why)
            yield from self._sockets(observation)
        elif isinstance(observation, ProcessAppeared):
            yield from self._process(observation)
        elif isinstance(observation, Hello):
            world, local = (observation.ids.get(name, "1") for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
            self._nodes = 2 if world != local and "LOCAL_WORLD_SIZE" in observation.ids else self._nodes

    def _channel(self, used: ChannelUsed) -> Iterator[Finding]:
        if used.kind in ("connect", "spawn") and len(self._heard) < MAX_HEARD:
            self._heard.add(used.target if used.kind == "connect" else used.target.rpartition("/")[2])
        if used.kind not in ("connect", "bind", "spawn") or used.step < WARM_STEPS or not used.frames:
            return
        path = used.frames[0].path
        source = self._modules.get(path)
        if "/torch/" in path:
            return  # judged by the rules for loads and steps; compilers and collectives are torch's own
        if source is None and is_installed(path) and len(self._waiting) < MAX_WAITING:
            self._waiting.append(used)
        else:
            yield from self._used(used, source or "")

    def _used(self, used: ChannelUsed, source: str) -> Iterator[Finding]:
        path = used.frames[0].path
        installed = is_installed(path)
        if installed and source in _SUSPECT:
            yield from self._tell(used, Severity.WARNING, f"{path}, which is {source} in its environment,")
        elif not installed and not builds(used.frames) and not _is_local(used):
            yield from self._tell(used, Severity.NOTE, path)

    def _tell(self, used: ChannelUsed, severity: Severity, who: str) -> Iterator[Finding]:
        key = (used.kind, f"{used.frames[0].path}:{used.frames[0].line}")
        if key in self._told or not self._may_tell(severity):
            return
        self._told.add(key)
        yield finding_of(
            self.rule,
            f"{used.kind} {used.target}",
            f"{who} {said(used)}, the first time after step {used.step}",
            rank=used.origin.rank,
            first_step=used.step,
            locations=place_of(used.frames),
            evidence=(
                Evidence("call", expected="not needed in the steps before", observed=said(used)),
                stack(used.frames),
            ),
            severity=severity,
        )

    def _sockets(self, seen: SocketsSeen) -> Iterator[Finding]:
        for kind, _, remote in (one for one in seen.sockets if len(one) == 3):
            host = remote.rpartition(":")[0]
            if not remote or remote.startswith(_LOCAL) or host in self._addresses or kind == "unix":
                continue
            if len(self._addresses) < MAX_HEARD:
                self._addresses.add(host)
            if self._nodes > 1 and host.startswith(_PRIVATE):
                self._coverage.skip("private addresses are not listed where a job spans nodes")
                continue
            if seen.step < WARM_STEPS or remote in self._heard or not self._may_tell(Severity.NOTE):
                continue
            yield finding_of(
                self.rule,
                f"{kind} {host}",
                f"process {seen.origin.pid} is connected to {remote}, and no call of Python was heard for it",
                rank=seen.origin.rank,
                first_step=seen.step,
                severity=Severity.NOTE,
            )

    def _process(self, seen: ProcessAppeared) -> Iterator[Finding]:
        program = seen.program.removesuffix(" (deleted)").rpartition("/")[2]
        if seen.fork or seen.parent_role != "rank" or seen.step < WARM_STEPS:
            return
        known = program in _TOOLS or program in self._heard or program.startswith("python")
        words = {word.rpartition("/")[2] for word in seen.command.split()[:3]}
        if known or words & self._heard or ("process", program) in self._told:
            return
        if not self._may_tell(Severity.NOTE):
            return
        self._told.add(("process", program))
        yield finding_of(
            self.rule,
            f"process {program}",
            f"a rank's process started {seen.program} after step {seen.step}, "
            "and no call of Python was heard for it",
            first_step=seen.step,
            evidence=(Evidence("command", observed=seen.command),),
            severity=Severity.NOTE,
        )

    def _may_tell(self, severity: Severity) -> bool:
        if severity is not Severity.NOTE:
            return True
        self._notes += 1
        if self._notes > MAX_NOTES:
            self._coverage.skip(f"more than {MAX_NOTES} ways out: the rest is not listed")
        return self._notes <= MAX_NOTES

    def finish(self) -> Iterator[Finding]:
        """What the monitor never said anything about is judged as if it were recorded."""
        self._waiting = []
        yield from ()

    def coverage(self) -> Coverage:
        """Looks at the descriptors of the job's processes."""
        return self._coverage


def _is_local(used: ChannelUsed) -> bool:
    """Loopback and sockets in the file system lead nowhere."""
    if used.kind == "spawn":
        return used.target.rpartition("/")[2] in _TOOLS
    return used.target.startswith((*_LOCAL, "localhost:", "/", "\0")) or ":" not in used.target
