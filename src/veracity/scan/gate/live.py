"""The environment that will load the scanned files: is what they name there what its makers defined?

Files are judged by a policy of names. That is right where each name is what its makers made it, and here that
is looked at, for one environment: from its files, with nothing of it imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core.finding import Finding
from ...core.observation import DefiningFile, Gap, GlobalDefined, Observation
from ...core.origin import monitor_origin
from ...core.permit import Definer
from ...core.persona import Persona
from ...core.picklepolicy import Key, PicklePolicy, SitePermits
from ...detect.detector import Detector
from ...detect.rules.checkpoint.global_redefined import GlobalRedefined
from ...detect.rules.environment.bytecode_differs import BytecodeDiffers
from ...detect.rules.environment.file_stray import FileStray
from ...detect.rules.environment.preload_unowned import PreloadUnowned
from ...detect.rules.environment.startup_unowned import StartupUnowned
from ...observe.definition.definitions import Definition, Definitions
from ...observe.interpreter import find_environment
from ...observe.pickle.policy import permitted
from ..archives import Archives
from ..launch import find_elsewhere, find_launch
from .livearchives import ArchivedFiles
from .livebytecode import forged_of
from .result import FileResult, Missed

FORMAT = "environment"
"""What the result about the environment says it was read as."""
_AS_IT_LIES = ("library", "interpreter", "listed")
"""How files stand that are somebody's, and of which nobody has a digest."""
_REMEDY = "name the environment that loads the file, or ask about it when it is as it should be"
_UNOWNED = "install it from an archive, or bind a permit for the name to the digest of the file"


@dataclass(frozen=True, slots=True)
class Caches:
    """``home``: the home's folder of what was compared before. ``package`` of Veracity lies in ``code``."""

    home: Path
    code: Path
    package: str


class LiveEnvironment:
    """The environment of the interpreter at ``python``; raises UsageError when there is none.

    ``archives``: what its packages were installed from; without, their RECORDs say how files should be.
    """

    def __init__(
        self, python: Path, variables: Mapping[str, str], caches: Caches, archives: Archives | None = None
    ) -> None:
        self._origin = monitor_origin(time.time_ns(), source="scan")
        self._environment = find_environment(python, variables)
        self._definitions = Definitions(self._environment, variables, self._origin)
        self._variables = variables
        self._caches = caches
        self._archived = None if archives is None else ArchivedFiles(self._environment.sites, archives)

    def definers(self, keys: Sequence[Key]) -> dict[Key, Definer]:
        """The file that defines each of these globals, or why that cannot be told."""
        found = {}
        for key in keys:
            one = self._definitions.of(key)
            doubt = next(iter(one.doubts), "" if one.definer else "it is imported through too many modules")
            if one.replaced:
                doubt = f"{one.replaced[0].path}:{one.replaced[0].line} replaces it at the start"
            if one.definer is None:
                found[key] = Definer("", "", doubt)
            else:
                found[key] = Definer(one.definer.path, one.definer.sha256, doubt)
        return found

    def judged(self, results: Sequence[FileResult], site: SitePermits, persona: Persona) -> list[FileResult]:
        """``results`` with what is found about the globals that they name, and one about the environment."""
        keys = dict.fromkeys(key for one in results for key in one.named)
        definitions = {key: self._beside_archives(self._definitions.of(key)) for key in keys}
        files = {each.path: each for one in definitions.values() for each in one.files}
        sources = [*files, *(item.path for item in self._definitions.startup if item.path.endswith(".py"))]
        compared = list(
            forged_of(self._environment, sources, self._caches.home, self._caches.code, self._caches.package)
        )
        forged = {
            one.source: one.path for one in compared if not isinstance(one, Gap) and one.standing == "forged"
        }
        policy = permitted(self._origin, site).policy
        told = [self._of_file(one, definitions, forged, policy, site, persona) for one in results]
        return [*told, self._of_environment(compared, tuple(files.values()), persona)]

    def _beside_archives(self, one: Definition) -> Definition:
        if self._archived is None:
            return one
        compared = [self._archived.beside(each) for each in one.files]
        reasons = dict.fromkeys(reason for _, reason in compared if reason)
        return replace(one, files=tuple(each for each, _ in compared), doubts=(*one.doubts, *reasons))

    def _of_file(
        self,
        result: FileResult,
        definitions: Mapping[Key, Definition],
        forged: Mapping[str, str],
        policy: PicklePolicy,
        site: SitePermits,
        persona: Persona,
    ) -> FileResult:
        if not result.named:
            return result
        detector = GlobalRedefined()
        doubts: dict[tuple[str, str], list[Key]] = {}
        for key in result.named:
            one = definitions[key]
            list(detector.observe(self._observation(result.path, key, one, forged)))
            if policy.entry(key) is None:
                continue  # that it is not permitted is told already, whatever it is there
            for doubt in one.doubts:
                doubts.setdefault((doubt, _REMEDY), []).append(key)
            if key not in site.free and key not in site.bound:
                for path in one.unowned:
                    said = f"nothing vouches for {path}, which belongs to no package"
                    doubts.setdefault((said, _UNOWNED), []).append(key)
        found = tuple(one for one in detector.finish() if persona.sees(one))
        missed = tuple(
            Missed(f"what {_named(keys)} in {self._environment.python}", reason, remedy)
            for (reason, remedy), keys in doubts.items()
        )
        return replace(result, findings=(*result.findings, *found), missed=(*result.missed, *missed))

    def _observation(self, path: str, key: Key, one: Definition, forged: Mapping[str, str]) -> GlobalDefined:
        files = tuple(_with_bytecode(each, forged) for each in one.files)
        return GlobalDefined(
            self._origin, path, *key, self._environment.python, files, one.replaced, one.beside
        )

    def _of_environment(
        self, compared: Sequence[Observation], files: Sequence[DefiningFile], persona: Persona
    ) -> FileResult:
        """What starts with every program of the environment, and which of it could not be read."""
        observed = [
            *self._definitions.startup,
            *self._definitions.gaps,
            *find_launch(self._environment, None),
            *find_elsewhere(self._variables),
            *compared,
        ]
        missed = tuple(Missed(one.what, one.reason, one.remedy) for one in observed if isinstance(one, Gap))
        findings = tuple(one for one in _judge(observed) if persona.sees(one))
        inputs = len(files) + len(self._definitions.startup)
        unvouched = sum(one.standing in _AS_IT_LIES for one in files)
        python = self._environment.python
        return FileResult(python, 0, findings, missed, (FORMAT,), inputs, unvouched=unvouched)


def _judge(observed: Sequence[Observation]) -> Iterator[Finding]:
    detectors: tuple[Detector, ...] = (StartupUnowned(), PreloadUnowned(), FileStray(), BytecodeDiffers())
    for detector in detectors:
        for one in observed:
            if type(one) in detector.takes:
                yield from detector.observe(one)
        yield from detector.finish()


def _with_bytecode(one: DefiningFile, forged: Mapping[str, str]) -> DefiningFile:
    found = forged.get(one.path, "")
    return replace(one, bytecode=found) if found else one


def _named(keys: Sequence[Key]) -> str:
    first = ascii(f"{keys[0][0]}.{keys[0][1]}"[:200])[1:-1]
    return f"{first} is" if len(keys) == 1 else f"{first} and {len(keys) - 1} more are"
