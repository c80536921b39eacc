from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detect.rules.continuity.made import NAMES, Story, judge, sample
from tests.examples import examples
from veracity.core.observation import StepRecord, WeightsMoved
from veracity.core.rule import Confidence, Severity
from veracity.core.sweep import NOT_SWEPT, Sweep
from veracity.detect.rules.continuity.weights_changed import WeightsChanged

Fields = dict[str, list[float]]
Tamper = Callable[[int, dict[int, Fields]], None]


class Training:
    """A run of four tensors; memory is changed by steps, and by ``tamper`` just before a step."""

    def __init__(self, story: Story, seed: int = 1, *, nan: bool = False) -> None:
        self.story, self.random, self.nan = story, random.Random(seed), nan
        self.memory: dict[int, Fields] = {}
        for place in range(len(NAMES)):
            self.memory[place] = {"param": self.values(), "exp_avg": self.values()}
        self.last: list[int] = []
        self.number = 0

    def values(self) -> list[float]:
        found = [self.random.uniform(-2, 2) for _ in range(6)]
        return [math.nan, *found[1:]] if self.nan else found

    def copy(self, place: int) -> Fields:
        return {name: list(values) for name, values in self.memory[place].items()}

    def step(self, tamper: Tamper | None = None, *, load: bool = False) -> None:
        if tamper is not None:
            tamper(self.number, self.memory)
        if load:
            self.story.restored(self.number, [])
        chosen = self.random.sample(range(len(NAMES)), 2)
        read = [(place, True) for place in self.last] + [(place, False) for place in chosen]
        before = [(place, repeated, self.copy(place)) for place, repeated in read]
        fingers = [[place, hash(str(self.memory[place]["param"])) & 0xFFFF] for place in self.last]
        for fields in self.memory.values():
            for name in fields:
                fields[name] = [value * 0.99 + 0.01 for value in fields[name]]
        samples = [
            sample(
                place,
                {**fields, "grad": self.values()},
                self.copy(place),
                repeated=repeated,
                steps=(float(self.number), float(self.number + 1)),
            )
            for place, repeated, fields in before
        ]
        after = [[place, hash(str(self.memory[place]["param"])) & 0xFFFF] for place in chosen]
        self.story.step(self.number, samples, before=fingers, after=after)
        self.last = chosen
        self.number += 1


def run(
    steps: int = 8,
    tamper: Tamper | None = None,
    *,
    load_at: int = -1,
    lose_at: int = -1,
    nan: bool = False,
) -> tuple[WeightsChanged, list[Any]]:
    story = Story(rank=2)
    story.declare()
    training = Training(story, nan=nan)
    for number in range(steps):
        if number == lose_at:
            story.lose()
        training.step(tamper, load=number == load_at)
    detector = WeightsChanged()
    return detector, judge(detector, story.seen)


def scaled(field: str, at: int = 5) -> Tamper:
    def tamper(number: int, memory: dict[int, Fields]) -> None:
        if number == at:
            for fields in memory.values():
                fields[field] = [value * 0.9 for value in fields[field]]

    return tamper


@pytest.mark.parametrize("nan", [False, True])
def test_a_clean_run_holds_and_every_step_is_checked(nan: bool) -> None:
    detector, found = run(nan=nan)
    assert found == []
    coverage = detector.coverage()
    assert (coverage.checked, coverage.possible) == (7, 7)
    assert coverage.reasons == {}


def test_weights_scaled_between_steps_are_found_with_their_factor() -> None:
    _, (finding,) = run(tamper=scaled("param"))
    assert finding.breaks
    assert (finding.rank, finding.first_step) == (2, 5)
    assert "weights changed between step 4 and step 5" in finding.message
    assert "multiplied by 0.9" in finding.message
    assert any(name in finding.subject for name in NAMES)


def test_optimizer_state_scaled_is_found_as_such() -> None:
    _, (finding,) = run(tamper=scaled("exp_avg"))
    assert finding.breaks
    assert finding.message.startswith("optimizer state changed")


def test_optimizer_state_that_vanishes_is_found() -> None:
    def tamper(number: int, memory: dict[int, Fields]) -> None:
        if number == 4:
            for fields in memory.values():
                del fields["exp_avg"]

    _, (finding,) = run(tamper=tamper)
    assert finding.first_step == 4
    assert any(part.observed == "gone" for part in finding.evidence)


def test_one_flipped_bit_is_found() -> None:
    def tamper(number: int, memory: dict[int, Fields]) -> None:
        if number == 3:
            for fields in memory.values():
                fields["param"][2] += 2.0**-20

    _, (finding,) = run(tamper=tamper)
    assert finding.first_step == 3
    assert "multiplied" not in finding.message


