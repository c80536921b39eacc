from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from tests.detect.rules.data.traces import Edit, Trace, judge, shuffled
from tests.examples import examples
from veracity.core.observation import BatchesDrawn, LoaderStarted, SamplerStarted
from veracity.detect.rules.data.order_drift import OrderDrift
from veracity.detect.rules.data.sampling import SEEDABLE

LENGTH = 53


@given(data=st.data())
@settings(max_examples=examples(80))
def test_clean_passes_of_every_kind_agree(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 2**40)))
    length = data.draw(st.integers(1, 90))
    samples = data.draw(st.integers(1, 2 * length))
    ranks = data.draw(st.integers(1, 7))
    kind = data.draw(st.sampled_from(["own", "default", "replaced", "several", "rows", "ranks", "subset"]))
    sampler: Any = {
        "own": lambda: shuffled(length, seed=3),
        "default": lambda: shuffled(length),
        "replaced": lambda: shuffled(length, replacement=True, num_samples=samples),
        "several": lambda: shuffled(length, num_samples=samples),
        "rows": lambda: SequentialSampler(range(length)),
        "ranks": lambda: DistributedSampler(
            range(length),
            num_replicas=ranks,
            rank=ranks - 1,
            seed=data.draw(st.integers(0, 9)),
            shuffle=data.draw(st.booleans()),
            drop_last=data.draw(st.booleans()) and length >= ranks,
        ),
        "subset": lambda: SubsetRandomSampler(range(5, 5 + length)),
    }[kind]()
    trace = Trace()
    batch_size = data.draw(st.integers(1, 12))
    for epoch in range(3):
        if kind == "ranks":
            sampler.set_epoch(epoch)
        trace.epoch(
            sampler,
            batch_size,
            number=epoch,
            drop_last=data.draw(st.booleans()),
            prefetch=data.draw(st.integers(0, 5)),
            accumulate=data.draw(st.integers(1, 3)),
            stop_after=data.draw(st.sampled_from([None, 0])),
            sampler_first=data.draw(st.booleans()),
        )
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    coverage = detector.coverage()
    assert coverage.checked == coverage.possible
    assert coverage.reasons == {}


def same_order_as_first(first: dict[int, list[list[int]]]) -> Edit:
    def edit(number: int, batches: list[list[int]]) -> list[list[int]]:
        return first.setdefault(0, batches)

    return edit


def at(epoch: int, batch: int, change: Any) -> Edit:
    def edit(number: int, batches: list[list[int]]) -> list[list[int]]:
        if number == epoch:
            batches[batch] = change(batches[batch])
        return batches

    return edit


def resorted(number: int, batches: list[list[int]]) -> list[list[int]]:
    order = sorted(index for batch in batches for index in batch)
    return [order[start : start + 8] for start in range(0, len(order), 8)]


def left_out(number: int, batches: list[list[int]]) -> list[list[int]]:
    order = [index for batch in batches for index in batch]
    del order[20]
    return [order[start : start + 8] for start in range(0, len(order), 8)]


def thrown_away(number: int, batches: list[list[int]]) -> list[list[int]]:
    return batches[:2] + batches[3:]


