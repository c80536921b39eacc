from __future__ import annotations

from tests.detect.rules.data.traces import Trace, judge, shuffled
from veracity.core.coverage import Coverage
from veracity.core.observation import LoaderStarted, SamplerStarted
from veracity.detect.rules.data.follow import Follower
from veracity.detect.rules.data.order_drift import OrderDrift
from veracity.detect.rules.data.passes import (
    MAX_ITERATIONS,
    MAX_PROCESSES,
    MAX_SAMPLERS,
    MAX_UNCLAIMED,
    Process,
)


def test_state_is_bounded() -> None:
    trace = Trace()
    process = Process()
    for number in range(3 * MAX_SAMPLERS):
        trace.epoch(shuffled(4, seed=1), 2, number=number, loader=number, stop_after=0)
    for seen in trace.seen:
        if isinstance(seen, LoaderStarted):
            owner = process.begin(seen)
            owner.delivered = 1
        elif isinstance(seen, SamplerStarted):
            for _ in range(2 * MAX_UNCLAIMED):
                process.sampler(seen)
    assert len(process.passes) == MAX_ITERATIONS
    assert len(process.unclaimed) == MAX_SAMPLERS
    assert all(len(waiting) == MAX_UNCLAIMED for waiting in process.unclaimed.values())
    assert len(process.earlier) <= MAX_SAMPLERS
    assert len(process.per_step) <= MAX_SAMPLERS


def test_processes_not_heard_of_are_forgotten() -> None:
    follower = Follower(Coverage("data-order", "batches"))
    first = follower.process(0)
    for pid in range(MAX_PROCESSES):
        follower.process(pid)
        assert follower.process(0) is first
    follower.process(MAX_PROCESSES)
    assert follower.process(0) is first
    assert follower.process(1).next_step == 0


def test_a_loader_that_is_only_evaluated_points_at_the_step_it_stands_at() -> None:
    trace = Trace()
    trace.steps(5)
    trace.epoch(shuffled(30, seed=1), 5, number=0, train=False)
    trace.steps(5)

    def edit(_: int, batches: list[list[int]]) -> list[list[int]]:
        batches[4] = batches[4][::-1]
        return batches

    trace.epoch(shuffled(30, seed=2), 5, number=1, train=False, edit=edit)
    (finding,) = judge(OrderDrift(), trace.seen)
    assert finding.first_step == 10
