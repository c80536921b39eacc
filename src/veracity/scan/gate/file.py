"""One file through the gate: opened once, read by its descriptor or its URL, and watched for changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...core.errors import EvidenceError
from ...core.persona import Persona
from ...core.picklepolicy import NO_PERMITS, SitePermits
from ...core.quantity import quantity
from ...observe.artifact.beside import Folder
from ...observe.artifact.budget import MAX_SECONDS, MAX_UNPACKED, Budget
from ...observe.artifact.input import BytesSource, Input, Source, open_file
from ...observe.artifact.reading import HEAD
from ...observe.artifact.url import is_url, shown
from .beginnings import anything
from .detectors import asked_about
from .examine import examine
from .promise import broken_promise
from .readers import READERS, Deferred, readers_with
from .result import FileResult, Missed

SMALL = 1 << 20
"""Bytes up to which a file is read at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one file is read.

    ``digest``: its SHA-256 is wanted. ``seconds`` and ``unpacked`` bound it. ``persona``: who is shown what.
    ``permits``: what a site says of globals in pickles. ``names``: those that it names are wanted.
    """

    digest: bool = False
    seconds: float = MAX_SECONDS
    unpacked: int = MAX_UNPACKED
    persona: Persona = Persona.REGULAR
    permits: SitePermits = NO_PERMITS
    names: bool = False

    def budget(self) -> Budget:
        """A new budget for one file."""
        return Budget(seconds=self.seconds, unpacked=self.unpacked)


class _Opened(Source, Protocol):
    """A source that can say whether what it reads has changed since it was opened."""

    def has_changed(self) -> bool:
        """Whether it has; raises EvidenceError when that cannot be asked."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def prepare() -> None:
    """Import what nearly every file needs, before this process is copied: anything may be a pickle."""
    from ...core.observation import PickleRead

    asked_about(PickleRead)
    for one in READERS:
        if isinstance(one, Deferred) and one.begins is anything:
            one.reader()


def scan_file(named: str, settings: Settings) -> FileResult:
    """Read and judge the file at a path or URL, told as :func:`shown` has it. Never raises on any file."""
    begun = time.monotonic()
    path = shown(named)
    try:
        source = _open(named)
    except EvidenceError as error:
        return FileResult(path, missed=(_missed(path, error),))
    try:
        return judge_open(path, source, settings, begun)
    except EvidenceError as error:
        return FileResult(path, source.size, missed=(_missed(path, error),))
    finally:
        source.close()


def _open(named: str) -> _Opened:
    if not is_url(named):
        return open_file(named)
    from ...observe.artifact.remote import RemoteSource

    return RemoteSource(named)


def judge_open(path: str, source: _Opened, settings: Settings, begun: float, start: int = 0) -> FileResult:
    """Judge an open file, or what a program reads of it that begins at ``start``; raises EvidenceError.

    ``begun``: of :func:`time.monotonic`, when it was opened.
    """
    small = source.size <= SMALL
    held, digest = _digested(source, small) if settings.digest else (_held(source, small), str)
    readers, budget = readers_with(settings.permits), settings.budget()
    beside = None if is_url(path) else Folder(os.path.dirname(path) or os.curdir)
    whole = Input.of(path, held, beside)
    if start:
        whole = Input(f"{path} from byte {start}", held, start, max(0, held.size - start))
    read = examine(whole, readers, budget=budget, names=settings.names)
    missed = tuple(Missed(one.what, one.reason, one.remedy) for one in read.gaps)
    if read.more_gaps:
        more = quantity(read.more_gaps, "more place was", "more places were")
        missed += (Missed(path, f"{more} not read", "so many are not listed"),)
    promised = "" if read.formats or read.gaps else broken_promise(path, whole.read(0, HEAD))
    if promised:
        remedy = "find out what wrote it, and what is to open it"
        missed += (Missed(path, promised, remedy),)
    sha256 = ""
    try:
        sha256 = digest()
    except EvidenceError as error:
        missed += (_missed(path, error),)
    try:
        if not small and source.has_changed():
            missed += (Missed(path, "changed while it was read", "scan it when nobody writes to it"),)
    except EvidenceError as error:
        missed += (_missed(f"whether {path} changed while it was read", error),)
    return FileResult(
        path,
        source.size,
        tuple(one for one in read.findings if settings.persona.sees(one)),
        missed,
        tuple(read.formats),
        read.inputs,
        read.more,
        sha256,
        time.monotonic() - begun,
        named=tuple(read.named),
    )


def _held(source: Source, small: bool) -> Source:
    return BytesSource(source.read(0, source.size)) if small else source


def _digested(source: Source, small: bool) -> tuple[Source, Callable[[], str]]:
    """What readers read, and what tells its digest when they have."""
    from .digest import Digesting, digest_of  # which few scans ask for

    if small:
        data = source.read(0, source.size)
        return BytesSource(data), lambda: digest_of(data)
    digesting = Digesting(source)
    return digesting, digesting.digest


def _missed(path: str, error: EvidenceError) -> Missed:
    said = error.diagnostics()
    return Missed(path, said.what, said.remedy)