SABOTAGES: list[tuple[str, Edit, int, int, str]] = [
    ("same order every epoch", same_order_as_first({}), 1, 0, "the same order as in iteration 0"),
    ("sorted", resorted, 0, 0, "data in its stored order"),
    ("index left out", left_out, 0, 2, "are left out"),
    ("batch thrown away", thrown_away, 0, 2, "are left out"),
    ("index repeated", at(1, 3, lambda b: [b[0], b[0], *b[2:]]), 1, 3, "is repeated"),
    ("index replaced", at(1, 3, lambda b: [*b[:-1], 999]), 1, 3, "outside the dataset"),
    ("swapped within", at(0, 5, lambda b: b[::-1]), 0, 5, "in another order"),
    ("one short", at(0, 1, lambda b: b[:-1]), 0, 1, "has 7 instead of 8 indices"),
    ("another seed", at(1, 0, lambda b: [(7 * i + 3) % LENGTH for i in b]), 1, 0, "another shuffle"),
]
NAMES = [name for name, *_ in SABOTAGES]
EDITS = [rest for _, *rest in SABOTAGES]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("edit", "epoch", "batch", "words"), EDITS, ids=NAMES)
def test_sabotage_is_found_at_its_first_step(
    edit: Edit, epoch: int, batch: int, words: str, accumulate: int
) -> None:
    torch.manual_seed(20)
    trace = Trace(rank=3)
    sampler = shuffled(LENGTH)
    for number in range(3):
        trace.epoch(sampler, 8, number=number, edit=edit, prefetch=2, accumulate=accumulate)
    (finding,) = judge(OrderDrift(), trace.seen)
    assert finding.rule == "data-order-drift"
    assert finding.breaks
    assert finding.rank == 3
    truth = epoch * (7 // accumulate) + batch // accumulate
    # In the very first pass nothing has shown yet how many batches make a step.
    latest = truth if accumulate == 1 or epoch else truth + batch
    assert truth <= (finding.first_step or 0) <= latest
    assert f"batch {batch} of iteration {epoch}" in finding.message
    assert words in finding.message


def test_a_pass_cut_at_its_end_is_found() -> None:
    trace = Trace()
    trace.epoch(shuffled(LENGTH, seed=1), 8, number=0, edit=lambda _, batches: batches[:-1])
    (finding,) = judge(OrderDrift(), trace.seen)
    assert "batch 6 of iteration 0 of loader 0 is missing" in finding.message
    assert finding.first_step == 6


def test_a_silenced_sampler_is_found() -> None:
    trace = Trace()
    trace.epoch(shuffled(LENGTH, seed=1), 8, number=0, edit=lambda _, batches: [])
    (finding,) = judge(OrderDrift(), trace.seen)
    assert "batch 0 of iteration 0 of loader 0 is missing" in finding.message


def test_batches_beyond_the_last_are_found() -> None:
    trace = Trace()
    trace.epoch(shuffled(LENGTH, seed=1), 8, number=0, edit=lambda _, batches: [*batches, batches[0]])
    (finding,) = judge(OrderDrift(), trace.seen)
    assert "comes after all 7 batches" in finding.message
    assert finding.first_step == 7


def test_a_drawn_batch_that_is_not_delivered_is_found() -> None:
    trace = Trace()
    trace.epoch(shuffled(LENGTH, seed=1), 8, number=0)
    last = trace.seen[-1]
    assert isinstance(last, BatchesDrawn)
    trace.seen[-1] = dataclasses.replace(last, delivered=6)
    trace.seen = [
        dataclasses.replace(seen, delivered=min(seen.delivered, 6))
        if isinstance(seen, BatchesDrawn)
        else seen
        for seen in trace.seen
    ]
    (finding,) = judge(OrderDrift(), trace.seen)
    assert "was drawn but not delivered" in finding.message


def test_a_batch_from_nowhere_is_found() -> None:
    trace = Trace()
    trace.epoch(shuffled(LENGTH, seed=1), 8, number=0, stop_after=2, ended=False)
    trace.drew(0, 0, 2, [], 3)
    (finding,) = judge(OrderDrift(), trace.seen)
    assert "never drawn" in finding.message


def test_drop_last_ignored_is_found_and_respected_is_not() -> None:
    for edit, expected in ((None, 0), (lambda _, batches: [*batches, [0, 1]], 1)):
        trace = Trace()
        trace.epoch(shuffled(LENGTH, seed=1), 8, number=0, drop_last=True, edit=edit)
        assert len(judge(OrderDrift(), trace.seen)) == expected


def test_the_wrong_rank_share_is_found() -> None:
    trace = Trace(rank=1)
    wrong = DistributedSampler(range(40), num_replicas=2, rank=0, seed=1)
    trace.epoch(wrong, 8, number=0)
    trace.seen = [
        dataclasses.replace(seen, parameters={**seen.parameters, "rank": 1})
        if isinstance(seen, SamplerStarted)
        else seen
        for seen in trace.seen
    ]
    (finding,) = judge(OrderDrift(), trace.seen)
    assert finding.rank == 1
    assert "DistributedSampler implies" in finding.message


def test_a_generator_shared_with_the_program_is_no_alarm_but_a_reason() -> None:
    generator = torch.Generator().manual_seed(5)
    sampler: Any = shuffled(40, replacement=True, num_samples=80)
    sampler.generator = generator
    trace = Trace()

    def edit(_: int, batches: list[list[int]]) -> list[list[int]]:
        return [*batches[:4], *[[39 - index for index in batch] for batch in batches[4:]]]

    trace.epoch(sampler, 8, number=0, edit=edit)
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    assert any("drawn from by others" in reason for reason in detector.coverage().reasons)


def test_the_same_edit_within_the_first_draw_is_an_alarm() -> None:
    sampler: Any = shuffled(40, seed=5, replacement=True, num_samples=80)
    trace = Trace()
    trace.epoch(sampler, 8, number=0, edit=at(0, 3, lambda b: [39 - index for index in b]))
    assert len(judge(OrderDrift(), trace.seen)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampler_class": "mine.Sampler"}, "mine.Sampler"),
        ({"exact": False}, "not one of torch's own"),
    ],
)
def test_foreign_samplers_are_not_checked(change: dict[str, Any], words: str) -> None:
    trace = Trace()
    trace.epoch(shuffled(20, seed=1), 4, number=0, edit=resorted, **change)
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    assert detector.coverage().checked == 0
    assert any(words in reason for reason in detector.coverage().reasons)


