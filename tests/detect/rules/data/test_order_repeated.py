from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler, SequentialSampler

from tests.detect.rules.data.traces import Trace, judge, shuffled
from tests.examples import examples
from veracity.core.rule import Severity
from veracity.detect.rules.data.order_repeated import OrderRepeated


def ranks(seed: int = 0, *, shuffle: bool = True) -> Any:
    return DistributedSampler(range(40), num_replicas=2, rank=0, seed=seed, shuffle=shuffle)


def test_a_generator_rewound_between_epochs_is_a_warning() -> None:
    trace = Trace(rank=2)
    sampler: Any = shuffled(40, seed=7)
    for number in range(3):
        sampler.generator.manual_seed(7)
        trace.epoch(sampler, 8, number=number)
    (finding,) = judge(OrderRepeated(), trace.seen)
    assert finding.severity is Severity.WARNING
    assert not finding.breaks
    assert (finding.rank, finding.first_step) == (2, 5)
    assert "iteration 1 repeats the order of iteration 0" in finding.message


def test_the_default_generator_reseeded_is_a_warning() -> None:
    trace = Trace()
    for number in range(2):
        torch.manual_seed(3)
        trace.epoch(shuffled(40), 8, number=number)
    assert len(judge(OrderRepeated(), trace.seen)) == 1


def test_a_forgotten_set_epoch_is_a_note() -> None:
    trace = Trace()
    sampler = ranks()
    for number in range(3):
        trace.epoch(sampler, 5, number=number)
    (finding,) = judge(OrderRepeated(), trace.seen)
    assert finding.severity is Severity.NOTE
    assert "set_epoch" in finding.message
    assert finding.first_step == 4


@pytest.mark.parametrize("kind", ["own", "default", "ranks", "rows", "unshuffled"])
def test_clean_loaders_do_not_repeat(kind: str) -> None:
    torch.manual_seed(1)
    trace = Trace()
    sampler: Any = {
        "own": lambda: shuffled(40, seed=7),
        "default": lambda: shuffled(40),
        "ranks": lambda: ranks(),
        "rows": lambda: SequentialSampler(range(40)),
        "unshuffled": lambda: ranks(shuffle=False),
    }[kind]()
    for number in range(4):
        if kind == "ranks":
            sampler.set_epoch(number)
        trace.epoch(sampler, 8, number=number)
    assert judge(OrderRepeated(), trace.seen) == []


def test_a_look_at_the_first_batch_does_not_count() -> None:
    trace = Trace()
    sampler = ranks()
    trace.epoch(sampler, 5, number=0, stop_after=1, ended=False, train=False)
    trace.epoch(sampler, 5, number=1)
    assert judge(OrderRepeated(), trace.seen) == []


def test_an_evaluation_in_a_fixed_order_does_not_count() -> None:
    trace = Trace()
    for number in range(3):
        trace.epoch(shuffled(40, seed=1), 8, number=number, loader=0)
        trace.epoch(shuffled(20, seed=9), 8, number=number, loader=1, train=False)
    found = judge(OrderRepeated(), trace.seen)
    assert [finding.subject for finding in found] == ["loader 0"]


def test_two_loaders_with_one_seed_and_a_new_loader_of_the_same_number_are_fine() -> None:
    trace = Trace()
    trace.epoch(shuffled(40, seed=1), 8, number=0, loader=0)
    trace.epoch(shuffled(40, seed=1), 8, number=0, loader=1)
    trace.epoch(shuffled(40, seed=1), 8, number=0, loader=0)
    assert judge(OrderRepeated(), trace.seen) == []


@given(data=st.data())
@settings(max_examples=examples(40))
def test_lost_records_and_other_processes_never_alarm(data: st.DataObject) -> None:
    torch.manual_seed(1)
    mixed = []
    for pid in range(3):
        trace = Trace(pid=pid)
        for number in range(3):
            trace.epoch(shuffled(20), 4, number=number)
        mixed += trace.seen
    kept = [seen for seen in data.draw(st.permutations(mixed)) if data.draw(st.booleans())]
    assert judge(OrderRepeated(), kept) == []


def test_it_counts_no_coverage_of_its_own() -> None:
    assert OrderRepeated().coverage().possible == 0
