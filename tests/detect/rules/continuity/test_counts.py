"""Step counts of single tensors from one look to the next, and values that load_state_dict put in."""

from __future__ import annotations

import pytest

from tests.detect.rules.continuity.made import NAMES, Story, judge, sample
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.sample import TensorSample
from veracity.detect.rules.continuity.weights_changed import WeightsChanged

TURNS = len(NAMES)


class Counted:
    """An optimizer of four tensors, one of which is looked at in each step, and one again at the next."""

    def __init__(self, *, known: bool = True) -> None:
        self.story = Story()
        self.story.declare(inherits=known)
        self.counts = [0.0] * TURNS
        self.value = 1.0
        self.number = 0

    def step(self, *, idle: int = -1) -> None:
        """One more step, in which the tensor ``idle`` has no gradient."""
        samples = [self.look((self.number - 1) % TURNS, repeated=True)] if self.number else []
        place = self.number % TURNS
        fresh = self.look(place)
        self.counts = [count + (at != idle) for at, count in enumerate(self.counts)]
        samples.append(self.look(place, before=fresh))
        self.story.step(self.number, samples)
        self.number += 1

    def look(self, place: int, *, repeated: bool = False, before: TensorSample | None = None) -> TensorSample:
        values = {"param": [self.value, 2.0]}
        count = self.counts[place]
        if before is None:
            return sample(place, values, {}, repeated=repeated, steps=(count, None))
        return sample(place, values, values, steps=(before.step_before, count))

    def found(self) -> list[Finding]:
        return judge(WeightsChanged(), self.story.seen)


def test_a_count_that_was_set_back_is_found_when_its_tensor_is_looked_at_again() -> None:
    run = Counted()
    for number in range(24):
        if number == 14:  # the tensor 1 was looked at in step 13, comes again in step 17
            run.counts[3] = 0.0
        run.step()
    (finding,) = run.found()
    assert (finding.severity, finding.first_step) == (Severity.ERROR, 15)
    assert finding.subject == f"optimizer state of {NAMES[3]}"
    assert finding.message == ("optimizer state changed between step 11 and step 15: step counts went back")


def test_a_count_that_stands_still_for_want_of_a_gradient_is_in_order() -> None:
    run = Counted()
    for number in range(24):
        run.step(idle=3 if number % 3 else -1)
    assert run.found() == []


@pytest.mark.parametrize("why", ["restored", "loaded", "lost", "declared"])
def test_counts_are_not_compared_across_what_may_set_them_back(why: str) -> None:
    run = Counted()
    for number in range(24):
        if number == 14:
            run.counts = [0.0] * TURNS
            if why == "restored":
                run.story.restored(number, [])
            elif why == "loaded":
                run.story.loaded([])
            elif why == "declared":
                run.story.declare(names=[f"new.{name}" for name in NAMES], inherits=True)
            else:
                run.story.lose()
        run.step()
    found = run.found()
    assert [one for one in found if one.severity is Severity.ERROR and one.confidence.name == "HIGH"] == []
    assert all("went back" not in one.message for one in found)


def test_what_a_class_of_the_programs_own_calls_step_may_go_back() -> None:
    run = Counted(known=False)
    for number in range(24):
        if number == 14:
            run.counts[3] = 0.0
        run.step()
    assert run.found() == []


def brought_in(*, read: bool, changes: bool = True) -> list[Finding]:
    run = Counted()
    for number in range(24):
        if number == 14:
            run.value = 7.0 if changes else run.value
            run.story.restored(number, [])
            if read:
                run.story.loaded([])
        run.step()
    return run.found()


def test_weights_that_load_state_dict_put_in_are_a_note_where_no_file_was_read() -> None:
    (finding,) = brought_in(read=False)
    assert (finding.severity, finding.first_step) == (Severity.NOTE, 14)
    assert "put in by load_state_dict, and no checkpoint was read for it" in finding.message


@pytest.mark.parametrize(("read", "changes"), [(True, True), (False, False)])
def test_a_checkpoint_and_averages_taken_back_are_not_told(*, read: bool, changes: bool) -> None:
    assert brought_in(read=read, changes=changes) == []
