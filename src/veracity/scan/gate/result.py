"""What a scan says of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.finding import Finding
from ...core.rule import Severity

CLEAN, FINDINGS, INCOMPLETE = "clean", "findings", "incomplete"


@dataclass(frozen=True, slots=True)
class Missed:
    """Something of a file that was not read, why, and what to do."""

    what: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A finding that is not counted: ``by`` says who or what set it aside, ``reason`` why."""

    finding: Finding
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file.

    ``findings`` count, those in ``aside`` do not. ``formats``: what it was read as, empty when nothing that
    is known would load it. ``inputs``: how many inputs it holds, itself included. ``sha256`` is empty when
    nobody asked for it. ``more``: findings beyond those kept. ``twin``: the name that it was read under.
    ``named``: the globals that its pickles name, when somebody asked for them. ``unvouched``: of an
    environment, files that define names and for which nothing vouches, which were taken as they are.
    """

    path: str
    size: int = 0
    findings: tuple[Finding, ...] = ()
    missed: tuple[Missed, ...] = ()
    formats: tuple[str, ...] = ()
    inputs: int = 0
    more: int = 0
    sha256: str = ""
    seconds: float = 0.0
    aside: tuple[SetAside, ...] = ()
    twin: str = ""
    named: tuple[tuple[str, str], ...] = ()
    unvouched: int = 0

    def status(self, threshold: Severity) -> str:
        """``findings`` at or above ``threshold``; else ``incomplete`` with some missed, or ``clean``."""
        if any(one.severity.weight >= threshold.weight for one in self.findings):
            return FINDINGS
        return INCOMPLETE if self.missed else CLEAN

    def setting_aside(self, those: Sequence[SetAside]) -> FileResult:
        """The same with findings set aside."""
        gone = {id(one.finding) for one in those}
        kept = tuple(one for one in self.findings if id(one) not in gone)
        return replace(self, findings=kept, aside=(*self.aside, *those))


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one scan.

    ``unknown``: files of no format that is known to be loaded, among the clean. ``may_be_empty``: that there
    is no file says nothing, as of a change without sources. ``left_out``: files and folders that patterns of
    the command or the configuration kept out. ``unvouched``: as of an environment's result.
    """

    files: int = 0
    clean: int = 0
    findings: int = 0
    incomplete: int = 0
    unknown: int = 0
    size: int = 0
    aside: int = 0
    may_be_empty: bool = False
    left_out: int = 0
    unvouched: int = 0

    @property
    def exit_code(self) -> int:
        """1 with findings, else 2 when something is incomplete or nothing was there, else 0."""
        if self.findings:
            return 1
        return 2 if self.incomplete or not (self.files or self.may_be_empty) else 0


def summarize(
    results: Sequence[FileResult], threshold: Severity, *, may_be_empty: bool = False, left_out: int = 0
) -> Summary:
    """Counts of ``results``."""
    statuses = [one.status(threshold) for one in results]
    return Summary(
        len(results),
        statuses.count(CLEAN),
        statuses.count(FINDINGS),
        statuses.count(INCOMPLETE),
        sum(not one.formats and status == CLEAN for one, status in zip(results, statuses, strict=True)),
        sum(one.size for one in results),
        sum(len(one.aside) for one in results),
        may_be_empty,
        left_out,
        sum(one.unvouched for one in results),
    )