def without_sampler(trace: Trace) -> None:
    trace.seen = [seen for seen in trace.seen if not isinstance(seen, SamplerStarted)]


def with_loader(trace: Trace, **changes: Any) -> None:
    trace.seen = [
        dataclasses.replace(seen, loader=dataclasses.replace(seen.loader, **changes))
        if isinstance(seen, LoaderStarted)
        else seen
        for seen in trace.seen
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iterable": True}, "IterableDataset"),
        ({"batch_sampler_class": "mine.Buckets"}, "mine.Buckets"),
        ({"batch_size": 0}, "batch sampler of its own"),
        ({"batch_size": 5000}, "not listed"),
        ({"batch_size": -3}, "not listed"),
    ],
)
def test_loaders_that_cannot_be_followed_say_why(change: dict[str, Any], words: str) -> None:
    trace = Trace()
    trace.epoch(shuffled(20, seed=1), 4, number=0, edit=resorted)
    with_loader(trace, **change)
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    assert detector.coverage().checked == 0
    assert detector.coverage().possible == 3
    assert any(words in reason for reason in detector.coverage().reasons)


def test_a_loader_that_does_not_collate_is_followed_index_by_index() -> None:
    trace = Trace()
    trace.epoch(shuffled(9, seed=1), 1, number=0)
    with_loader(trace, batch_size=0, batch_sampler_class="builtins.NoneType")
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    assert detector.coverage().checked == 9


def test_what_was_not_captured_is_a_reason() -> None:
    trace = Trace()
    trace.epoch(WeightedRandomSampler([1.0, 2.0], 20), 4, number=0, loader=0)
    trace.epoch(SubsetRandomSampler(range(300)), 4, number=0, loader=1)
    for place, seen in enumerate(trace.seen):
        if isinstance(seen, SamplerStarted) and "indices" in seen.parameters:
            trace.seen[place] = dataclasses.replace(seen, parameters={})
    other = Trace(pid=7)
    other.epoch(shuffled(20, seed=1), 4, number=0)
    without_sampler(other)
    detector = OrderDrift()
    assert (
        judge(detector, trace.seen + other.seen + [s for s in trace.seen if isinstance(s, BatchesDrawn)])
        == []
    )
    text = " ".join(detector.coverage().reasons)
    for words in (
        "WeightedRandomSampler is not re-derived",
        "too many",
        "RandomSampler was not seen",
        "beginning",
    ):
        assert words in text


def test_a_very_long_pass_is_a_reason_and_a_long_unshuffled_one_is_checked() -> None:
    trace = Trace()
    trace.epoch(shuffled(20, seed=1), 4, number=0)
    trace.seen = [
        dataclasses.replace(seen, length=10**9, parameters={}) if isinstance(seen, SamplerStarted) else seen
        for seen in trace.seen
    ]
    detector = OrderDrift()
    assert judge(detector, trace.seen) == []
    assert detector.coverage().checked == 0
    rows = Trace()
    rows.seen = [
        LoaderStarted(rows.origin(), _rows_loader(), 0, 0),
        SamplerStarted(
            rows.origin(), 0, "torch.utils.data.sampler.SequentialSampler", 10**9, False, "", {}, True
        ),
    ]
    rows.drew(0, 0, 0, [[0, 1], [2, 3]], 1)
    detector = OrderDrift()
    assert judge(detector, rows.seen) == []
    assert detector.coverage().checked == 2


def _rows_loader() -> Any:
    trace = Trace()
    trace.epoch(SequentialSampler(range(4)), 2, number=0)
    first = trace.seen[0]
    assert isinstance(first, LoaderStarted)
    return first.loader


