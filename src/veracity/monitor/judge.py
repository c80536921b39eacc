"""Running the detectors over observations as they come, and asking them at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..core.coverage import PASSED, Coverage
from ..core.finding import Finding
from ..core.observation import FileScanned, Observation, StepsPassed
from ..core.rule import Severity
from ..core.verdict import Verdict, judge
from ..detect.detector import Detector

MAX_FINDINGS = 2000
MAX_PER_RULE = 100
COUNTED = ("steps", "calls")
"""Units of which a step that is passed over has one."""
OF_GROUPS = ("replica-agreement",)
"""Laws that count a step of all ranks once."""
MAX_PROCESSES = 4096


class Judge:
    """All detectors of one run. A detector that fails is switched off and its law counts as stopped."""

    def __init__(self, detectors: Iterable[type[Detector]]) -> None:
        self._detectors: list[Detector] = [kind() for kind in detectors]
        self._by_kind: dict[type[Observation], list[Detector]] = {}
        for detector in self._detectors:
            for kind in detector.takes:
                self._by_kind.setdefault(kind, []).append(detector)
        self._failed: dict[str, str] = {}
        self._per_rule: dict[tuple[str, str, str], int] = {}
        self._seen: set[tuple[str, int, str, int | None, Severity]] = set()
        self.findings: list[Finding] = []
        self.suppressed = 0
        self.stopped: list[str] = []
        self.ranks_expected = 1
        self.ranks_heard: set[int] = set()
        self._passed: dict[int, int] = {}

    def observe(self, observation: Observation) -> Iterator[Finding]:
        """Feed one observation to the detectors that take its kind; yields new findings."""
        if isinstance(observation, StepsPassed):
            pid = observation.origin.pid
            if pid in self._passed or len(self._passed) < MAX_PROCESSES:
                self._passed[pid] = self._passed.get(pid, 0) + observation.count
        if isinstance(observation, FileScanned):
            yield from self._new(observation.findings)  # the gate's detectors have judged it
        for detector in list(self._by_kind.get(type(observation), ())):
            found: list[Finding] = []
            try:
                found.extend(detector.observe(observation))
            except Exception as error:  # noqa: BLE001 - a detector's fault costs its law, not the run
                self._fail(detector, error)
            yield from self._new(found)

    def finish(self) -> Iterator[Finding]:
        """The run is over."""
        for detector in list(self._detectors):
            found: list[Finding] = []
            try:
                found.extend(detector.finish())
            except Exception as error:  # noqa: BLE001 - a detector's fault costs its law, not the run
                self._fail(detector, error)
            yield from self._new(found)

    def coverage(self) -> dict[str, Coverage]:
        """Coverage per law, over all its detectors."""
        merged: dict[str, Coverage] = {}
        for detector in list(self._detectors):
            try:
                part = detector.coverage()
            except Exception as error:  # noqa: BLE001 - a detector's fault costs its law, not the run
                self._fail(detector, error)
                continue
            if part.law in merged:
                _join(merged[part.law], part)
            else:
                merged[part.law] = Coverage(
                    part.law,
                    part.unit,
                    part.checked,
                    part.possible,
                    dict(part.reasons),
                    part.stopped,
                    part.drawn_from,
                    part.passed,
                )
        for part in merged.values():
            of_each = self._passed.values()
            passed = max(of_each, default=0) if part.law in OF_GROUPS else sum(of_each)
            if passed and part.possible and part.unit in COUNTED:
                part.possible += passed
                part.reasons[PASSED] = part.passed = passed
        for law, reason in self._failed.items():
            merged.setdefault(law, Coverage(law, "checks")).stopped = reason
        return merged

    def verdict(self, required: Sequence[str] | None = None) -> Verdict:
        """The verdict as things stand."""
        arguments = {} if required is None else {"required": required}
        return judge(
            self.findings,
            self.coverage(),
            ranks_expected=self.ranks_expected,
            ranks_heard=len(self.ranks_heard),
            stopped=self.stopped,
            **arguments,
        )

    def _fail(self, detector: Detector, error: Exception) -> None:
        self._detectors.remove(detector)
        for takers in self._by_kind.values():
            if detector in takers:
                takers.remove(detector)
        rule = detector.rule
        self._failed[rule.law] = f"the detector of {rule.id} failed: {type(error).__name__}: {error}"[:300]

    def _new(self, found: Iterable[Finding]) -> Iterator[Finding]:
        for finding in found:
            # The same again, but worse, is no repetition: what was a note may become more as steps go by.
            key = (finding.rule, finding.rank, finding.subject, finding.first_step, finding.severity)
            if key in self._seen:
                continue
            # Counted by severity: notes of a rule must not crowd out its errors.
            kind = (finding.rule, finding.severity.value, finding.confidence.value)
            count = self._per_rule.get(kind, 0)
            if count >= MAX_PER_RULE or len(self.findings) >= MAX_FINDINGS:
                self.suppressed += 1
                continue
            self._seen.add(key)
            self._per_rule[kind] = count + 1
            self.findings.append(finding)
            yield finding


def _join(whole: Coverage, part: Coverage) -> None:
    """Several rules may serve one law and look at the same units: the most thorough one counts."""
    if (part.checked, part.possible) > (whole.checked, whole.possible):
        whole.checked, whole.possible, whole.unit = part.checked, part.possible, part.unit
    whole.stopped = whole.stopped or part.stopped
    whole.drawn_from = max(whole.drawn_from, part.drawn_from)
    whole.passed = max(whole.passed, part.passed)
    for reason, times in part.reasons.items():
        whole.reasons[reason] = max(times, whole.reasons.get(reason, 0))
