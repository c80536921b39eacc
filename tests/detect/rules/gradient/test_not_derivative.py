"""Slopes of known losses against right and wrong gradients, alone and averaged over ranks."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.contract import OptimizerDeclaration, TensorDeclaration
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.observation import GradientChecked, GradientTrial, Hello, Observation, OptimizerDeclared
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.gradient.not_derivative import (
    ALONE,
    BLURRED,
    ROUNDED,
    STALE,
    UNGROUPED,
    NotDerivative,
)
from veracity.detect.rules.gradient.slopes import SHARES, Agreement, Slope

ROUNDING = 1e-7
NUMEL = 16
Loss = Callable[[float], float]


def origin(rank: int = 0) -> Origin:
    return Origin("guard", Trust.USERLAND, 100 + rank, rank, 0, 0)


def declared(rank: int = 0, ranks: int = 1, tensors: int = 4) -> Iterable[Observation]:
    ids = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_PORT": "1"}
    yield Hello(origin(rank), 1, "rank", "python", "3.11", "2.13", 0, ids, {})
    listed = [TensorDeclaration(f"t{at}", [NUMEL], "float32", NUMEL, 0) for at in range(tensors)]
    replicas = list(range(ranks)) if ranks > 1 else []
    declaration = OptimizerDeclaration(0, "torch.optim.sgd.SGD", "", 0, [{}], listed, replicas)
    yield OptimizerDeclared(origin(rank), declaration)


def trial(
    loss: Loss, gradient: float, *, tensor: int = 0, direction: str = "gradient", reach: float = 1e-3
) -> GradientTrial:
    """A trial where the loss along the direction is ``loss(distance)`` and the gradient says ``gradient``."""
    here = loss(0.0)
    norm = abs(gradient) if direction == "gradient" else abs(gradient) * NUMEL**0.5
    return GradientTrial(
        tensor,
        direction,
        reach,
        loss(reach) - here,
        loss(-reach) - here,
        loss(reach / 2) - here,
        gradient * reach,
        -gradient * reach,
        norm,
    )


def checked(step: int, *trials: GradientTrial, rank: int = 0, clip: float = 1.0) -> GradientChecked:
    return GradientChecked(
        origin(rank), 0, step, 4, clip, 0, trials=list(trials), calls=1, rounding=ROUNDING, fresh=True
    )


def judge(*records: Observation) -> tuple[list[Finding], Coverage]:
    detector = NotDerivative()
    found = [one for record in records for one in detector.observe(record)]
    return [*found, *detector.finish()], detector.coverage()


def curved(slope: float, bend: float = 0.0, third: float = 0.0) -> Loss:
    return lambda x: 2.0 + slope * x + bend * x * x + third * x * x * x


def suspected(loss: Loss, gradient: float, *others: GradientTrial) -> tuple[GradientTrial, ...]:
    """What the guard ships when the first trial looks wrong."""
    return trial(loss, gradient), trial(loss, gradient, reach=1e-3 / 4), *others


@given(st.floats(0.5, 5), st.floats(-3, 3), st.floats(-3, 3), st.sampled_from(["gradient", "random"]))
def test_the_right_gradient_of_a_smooth_loss_agrees(
    slope: float, bend: float, third: float, direction: str
) -> None:
    record = checked(3, trial(curved(slope, bend, third), slope, direction=direction))
    found, coverage = judge(*declared(), record)
    assert found == []
    assert coverage.checked == 1


@given(st.floats(0.5, 5), st.floats(-3, 3), st.sampled_from([-1.0, 0.0, 0.5, 1.2, 9.0]))
def test_a_wrong_gradient_is_found_at_its_step(slope: float, bend: float, factor: float) -> None:
    loss = curved(slope, bend)
    right = [trial(curved(1.5), 1.5, tensor=at) for at in (1, 2)]
    if factor:
        record = checked(3, *suspected(loss, slope * factor, *right))
    else:
        ways = [trial(loss, 0.0, direction="random", reach=reach) for reach in (1e-3, 1e-3 / 4)]
        record = checked(3, *ways, *right)
    found, _ = judge(*declared(), record)
    assert [(one.subject, one.first_step, one.breaks) for one in found] == [("t0", 3, True)]


def test_a_factor_on_all_gradients_is_a_note_once() -> None:
    def scaled(step: int, factor: float) -> GradientChecked:
        others = [trial(curved(1.5), 1.5 * factor, tensor=at) for at in (1, 2)]
        return checked(step, *suspected(curved(2.0), 2.0 * factor, *others))

    found, coverage = judge(*declared(), scaled(1, 0.25), scaled(2, 0.5), scaled(3, 0.25))
    assert [one.severity for one in found] == [Severity.NOTE]
    assert "0.25 times" in found[0].message
    assert coverage.checked == 3


def test_all_gradients_pointing_the_wrong_way_is_no_factor() -> None:
    others = [trial(curved(1.5), -1.5, tensor=at) for at in (1, 2)]
    found, _ = judge(*declared(), checked(1, *suspected(curved(2.0), -2.0, *others)))
    assert [one.breaks for one in found] == [True]
    assert "all tensors tried" in found[0].message


def test_clipping_explains_what_it_does() -> None:
    record = checked(1, trial(curved(2.0), 0.5), clip=0.25)
    assert judge(*declared(), record)[0] == []


def test_a_kink_that_shrinks_is_not_accused() -> None:
    """A loss whose slope is another beyond a point between the two reaches."""

    def kinked(x: float) -> float:
        return 2.0 + x + (3.0 * (x - 4e-4) if x > 4e-4 else 0.0)

    found, coverage = judge(*declared(), checked(1, *suspected(kinked, 1.0)))
    assert found == []
    assert coverage.checked == 0
    assert BLURRED in coverage.reasons


@pytest.mark.parametrize(("gradient", "wrong"), [(7e-6, False), (7e-3, True)])
def test_a_gradient_that_is_the_rounding_of_larger_ones_is_not_judged(gradient: float, wrong: bool) -> None:
    # A bias before a normalisation: the loss does not change, however far it is moved.
    flat = dataclasses.replace(trial(curved(0.0), gradient, reach=0.2), plus=1e-8, minus=-1e-8, half=5e-9)
    closer = dataclasses.replace(trial(curved(0.0), gradient, reach=0.05), plus=1e-8, minus=-1e-8, half=5e-9)
    record = checked(1, flat, closer, trial(curved(1.0), 1.0, tensor=1))
    found, coverage = judge(*declared(), dataclasses.replace(record, rounding=6e-9))
    assert bool(found) is wrong
    assert (ROUNDED in coverage.reasons) is not wrong


def test_what_is_lost_in_rounding_is_not_counted() -> None:
    found, coverage = judge(*declared(), checked(1, trial(curved(1e-6), -1e-6)))
    assert found == []
    assert coverage.reasons == {BLURRED: 1}


def replaced(step: int, *trials: GradientTrial, by: str, through: bool = False) -> GradientChecked:
    """A check of a tensor below a place at which its derivative may be replaced."""
    return dataclasses.replace(checked(step, *trials), surrogates=[by], through=[by] if through else [])


OTHERS = [trial(curved(1.5), 1.5, tensor=at) for at in (1, 2)]
WRONG = suspected(curved(2.0), 1.0, *OTHERS)


def test_a_stopped_gradient_is_a_note_until_it_was_seen_to_be_right() -> None:
    wrong = replaced(5, *WRONG, by="detached at model.py:3")
    found, coverage = judge(*declared(), wrong)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert coverage.checked == 0
    right = [checked(step, trial(curved(2.0), 2.0)) for step in (1, 2)]
    found, _ = judge(*declared(), right[0], wrong)
    assert [one.severity for one in found] == [Severity.NOTE]
    found, _ = judge(*declared(), *right, wrong)
    assert [one.breaks for one in found] == [True]
    assert "at earlier steps it was" in found[0].message


@pytest.mark.parametrize(
    ("first", "held", "right"), [(True, 1.0, True), (True, 1.5, False), (False, 1.0, False)]
)
def test_what_is_right_with_stopped_gradients_held_constant_is_right(
    first: bool, held: float, right: bool
) -> None:
    place = "detached at model.py:3"
    before = [replaced(step, trial(curved(2.0), 2.0), by=place if first else "") for step in (1, 2)]
    wrong = dataclasses.replace(replaced(5, *WRONG, by=place), held=[trial(curved(held), 1.0)])
    found, coverage = judge(*declared(), *before, wrong, dataclasses.replace(wrong, step=6))
    assert [one.breaks for one in found] == [not right]
    assert coverage.checked == 4


def test_what_cannot_be_told_with_them_held_constant_is_not_judged() -> None:
    place = "detached at model.py:3"
    before = [replaced(step, trial(curved(2.0), 2.0), by=place) for step in (1, 2)]
    blurred = [trial(curved(1e-6), -1e-6)]
    wrong = dataclasses.replace(replaced(5, *WRONG, by=place), held=blurred)
    found, coverage = judge(*declared(), *before, wrong)
    assert found == []
    assert coverage.reasons == {BLURRED: 1}


def test_a_function_explains_a_tensor_until_that_was_right_with_it() -> None:
    by = "autograd function Drill at model.py:3"
    wrong = replaced(5, *WRONG, by=by)
    assert [one.severity for one in judge(*declared(), wrong)[0]] == [Severity.NOTE]
    without = checked(1, trial(curved(2.0), 2.0))
    assert [one.severity for one in judge(*declared(), without, wrong)[0]] == [Severity.NOTE]
    right = [replaced(step, trial(curved(2.0), 2.0), by=by) for step in (1, 2)]
    assert [one.severity for one in judge(*declared(), right[0], wrong)[0]] == [Severity.NOTE]
    # It has been there from the first check on, and may have a schedule: a reversal that sets in.
    assert [one.severity for one in judge(*declared(), *right, wrong)[0]] == [Severity.WARNING]
    others = [checked(step, trial(curved(2.0), 2.0, tensor=1)) for step in range(20, 40)]
    late = [dataclasses.replace(one, step=one.step + 50) for one in (*right, wrong)]
    assert [one.breaks for one in judge(*declared(), *others, *late)[0]] == [True]
    # A part of the gradient that was small, and is less so.
    grown = replaced(5, *suspected(curved(2.0), 1.9, *OTHERS), by=by)
    assert [one.severity for one in judge(*declared(), *right, grown)[0]] == [Severity.NOTE]
    found, _ = judge(*declared(), *right, grown, dataclasses.replace(wrong, step=9))
    assert [one.severity for one in found] == [Severity.NOTE]


def test_a_function_that_passed_all_of_one_gradient_explains_no_other() -> None:
    by = "autograd function Drill at model.py:3"
    wrong = replaced(5, *WRONG, by=by)
    beside = replaced(1, trial(curved(2.0), 2.0, tensor=3), by=by)
    assert [one.severity for one in judge(*declared(), beside, wrong)[0]] == [Severity.NOTE]
    through = replaced(1, trial(curved(2.0), 2.0, tensor=3), by=by, through=True)
    assert [one.severity for one in judge(*declared(), through, wrong)[0]] == [Severity.WARNING]


def test_a_note_does_not_keep_a_later_warning_back() -> None:
    by = "autograd function Drill at model.py:3"
    wrong = [replaced(step, *WRONG, by=by) for step in (1, 2, 9, 10)]
    through = replaced(5, trial(curved(2.0), 2.0, tensor=3), by=by, through=True)
    found, _ = judge(*declared(), *wrong[:2], through, *wrong[2:])
    assert [(one.severity, one.first_step) for one in found] == [(Severity.NOTE, 1), (Severity.WARNING, 9)]


def test_a_factor_on_those_that_were_tried_is_not_demanded_of_the_rest() -> None:
    halved = [trial(curved(2.0), 1.0, tensor=at) for at in (1, 2)]
    first = checked(1, *suspected(curved(2.0), 1.0, *halved))
    rest = checked(2, *suspected(curved(2.0), 2.0, *halved))
    found, coverage = judge(*declared(), first, rest)
    assert [one.severity for one in found] == [Severity.NOTE]
    assert coverage.checked == 2


@given(st.lists(st.floats(0.2, 4), min_size=2, max_size=5), st.integers(0, 10**6))
@settings(max_examples=examples(50))
def test_ranks_are_averaged_in_whatever_order_they_come(slopes: list[float], seed: int) -> None:
    ranks = len(slopes)
    mean = sum(slopes) / ranks
    records = [
        checked(2, trial(curved(slope), mean, reach=1e-3 * (rank + 1)), rank=rank)
        for rank, slope in enumerate(slopes)
    ]
    random.Random(seed).shuffle(records)
    beginnings = [one for rank in range(ranks) for one in declared(rank, ranks)]
    found, coverage = judge(*beginnings, *records)
    assert found == []
    assert coverage.checked == ranks


def test_small_differences_of_ranks_need_a_second_step() -> None:
    beginnings = [one for rank in range(2) for one in declared(rank, 2)]

    def step(number: int, tensor: int) -> list[Observation]:
        trials = trial(curved(2.0), 1.4, tensor=tensor), trial(curved(1.5), 1.5, tensor=3)
        return [checked(number, *trials, rank=rank) for rank in range(2)]

    assert judge(*beginnings, *step(3, 0))[0] == []
    found, _ = judge(*beginnings, *step(3, 0), *step(9, 1))
    assert [(one.subject, one.first_step) for one in found] == [("t0", 3)]


def test_ranks_that_scale_all_their_gradients_a_little_break_nothing() -> None:
    beginnings = [one for rank in range(2) for one in declared(rank, 2)]

    def step(number: int, factor: float) -> list[Observation]:
        trials = trial(curved(2.0), 2.0 * factor), trial(curved(1.5), 1.5 * factor, tensor=3)
        return [checked(number, *trials, rank=rank) for rank in range(2)]

    found, _ = judge(*beginnings, *(one for at in range(9) for one in step(at, 0.9 - 0.04 * at)))
    assert [one.severity for one in found] == [Severity.NOTE]


def test_one_gradient_alone_does_not_tell_wrong_from_scaled() -> None:
    unseen = trial(curved(1.5, third=1e8), 0.3, tensor=1)
    found, coverage = judge(*declared(), checked(1, *suspected(curved(2.0), 1.0, unseen)))
    assert found == []
    assert coverage.reasons == {BLURRED: 1}
    only = dataclasses.replace(checked(1, *suspected(curved(2.0), 1.0)), tensors=1)
    assert [one.severity for one in judge(*declared(), only)[0]] == [Severity.NOTE]


@given(st.floats(0.05, 0.4), st.integers(0, 10**6))
@settings(max_examples=examples(100))
def test_noise_under_a_factor_is_no_wrong_gradient(noise: float, seed: int) -> None:
    """Low precision: every evaluation is off by a random share of what it should be, and all are scaled."""
    draw = random.Random(seed)

    def noisy(slope: float) -> Loss:
        return lambda x: 2.0 + (slope * x + noise * 1e-3 * draw.gauss(0, 1) if x else 0.0)

    def record(step: int) -> GradientChecked:
        others = [trial(noisy(1.5), 1.5 * 1e-3, tensor=at) for at in (1, 2)]
        return checked(step, *suspected(noisy(2.0), 2.0 * 1e-3, *others))

    found, _ = judge(*declared(), *map(record, range(20)))
    assert not any(one.breaks for one in found)


def test_ranks_of_which_one_is_missing_are_not_judged() -> None:
    beginnings = [one for rank in range(2) for one in declared(rank, 2)]
    many = [checked(step, trial(curved(1.0), -1.0)) for step in range(80)]
    found, coverage = judge(*beginnings, *many)
    assert found == []
    assert coverage.checked == 0
    assert ALONE in coverage.reasons


def test_several_ranks_without_a_group_are_not_judged() -> None:
    hello, declaration = declared(0, 2)
    assert isinstance(declaration, OptimizerDeclared)
    alone = dataclasses.replace(declaration.optimizer, replicas=[])
    record = checked(1, trial(curved(1.0), -1.0))
    found, coverage = judge(hello, OptimizerDeclared(origin(), alone), record)
    assert found == []
    assert coverage.reasons == {UNGROUPED: 1}


def test_a_restarted_job_does_not_meet_its_earlier_self() -> None:
    first = [one for rank in range(2) for one in declared(rank, 2)]
    left = checked(4, trial(curved(1.0), 5.0), rank=1)
    again = []
    for rank in range(2):
        for one in declared(rank, 2):
            moved = dataclasses.replace(one, origin=dataclasses.replace(one.origin, pid=200 + rank))
            if isinstance(moved, Hello):
                moved = dataclasses.replace(moved, ids={**moved.ids, "TORCHELASTIC_RESTART_COUNT": "1"})
            again.append(moved)
    late = checked(4, trial(curved(1.0), 1.0))
    late = dataclasses.replace(late, origin=dataclasses.replace(late.origin, pid=200))
    found, _ = judge(*first, left, *again, late)
    assert found == []


def test_stale_gradients_and_reasons_are_coverage() -> None:
    stale = dataclasses.replace(checked(1, trial(curved(1.0), -1.0)), fresh=False)
    why = dataclasses.replace(checked(2), reason="the module is gone")
    found, coverage = judge(*declared(), stale, why)
    assert found == []
    assert coverage.reasons == {STALE: 1, "the module is gone": 1}


NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(
        st.builds(
            GradientTrial,
            st.integers(-3, 9),
            st.sampled_from(["gradient", "random", "x"]),
            *[NUMBER] * 7,
        ),
        max_size=6,
    ),
    NUMBER,
    NUMBER,
)
def test_no_record_of_any_kind_makes_it_fail(
    trials: list[GradientTrial], clip: float, rounding: float
) -> None:
    record = dataclasses.replace(checked(1, *trials, clip=clip), rounding=rounding)
    judge(*declared(), record, record)


@given(*[NUMBER] * 5, NUMBER)
def test_what_is_no_number_is_not_seen(
    slope: float, error: float, inner: float, expected: float, signal: float, factor: float
) -> None:
    found = Slope(0, "gradient", slope, error, inner, expected, signal, SHARES["gradient"]).agreement(factor)
    if found is Agreement.DIFFERS:
        assert abs(slope * factor - inner) > 8 * error * abs(factor)