def test_a_step_count_that_is_set_back_is_found() -> None:
    story = Story()
    story.step(0, [sample(0, {"param": [1.0]}, {"param": [2.0]}, steps=(0.0, 1.0))])
    story.step(1, [sample(0, {"param": [2.0]}, {"param": [3.0]}, repeated=True, steps=(0.0, 1.0))])
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.message.startswith("optimizer state changed")
    assert finding.subject == "optimizer state of tensor 0"


def test_a_whole_tensor_fingerprint_is_enough() -> None:
    story = Story()
    story.declare()
    story.step(0, after=[[1, 77]])
    story.step(1, before=[[1, 78], [1]])
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert "layers.0.bias" in finding.subject


def test_a_tensor_changed_once_is_found_by_the_sweep_and_named() -> None:
    story = Story()
    story.declare()
    left = Sweep(2, (0, 1), array("f", [1.0, 2.0, 3.0, 4.0]))
    story.step(0, swept=(NOT_SWEPT, left))
    story.step(1, swept=(Sweep(2, (0, 1), array("f", [1.0, 2.0, 2.7, 3.6])), left))
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert (finding.first_step, finding.subject) == (1, "weights of layers.0.bias")
    assert "multiplied by 0.9" in finding.message


def test_a_sweep_that_lacks_what_another_optimizer_stepped_on_is_compared_by_tensor() -> None:
    story = Story()
    story.declare()
    left = Sweep(1, (0, 1), array("f", [1.0, 2.0]))
    detector = WeightsChanged()
    story.step(0, swept=(NOT_SWEPT, left))
    story.step(1, swept=(Sweep(1, (1,), array("f", [2.0])), left))
    story.step(2, swept=(Sweep(1, (0, 1), array("f", [1.0, -2.0])), left))
    (finding,) = judge(detector, story.seen)
    assert finding.first_step == 2
    assert detector.coverage().checked == 2


def clamped(bound: float, steps: range) -> Story:
    story = Story()
    story.declare()
    for number in range(14):
        left = Sweep(2, (0, 1), array("f", [0.5, -0.75, 0.01, 0.02]))
        found = array("f", [max(-bound, min(bound, value)) for value in left.values])
        before = Sweep(2, (0, 1), found) if number in steps else left
        story.step(number, swept=(before if number else NOT_SWEPT, left))
    return story


def written(steps: Iterable[int], until: int = 40) -> Story:
    """Something else each time is put on all weights before these steps."""
    story = Story()
    story.declare()
    chosen = set(steps)
    for number in range(until):
        left = Sweep(2, (0, 1), array("f", [0.5, -0.75, 0.01, 0.02]))
        found = Sweep(2, (0, 1), array("f", [value + 0.25 + number for value in left.values]))
        before = found if number in chosen else left
        story.step(number, swept=(before if number else NOT_SWEPT, left))
    return story


@pytest.mark.parametrize("bound", [True, False])
def test_what_a_program_writes_from_the_beginning_is_a_note(bound: bool) -> None:
    story = clamped(0.25, range(1, 14)) if bound else written(range(1, 40))
    detector = WeightsChanged()
    (finding,) = judge(detector, story.seen)
    assert finding.severity is Severity.NOTE
    assert ("clamped to ±0.25" in finding.message) is bound
    assert finding.first_step == 1
    assert detector.coverage().checked <= 1


@pytest.mark.parametrize("every", [5, 6, 8, 10])
@pytest.mark.parametrize("shift", [0, 1])
def test_what_a_program_writes_every_few_steps_is_a_note(every: int, shift: int) -> None:
    steps = range(every - shift, 40, every)
    found = judge(WeightsChanged(), written(steps).seen)
    assert [one.severity for one in found] == [Severity.NOTE] * bool(steps)


@pytest.mark.parametrize(
    ("steps", "first"), [([5], 5), ([5, 17], 5), ([5, 10, 15, 18], 18), ([12, 24, 36], 12), ([10], 10)]
)
def test_what_is_written_once_or_at_odd_steps_is_an_error(steps: list[int], first: int) -> None:
    found = judge(WeightsChanged(), written(steps).seen)
    assert [one.first_step for one in found if one.breaks] == [first]