@given(data=st.data())
@settings(max_examples=examples(40))
def test_lost_records_and_interleaved_processes_never_alarm(data: st.DataObject) -> None:
    torch.manual_seed(1)
    traces = []
    for pid in range(2):
        trace = Trace(pid=pid, rank=pid)
        for epoch in range(2):
            trace.epoch(shuffled(37), 8, number=epoch, prefetch=pid)
        kept = [seen for seen in trace.seen if data.draw(st.integers(0, 9))]
        traces.append(kept)
    mixed = []
    while any(traces):
        source = data.draw(st.sampled_from([trace for trace in traces if trace]))
        mixed.append(source.pop(0))
    assert judge(OrderDrift(), mixed) == []


def test_two_interleaved_passes_of_one_loader_find_their_own_order() -> None:
    torch.manual_seed(4)
    one, other = Trace(), Trace()
    sampler = shuffled(30)
    one.epoch(sampler, 5, number=0)
    other.epoch(sampler, 5, number=1)
    mixed = [*one.seen[:2], *other.seen[:2], *other.seen[2:], *one.seen[2:]]
    detector = OrderDrift()
    assert judge(detector, mixed) == []
    assert detector.coverage().checked == 12


def test_abandoned_passes_do_not_confuse_the_next() -> None:
    torch.manual_seed(4)
    trace = Trace()
    sampler = shuffled(30)
    for number in range(20):
        trace.epoch(sampler, 5, number=number, stop_after=0, ended=False)
    trace.epoch(sampler, 5, number=20)
    assert judge(OrderDrift(), trace.seen) == []


@given(data=st.data())
@settings(max_examples=examples(60))
def test_hostile_parameters_never_raise(data: st.DataObject) -> None:
    odd: Any = (
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=4)
    )
    text = "replacement num_replicas rank epoch seed shuffle drop_last num_samples dataset_length indices"
    names = text.split()
    kind = data.draw(st.sampled_from(["sampler.RandomSampler", "sampler.SubsetRandomSampler"]))
    kind = data.draw(
        st.sampled_from([kind, "distributed.DistributedSampler", "sampler.SequentialSampler", "x"])
    )
    trace = Trace()
    trace.epoch(shuffled(12, seed=1), 4, number=0)
    for place, seen in enumerate(trace.seen):
        if isinstance(seen, SamplerStarted):
            trace.seen[place] = dataclasses.replace(
                seen,
                sampler_class=f"torch.utils.data.{kind}",
                length=data.draw(st.integers(-5, 50)),
                parameters={name: data.draw(odd) for name in names if data.draw(st.booleans())},
                generator_state=data.draw(st.sampled_from(["", "00", seen.generator_state])),
            )
        elif isinstance(seen, BatchesDrawn):
            trace.seen[place] = dataclasses.replace(
                seen, first=data.draw(st.integers(-3, 2**60)), delivered=data.draw(st.integers(-1, 2**60))
            )
    judge(OrderDrift(), trace.seen)


class Seeded(RandomSampler):
    """As accelerate's SeedableRandomSampler: the generator is seeded by seed and epoch for each pass."""

    def __init__(self, length: int, seed: int) -> None:
        super().__init__(range(length), generator=torch.Generator())
        self.initial_seed, self.epoch = seed, 0

    def __iter__(self) -> Any:
        self.generator.manual_seed(self.epoch + self.initial_seed)
        yield from super().__iter__()
        self.epoch += 1


@pytest.mark.parametrize("epochs", [[0, 1, 2], [0, 1, 1]])
def test_a_pass_seeded_by_seed_and_epoch_is_derived_from_them(epochs: list[int]) -> None:
    trace, sampler = Trace(), Seeded(LENGTH, 7)
    for number, drawn_as in enumerate(epochs):
        order = list(Seeded(LENGTH, 7 + drawn_as))
        sampler.epoch = number  # what it says; the last order may be another epoch's
        trace.epoch(
            sampler,
            8,
            number=number,
            sampler_class=SEEDABLE,
            exact=False,
            edit=lambda _, batches: list(BatchSampler(order, 8, drop_last=False)),  # noqa: B023 - called at once
        )
    detector = OrderDrift()
    found = judge(detector, trace.seen)
    assert len(found) == (epochs[2] == 1)
    assert detector.coverage().checked == detector.coverage().possible
