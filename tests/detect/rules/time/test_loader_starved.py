"""Training that waits for its data: because workers sleep, because it became so, or because it always did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from veracity.core.finding import Finding
from veracity.core.observation import BatchesDrawn, Observation, StackFrame, StepRecord, WorkersSeen
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Confidence, Severity
from veracity.detect.rules.time.loader_starved import MAX_PROCESSES, LoaderStarved

MS = 1_000_000
SLEEP = StackFrame("/home/u/data.py", 14, "__getitem__", "time.sleep(0.05)")


def origin(pid: int = 7) -> Origin:
    return Origin("guard", Trust.USERLAND, pid, 0, 0, 0)


def step(number: int, data: int, rest: int = 20, pid: int = 7) -> StepRecord:
    phases = {"data": data * MS, "forward": rest * MS, "backward": 0, "optimizer": 0, "other": 0}
    return StepRecord(origin(pid), 0, number, [], phases, 1.0, 1, {}, [], [], None, None, False, False, [])


def asleep(number: int, frames: Iterable[StackFrame] = (SLEEP,)) -> WorkersSeen:
    return WorkersSeen(origin(), 2, 1, number, list(frames))


def judged(observations: Iterable[Observation]) -> list[Finding]:
    detector = LoaderStarved()
    return [finding for one in observations for finding in detector.observe(one)]


def waiting(steps: int, data: int, *, sleeps: int = 0) -> Iterator[Observation]:
    for number in range(steps):
        if sleeps and number % sleeps == 0:
            yield asleep(number)
        yield step(number, data)


def test_workers_that_sleep_are_charged_to_their_line() -> None:
    (finding,) = judged(waiting(80, 40, sleeps=5))
    assert finding.severity is Severity.WARNING
    assert (finding.locations[0].path, finding.locations[0].line) == (SLEEP.path, SLEEP.line)
    assert SLEEP.source in finding.evidence[0].excerpt[0]


def test_a_line_of_the_standard_library_is_not_the_place() -> None:
    waits = StackFrame("/usr/lib/python3.11/multiprocessing/connection.py", 5, "wait", "")

    def records() -> Iterator[Observation]:
        for number in range(60):
            yield asleep(number, [waits])
            yield step(number, 40)

    (finding,) = judged(records())
    assert finding.locations == ()


def test_looks_are_counted_for_as_long_as_the_waiting_lasts() -> None:
    (finding,) = judged(waiting(200, 40, sleeps=30))
    assert finding.first_step is not None
    assert 60 <= finding.first_step <= 90


def test_looks_of_an_earlier_waiting_are_not_counted() -> None:
    def records() -> Iterator[Observation]:
        for number in range(400):
            if number % 45 == 0:
                yield asleep(number)
            yield step(number, 1 if number % 90 >= 60 else 40)

    assert judged(records()) == []


def test_workers_that_sleep_while_nobody_waits_for_them_are_none() -> None:
    assert judged(waiting(200, 1, sleeps=2)) == []


def test_data_that_was_always_slow_is_no_finding() -> None:
    assert judged(waiting(300, 60)) == []


def test_data_that_became_slow_is_one_of_low_confidence() -> None:
    found = judged([*waiting(100, 0), *(step(100 + number, 60) for number in range(60))])
    assert [(finding.severity, finding.confidence) for finding in found] == [
        (Severity.WARNING, Confidence.LOW)
    ]
    assert found[0].first_step is not None
    assert 76 <= found[0].first_step <= 100


def test_epochs_that_begin_slowly_are_none() -> None:
    records = (step(number, 900 if number % 30 == 0 else 0) for number in range(300))
    assert judged(records) == []
    few = (step(number, 800 if number % 4 == 0 else 0) for number in range(300))
    assert judged(few) == [], "a few long waits are not starvation, whatever their share"


def test_waits_too_short_to_matter_are_none() -> None:
    def records() -> Iterator[Observation]:
        for number in range(100):
            yield asleep(number)
            phases = {"data": MS // 2, "forward": MS // 4}
            yield StepRecord(
                origin(), 0, number, [], phases, 1.0, 1, {}, [], [], None, None, False, False, []
            )

    assert judged(records()) == []


def test_an_evaluation_that_reads_slowly_is_none() -> None:
    def records() -> Iterator[Observation]:
        for number in range(100):
            yield asleep(number)
            for loader in (0, 1):
                yield BatchesDrawn(origin(), loader, 0, 0, [], number + 1, [], False)
            yield step(number, 80)

    assert judged(records()) == []


def test_processes_are_bounded() -> None:
    detector = LoaderStarved()
    for pid in range(MAX_PROCESSES + 50):
        list(detector.observe(step(20, 10, pid=pid)))
    assert len(detector._ranks) == MAX_PROCESSES