@pytest.mark.parametrize(("rate", "severity"), [(0.01, Severity.ERROR), (0.1, Severity.NOTE)])
def test_state_cleared_as_the_rate_begins_anew_is_a_note(rate: float, severity: Severity) -> None:
    def clear(number: int, memory: dict[int, Fields]) -> None:
        if number == 15:
            for fields in memory.values():
                del fields["exp_avg"]

    story = Story()
    story.declare()
    training = Training(story)
    for number in range(20):
        training.step(clear)
        last = story.seen[-1]
        assert isinstance(last, StepRecord)
        story.seen[-1] = replace(last, groups=[{"lr": rate if number >= 15 else 0.01}])
    assert [one.severity for one in judge(WeightsChanged(), story.seen)] == [severity]


@pytest.mark.parametrize(
    ("smallest", "share", "severity"),
    [(True, 0.0, Severity.NOTE), (False, 0.0, Severity.ERROR), (True, 0.5, Severity.ERROR)],
)
def test_the_smallest_weights_set_to_zero_are_a_note(
    smallest: bool, share: float, severity: Severity
) -> None:
    def prune(number: int, memory: dict[int, Fields]) -> None:
        for fields in memory.values() if number >= 14 else ():
            order = sorted(range(6), key=lambda at: abs(fields["param"][at]), reverse=not smallest)
            for at in order[:3]:
                fields["param"][at] *= share

    _, found = run(20, prune)
    assert [one.severity for one in found] == [severity]
    assert found[0].first_step == 14


def test_weights_clamped_in_the_middle_of_a_run_are_an_error() -> None:
    (finding,) = judge(WeightsChanged(), clamped(0.25, range(12, 13)).seen)
    assert finding.breaks
    assert finding.first_step == 12


def test_what_moved_before_another_optimizers_step_need_not_wait() -> None:
    story = Story()
    story.declare()
    story.step(0)
    story.seen.append(WeightsMoved(story.origin(), 0, 0, [1], 8, "", "", 0, at_step=True))
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert finding.first_step == 1


def test_an_optimizer_that_never_stepped_is_not_accused_for_sure() -> None:
    story = Story()
    story.declare()
    for _ in range(5):
        story.seen.append(WeightsMoved(story.origin(), 0, -1, [1], 8, "", "", 0))
    (finding,) = judge(WeightsChanged(), story.seen)
    assert not finding.breaks


def test_a_load_explains_a_change() -> None:
    detector, found = run(tamper=scaled("param"), load_at=5)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert detector.coverage().reasons == {"values were loaded between two steps": 1}
    assert (detector.coverage().checked, detector.coverage().possible) == (6, 7)


def test_a_lost_record_makes_a_change_unknown_but_not_an_unchanged_step() -> None:
    detector, found = run(tamper=scaled("param"), lose_at=5)
    assert found == []
    assert detector.coverage().reasons == {"records between two steps were lost": 1}
    detector, found = run(lose_at=5)
    assert found == []
    assert detector.coverage().checked == 7


def test_a_missing_step_is_not_compared() -> None:
    story = Story()
    training = Training(story)
    for _ in range(3):
        training.step()
    dropped = [story.seen[0], story.seen[2]]
    detector = WeightsChanged()
    assert judge(detector, dropped) == []
    assert detector.coverage().reasons == {"the record of the step before is missing": 1}


def test_wider_blocks_and_other_counts_do_not_alarm() -> None:
    story = Story()
    story.step(0, [sample(0, {"param": [0.1]}, {"param": [0.1]}), sample(1, {}, {"param": [1.0, 2.0]})])
    wide = [0.10000000149011612]
    story.step(
        1,
        [
            sample(0, {"param": wide}, {"param": wide}, repeated=True, typecode="d"),
            sample(1, {"param": [9.0]}, {"param": [9.0]}, repeated=True),
        ],
    )
    assert judge(WeightsChanged(), story.seen) == []


def test_new_state_and_other_optimizers_do_not_alarm() -> None:
    story = Story()
    for optimizer in (0, 1):
        story.step(0, [sample(0, {}, {"param": [float(optimizer)]})], optimizer=optimizer)
    for optimizer in (0, 1):
        after = {"param": [float(optimizer)], "exp_avg": [1.0]}
        story.step(1, [sample(0, after, after, repeated=True)], optimizer=optimizer)
    assert judge(WeightsChanged(), story.seen) == []


def test_other_tensors_under_the_same_number_are_not_compared() -> None:
    story = Story()
    story.declare()
    story.step(0, [sample(0, {}, {"param": [1.0]})])
    story.declare(names=[*NAMES, "new.weight"])
    story.step(1, [sample(0, {"param": [2.0]}, {"param": [2.0]}, repeated=True)])
    assert judge(WeightsChanged(), story.seen) == []


