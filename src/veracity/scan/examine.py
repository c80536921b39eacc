"""An environment judged: each file beside its archive, each .pyc, and all that runs at start-up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.coverage import Coverage
from ..core.finding import Finding
from ..core.observation import DistributionCompared, Gap, Observation
from ..core.origin import monitor_origin
from ..detect.detector import Detector
from ..detect.registry import AT_REST
from ..observe.interpreter import PythonEnvironment
from ..observe.pyenv import RecordIndex
from ..observe.startup import VARIABLES, Interpreter, StartupReader
from .archives import Archives
from .bytecode import BytecodeCheck, Programs
from .environment import EnvironmentCheck, Tree
from .launch import find_elsewhere, find_launch
from .native import NativeCheck
from .strays import LAW


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found, how much was checked, what could not be observed, each distribution's standing."""

    findings: tuple[Finding, ...]
    coverage: Mapping[str, Coverage]
    gaps: tuple[Gap, ...]
    distributions: tuple[DistributionCompared, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every distribution that has an archive was compared, and nothing stayed unread."""
        absent = any(one.standing == "absent" for one in self.distributions)
        return not absent and not self.gaps


@dataclass(frozen=True, slots=True)
class Asked:
    """What an environment is compared with.

    ``archives`` None: nothing vouches for files, and only bytecode and start-up are looked at. ``variables``:
    those that programs of this environment are started with. ``package`` of Veracity lies in ``code``, which
    the environment's interpreter imports to compile. ``cache``: the home's. ``native``: the check that was
    asked for the libraries outside, None when nobody asked.
    """

    archives: Archives | None
    variables: Mapping[str, str]
    code: Path
    package: str
    cache: Path
    native: NativeCheck | None = None


def examine(
    environment: PythonEnvironment,
    trees: Mapping[str, Tree],
    asked: Asked,
    progress: Callable[[str, int], object] | None = None,
) -> Examined:
    """Judge an environment whose folders (path → what was read there) were read before."""
    detectors = [one() for one in AT_REST]
    taking: dict[type[Observation], list[Detector]] = {}
    for detector in detectors:
        for kind in detector.takes:
            taking.setdefault(kind, []).append(detector)
    findings: list[Finding] = []
    gaps: list[Gap] = []
    distributions: list[DistributionCompared] = []
    for observation in _observed(environment, trees, asked, progress):
        if isinstance(observation, Gap):
            gaps.append(observation)
        if isinstance(observation, DistributionCompared):
            distributions.append(observation)
        for detector in taking.get(type(observation), ()):
            findings += detector.observe(observation)
    for detector in detectors:
        findings += detector.finish()
    coverage: dict[str, Coverage] = {}
    for detector in detectors:
        part = detector.coverage()
        if part.law in coverage:
            coverage[part.law].merge(part)
        else:
            coverage[part.law] = part
    return Examined(tuple(findings), coverage, tuple(gaps), tuple(distributions))


def _observed(
    environment: PythonEnvironment,
    trees: Mapping[str, Tree],
    asked: Asked,
    progress: Callable[[str, int], object] | None,
) -> Iterator[Observation]:
    if asked.archives is None:
        what = "no installed file was compared with an archive"
        origin = monitor_origin(time.time_ns())
        yield Gap(
            origin,
            what,
            "nothing says what may be installed",
            remedy="name a lock or wheels: --lock FILE, --wheels DIR",
            law=LAW,
        )
    programs = Programs(
        environment.python, environment.version, asked.code, asked.package, os.cpu_count() or 1
    )
    commands: set[str] = set()
    as_archived: set[str] = set()
    for folder, tree in trees.items():
        vouched: set[str] = set()
        if folder in environment.sites and asked.archives is not None:
            check = EnvironmentCheck(environment, folder, tree, asked.archives)
            yield from check.run()
            vouched = check.vouched
            commands |= check.commands
            as_archived |= {os.path.join(folder, path) for path in vouched if ".so" in path}
        compare = BytecodeCheck(folder, tree, programs, asked.cache, vouched)
        yield from compare.run(
            None if progress is None else lambda done: progress(".pyc files compiled", done)
        )
    yield from find_launch(environment, None if asked.archives is None else commands)
    yield from startup(environment, asked.variables)
    if asked.native is not None:
        yield from asked.native.run(as_archived)


def startup(environment: PythonEnvironment, variables: Mapping[str, str]) -> Sequence[Observation]:
    """What a program of this environment would execute before its first line."""
    given = {name: variables[name] for name in VARIABLES if name in variables}
    interpreter = Interpreter(environment.python, environment.version, given, uid=os.getuid())
    reader = StartupReader(interpreter, RecordIndex(environment.sites), monitor_origin(time.time_ns()))
    return [*reader.read(), *reader.gaps(), *find_elsewhere(variables)]
