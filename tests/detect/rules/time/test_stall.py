"""Stalls that are charged to a line, and the many slow steps that are nobody's fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import (
    BatchesDrawn,
    CheckpointLoaded,
    CheckpointSaved,
    HostLoad,
    Observation,
    StackFrame,
    StackSampled,
    StacksUnavailable,
    StepRecord,
    StepsPassed,
)
from veracity.core.origin import Origin, Trust
from veracity.detect.rules.time.interval import MAX_SAMPLES
from veracity.detect.rules.time.stall import MAX_LINES, Stall

MS = 1_000_000
STEP = 40 * MS
SLEEP = StackFrame("/home/u/train.py", 31, "step", "time.sleep(0.1)")
SPIN = StackFrame("/home/u/train.py", 32, "step", "while time.perf_counter() < end:")
COMPUTE = StackFrame("/home/u/train.py", 33, "step", "loss = model(x)")
CALLER = StackFrame("/home/u/train.py", 90, "main", "step()")

Extra = Callable[[int], Iterable[Observation]]


def origin(pid: int = 7) -> Origin:
    return Origin("guard", Trust.USERLAND, pid, pid - 7, 0, 0)


def step(number: int, ns: int = STEP, pid: int = 7, optimizer: int = 0) -> StepRecord:
    phases = {"data": 0, "forward": ns // 2, "backward": ns - ns // 2, "optimizer": 0, "other": 0}
    return StepRecord(
        origin(pid), optimizer, number, [], phases, 1.0, 1, {}, [], [], None, None, False, False, []
    )


def sample(top: StackFrame, span: int = 100 * MS, *, asleep: bool, pid: int = 7) -> StackSampled:
    return StackSampled(origin(pid), 0, span, asleep, span, [top, CALLER])


def batches(loader: int, delivered: int) -> BatchesDrawn:
    return BatchesDrawn(origin(), loader, 0, 0, [], delivered, [], False)


def run(
    steps: int,
    stalls: Iterable[int],
    top: StackFrame,
    *,
    asleep: bool,
    ms: int = 100,
    extra: Extra = lambda _: (),
) -> Iterator[Observation]:
    """``steps`` steps; in each of ``stalls`` one sample of ``ms``, by which the step is longer."""
    stalled = set(stalls)
    for number in range(steps):
        if number in stalled:
            yield sample(top, ms * MS, asleep=asleep)
            yield from extra(number)
        yield step(number, STEP + (ms * MS if number in stalled else 0))


def judged(observations: Iterable[Observation]) -> list[Finding]:
    detector = Stall()
    found = [finding for one in observations for finding in detector.observe(one)]
    return found + list(detector.finish())


@pytest.mark.parametrize(("top", "asleep", "verb"), [(SLEEP, True, "sleeps"), (SPIN, False, "spins")])
def test_a_line_that_stalls_steps_is_found_once_with_its_place(
    top: StackFrame, asleep: bool, verb: str
) -> None:
    (finding,) = judged(run(200, range(20, 200, 20), top, asleep=asleep))
    assert finding.breaks
    assert finding.first_step == 20
    assert (finding.locations[0].path, finding.locations[0].line) == (top.path, top.line)
    assert verb in finding.message
    assert top.source in finding.evidence[0].excerpt[0]
    assert CALLER.source in finding.evidence[0].excerpt[1]


@pytest.mark.parametrize("asleep", [True, False])
def test_three_stalls_are_needed(asleep: bool) -> None:
    top = SLEEP if asleep else SPIN
    assert judged(run(60, [20, 40], top, asleep=asleep)) == []
    assert len(judged(run(60, [20, 30, 40], top, asleep=asleep))) == 1
    # Many samples within one step are one stall.
    many = run(60, [20, 40], top, asleep=asleep, extra=lambda _: [sample(top, asleep=asleep)] * 5)
    assert judged(many) == []


def test_one_per_cent_of_the_run_is_needed() -> None:
    stalls = range(100, 1000, 100)
    assert judged(run(1000, stalls, SLEEP, asleep=True, ms=20)) == []
    assert len(judged(run(1000, stalls, SLEEP, asleep=True, ms=60))) == 1


def test_two_lines_are_two_findings() -> None:
    def other(number: int) -> list[Observation]:
        return [sample(SPIN, asleep=False)]

    found = judged(run(100, range(10, 100, 10), SLEEP, asleep=True, extra=other))
    assert {finding.locations[0].line for finding in found} == {SLEEP.line, SPIN.line}


@pytest.mark.parametrize(("top", "asleep"), [(SLEEP, True), (SPIN, False)])
def test_beside_a_check_only_who_sleeps_is_told(top: StackFrame, asleep: bool) -> None:
    """How long a step takes by itself is not known where a check ran its forward pass again."""
    checked = [
        replace(one, phases={**one.phases, "guard": STEP}) if isinstance(one, StepRecord) else one
        for one in run(60, [10, 20, 30], top, asleep=asleep)
    ]
    assert [one.first_step for one in judged(checked)] == ([10] if asleep else [])


def test_ranks_are_charged_apart() -> None:
    def two() -> Iterator[Observation]:
        for number in range(60):
            if number in (20, 40):
                for pid in (7, 8):
                    yield sample(SLEEP, asleep=True, pid=pid)
            yield step(number, pid=7)
            yield step(number, pid=8)

    assert judged(two()) == []


# --- clean twins ---------------------------------------------------------------------------------

OFTEN = range(10, 100, 10)


def test_a_line_that_computes_is_no_stall() -> None:
    assert judged(run(100, OFTEN, COMPUTE, asleep=False)) == []


def test_a_sleep_before_the_rhythm_is_known_is_no_stall() -> None:
    assert judged(run(100, range(5), SLEEP, asleep=True)) == []


def test_an_evaluation_is_no_stall() -> None:
    delivered = {0: 0, 1: 0}

    def both_loaders(number: int) -> list[Observation]:
        delivered[0], delivered[1] = delivered[0] + 1, delivered[1] + 10
        return [batches(0, delivered[0]), batches(1, delivered[1])]

    assert judged(run(100, OFTEN, SLEEP, asleep=True, extra=both_loaders)) == []
    assert judged(run(100, OFTEN, SPIN, asleep=False, extra=both_loaders)) == []


def test_batches_of_the_one_loader_excuse_nothing() -> None:
    def one_loader(number: int) -> list[Observation]:
        return [batches(0, number)]

    assert len(judged(run(100, OFTEN, SLEEP, asleep=True, extra=one_loader))) == 1

    # A loader that delivered nothing meanwhile was not iterated.
    def idle_second(number: int) -> list[Observation]:
        return [batches(0, number), batches(1, 0)]

    assert len(judged(run(100, OFTEN, SLEEP, asleep=True, extra=idle_second))) == 1


@pytest.mark.parametrize(
    "event",
    [
        CheckpointSaved(origin(), "/tmp/a.pt", 1, [], False),
        CheckpointLoaded(origin(), "/tmp/a.pt", 1, [], False),
    ],
)
def test_saving_and_loading_are_no_stall(event: Observation) -> None:
    assert judged(run(100, OFTEN, SLEEP, asleep=True, extra=lambda _: [event])) == []


@pytest.mark.parametrize("room", ["_dynamo", "_inductor", "_functorch"])
def test_a_compilation_is_no_stall(room: str) -> None:
    compiler = StackFrame(f"/site-packages/torch/{room}/x.py", 5, "compile", "while True:")

    def compiling(number: int) -> list[Observation]:
        return [sample(compiler, asleep=False)]

    assert judged(run(100, OFTEN, SPIN, asleep=False, extra=compiling)) == []


def test_a_busy_machine_is_no_stall() -> None:
    def starved(number: int) -> list[Observation]:
        return [HostLoad(origin(), 100 * MS, 60 * MS, 40 * MS, 10 * MS)]

    assert judged(run(100, OFTEN, SPIN, asleep=False, extra=starved)) == []

    def hardly(number: int) -> list[Observation]:
        return [HostLoad(origin(), 100 * MS, 5 * MS, 0, 95 * MS)]

    assert len(judged(run(100, OFTEN, SPIN, asleep=False, extra=hardly))) == 1


def test_the_load_of_another_rank_excuses_nothing() -> None:
    def elsewhere(number: int) -> list[Observation]:
        return [HostLoad(origin(8), 100 * MS, 100 * MS, 0, 0)]

    assert len(judged(run(100, OFTEN, SPIN, asleep=False, extra=elsewhere))) == 1


def test_the_standard_librarys_own_polling_is_no_stall() -> None:
    waiting = StackFrame("/usr/lib/python3.11/subprocess.py", 1900, "_wait", "time.sleep(delay)")
    assert judged(run(100, OFTEN, waiting, asleep=True)) == []


def test_a_spin_of_usual_length_costs_nothing() -> None:
    # All steps are alike: nothing is above the median.
    def alike() -> Iterator[Observation]:
        for number in range(100):
            yield sample(SPIN, asleep=False)
            yield step(number)

    assert judged(alike()) == []


def test_sleeps_that_were_not_read_are_charged_to_the_line_that_is_read_next() -> None:
    def slept(unread: int) -> Iterator[Observation]:
        for number in range(60):
            if number in (20, 30, 40):
                yield replace(sample(SLEEP, 5 * MS, asleep=True), unread=unread)
            yield step(number)

    assert judged(slept(0)) == []
    (finding,) = judged(slept(20 * MS))
    assert finding.first_step == 20


def test_a_sample_belongs_to_the_step_of_its_time_however_late_records_are_read() -> None:
    """That a sleep is over is seen a while after, often in the next step."""

    def read_late() -> Iterator[Observation]:
        for at in (205, 305, 405):
            seen = at * STEP + 20 * MS
            yield replace(sample(SLEEP, 60 * MS, asleep=True), origin=replace(origin(), at=seen))
        for number in range(600):
            yield replace(step(number), origin=replace(origin(), at=(number + 1) * STEP))

    (finding,) = judged(read_late())
    assert finding.first_step == 204


def test_a_sample_without_frames_charges_nobody() -> None:
    empty = StackSampled(origin(), 0, MS, True, 500 * MS, [])
    assert judged(one for number in range(60) for one in (empty, step(number))) == []


def test_a_second_optimizer_is_not_a_second_step() -> None:
    detector = Stall()
    for number in range(10):
        assert list(detector.observe(step(number))) == []
        assert list(detector.observe(step(number, optimizer=1))) == []
    assert (detector.coverage().checked, detector.coverage().possible) == (10, 10)


def test_without_stacks_coverage_says_so() -> None:
    detector = Stall()
    assert list(detector.observe(StacksUnavailable(origin(), "py-spy is not installed"))) == []
    (reason,) = detector.coverage().reasons
    assert "py-spy is not installed" in reason


def test_what_is_remembered_is_bounded() -> None:
    detector = Stall()
    for number in range(10, 10 + MAX_LINES // MAX_SAMPLES + 5):
        for line in range(2 * MAX_SAMPLES):
            top = StackFrame("/a.py", 1000 * number + line, "f", "time.sleep(1)")
            assert list(detector.observe(sample(top, 1, asleep=True))) == []
        assert list(detector.observe(step(number))) == []
    later = run(100, OFTEN, SLEEP, asleep=True)
    # The table is full: a new line finds no place, and nothing else happens.
    assert [finding for one in later for finding in detector.observe(one)] == []


def passed(first: int, count: int, each: int = 40_000, at: int = 10_000) -> StepsPassed:
    """A rest that ended at ``at`` ms and whose steps took ``each`` microseconds."""
    took = [each] * count
    return StepsPassed(replace(origin(), at=at * MS), 0, first, count, 1000 * sum(took), took)


def slept(at: int, top: StackFrame = SLEEP, *, asleep: bool = True) -> StackSampled:
    """A sample of 100 ms that ended at ``at`` ms."""
    return replace(sample(top, asleep=asleep), origin=replace(origin(), at=at * MS))


FEW = [slept(8000 + 200 * number) for number in range(8)]


def test_sleeps_in_a_rest_are_charged_to_the_steps_they_fell_into() -> None:
    before = run(20, [], SLEEP, asleep=True)
    (finding,) = judged([*before, passed(20, 0), *FEW, passed(20, 60, at=10_000)])
    assert finding.locations[0].line == SLEEP.line
    # The rest began at 7,600 ms; the first sleep was from 7,900 to 8,000.
    assert finding.first_step == 20 + 350 // 40
    assert "3 steps" in finding.message


@pytest.mark.parametrize(
    "rest",
    [
        [slept(8000 + 2 * number) for number in range(8)],
        [slept(8000 + 200 * number, SPIN, asleep=False) for number in range(8)],
        [slept(11_000 + 200 * number) for number in range(8)],
        [*FEW, CheckpointSaved(origin(), "a.pt", 30, [], False)],
        [*FEW, batches(0, 5), batches(1, 5)],
    ],
    ids=["one step", "spins", "after it", "checkpoint", "evaluation"],
)
def test_what_is_not_certain_of_a_rest_is_not_charged(rest: list[Observation]) -> None:
    before = run(20, [], SLEEP, asleep=True)
    assert judged([*before, passed(20, 0), *rest, passed(20, 60)]) == []


def test_a_rest_of_which_single_steps_are_not_known_is_not_charged() -> None:
    before = run(20, [], SLEEP, asleep=True)
    assert judged([*before, passed(20, 0), *FEW, replace(passed(20, 60), each=[])]) == []


def test_a_sleep_between_the_last_step_and_a_save_is_the_save_s() -> None:
    # The rest was told of 2 s after its last step; then the save itself is heard of.
    told = replace(passed(20, 60, at=10_000), since=2_000 * MS)
    before = run(20, [], SLEEP, asleep=True)
    stalls = [slept(8100 + 200 * number) for number in range(8)]
    saved = CheckpointSaved(origin(), "a.pt", 80, [], False)
    assert judged([*before, passed(20, 0), *stalls, told, saved, step(80)]) == []
    assert judged([*before, passed(20, 0), *stalls, replace(told, since=0), saved, step(80)]) != []