def test_a_run_of_one_step_says_why_nothing_was_checked() -> None:
    detector, found = run(steps=1)
    assert found == []
    assert detector.coverage().reasons == {"no optimizer made a second step": 1}


def steady(story: Story, number: int, value: float = 1.0) -> None:
    fields = {"param": [value]}
    repeated = [sample(0, fields, fields, repeated=True)] if number else []
    story.step(number, [*repeated, sample(0, fields, fields)])


def test_a_replaced_step_is_found_where_it_stands() -> None:
    story = Story(rank=1)
    story.declare()
    story.moved(-1, step_replaced="train.sneaky")
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert finding.first_step == 0
    assert [(place.path, place.line) for place in finding.locations] == [("train.py", 7)]
    assert "train.sneaky" in finding.message
    assert "fired no hook" in finding.message
    assert "layers.0.weight" in finding.evidence[0].observed


def test_a_step_replaced_later_is_found_live_once() -> None:
    story = Story()
    steady(story, 0)
    steady(story, 1)
    for _ in range(5):
        story.moved(1, step_replaced="train.sneaky")
    detector = WeightsChanged()
    live = [finding for seen in story.seen for finding in detector.observe(seen)]
    assert [finding.first_step for finding in live] == [2]
    assert list(detector.finish()) == []


def test_movements_without_a_step_are_found_at_the_end() -> None:
    story = Story()
    steady(story, 0)
    story.moved(0)
    story.moved(0)
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert finding.locations == ()
    assert finding.first_step == 1


def test_a_single_movement_at_the_end_does_not_break_a_run() -> None:
    story = Story()
    steady(story, 0)
    story.moved(0)
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.confidence is Confidence.MEDIUM


@pytest.mark.parametrize("step_replaced", ["", "torch.optim.lr_scheduler.wrapper"])
def test_weights_that_come_back_before_the_step_are_explained(step_replaced: str) -> None:
    story = Story()
    for number in range(6):
        steady(story, number)
        story.moved(number, step_replaced=step_replaced)
    steady(story, 6)
    detector = WeightsChanged()
    assert judge(detector, story.seen) == []
    assert "weights moved between steps and came back" in detector.coverage().reasons


def test_weights_that_do_not_come_back_are_one_finding() -> None:
    story = Story()
    steady(story, 0)
    story.moved(0)
    steady(story, 1, 2.0)
    (finding,) = judge(WeightsChanged(), story.seen)
    assert finding.breaks
    assert "seen before the step" in [part.name for part in finding.evidence]


def test_a_load_explains_a_movement() -> None:
    story = Story()
    steady(story, 0)
    story.moved(0)
    story.loaded([])
    assert judge(WeightsChanged(), story.seen) == []


def test_a_line_search_moves_within_its_step() -> None:
    story = Story()
    story.declare(class_name="torch.optim.lbfgs.LBFGS")
    for _ in range(20):
        story.moved(-1, step_replaced="torch.optim.lr_scheduler.wrapper")
    assert judge(WeightsChanged(), story.seen) == []


@given(data=st.data())
@settings(max_examples=examples(60))
def test_lost_and_interleaved_records_never_alarm(data: st.DataObject) -> None:
    stories = []
    for pid in range(3):
        story = Story(pid=pid)
        story.declare()
        training = Training(story, seed=pid)
        for _ in range(5):
            training.step()
        stories.append([seen for seen in story.seen if data.draw(st.integers(0, 5))])
    mixed = []
    while any(stories):
        mixed.append(data.draw(st.sampled_from([story for story in stories if story])).pop(0))
    detector = WeightsChanged()
    assert judge(detector, mixed) == []
    assert detector.coverage().checked <= detector.coverage().possible


FLOATS = st.floats(width=32)
FIELDS = st.dictionaries(
    st.sampled_from(["param", "grad", "momentum_buffer", "odd"]), st.lists(FLOATS, max_size=3)
)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), FIELDS, FIELDS), max_size=6))
@settings(max_examples=examples(80))
def test_ragged_samples_never_raise(parts: list[tuple[int, bool, Fields, Fields]]) -> None:
    story = Story()
    for number, (place, repeated, before, after) in enumerate(parts):
        fingers = [[place, number], [place], []]
        story.step(number, [sample(place, before, after, repeated=repeated)], before=fingers, after=fingers)
        story.step(number + 1, [sample(place, after, before, repeated=True)], before=fingers)
    judge(WeightsChanged(), story.seen)
