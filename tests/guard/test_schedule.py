"""Looks are drawn by a key, as often as their cost allows."""

from __future__ import annotations

import itertools

import pytest

from veracity.guard.schedule import CLOSE, DEEP, LOOK, NORM, TRUTH, Schedule, Terms

KEY = b"k" * 32
STEPS = 4000


def run(terms: Terms, *, cost: float, step: float, overhead: float = 0.01) -> tuple[list[int], Schedule]:
    schedule = Schedule(KEY, overhead, terms)
    looked = []
    for number in range(STEPS):
        if schedule.draws(0, number):
            looked.append(number)
            schedule.looked(cost)
        schedule.stepped(step)
    return looked, schedule


def test_while_the_credit_lasts_every_step_is_looked_at_closely() -> None:
    looked, _ = run(CLOSE, cost=0.001, step=0.04)
    first = round(CLOSE.credit / 0.001)
    assert looked[:first] == list(range(first))


@pytest.mark.parametrize(("cost", "step"), [(0.001, 0.04), (0.002, 0.4), (0.0003, 0.1)])
def test_later_the_cost_stays_within_the_share(cost: float, step: float) -> None:
    looked, _ = run(CLOSE, cost=cost, step=step)
    spent = len(looked) * cost - CLOSE.credit
    allowed = 0.01 * CLOSE.share * step * STEPS
    assert spent < 1.1 * allowed or spent < CLOSE.least * STEPS * cost
    assert len(looked) > 0.7 * min(STEPS, (allowed + CLOSE.credit) / cost)


def test_what_is_too_dear_is_looked_at_now_and_then() -> None:
    looked, schedule = run(CLOSE, cost=0.5, step=0.01)
    assert schedule.probability == CLOSE.least
    assert 0.5 * CLOSE.least < len(looked) / STEPS < 2 * CLOSE.least
    gaps = [after - before for before, after in itertools.pairwise(looked)]
    assert len(set(gaps)) > 10  # drawn, not counted off


def test_a_restored_state_is_looked_at_closely_again() -> None:
    _, schedule = run(CLOSE, cost=0.05, step=0.01)
    assert schedule.probability < 1.0
    schedule.renew()
    assert schedule.probability == 1.0


def test_a_state_restored_late_is_looked_at_as_closely() -> None:
    _, schedule = run(CLOSE, cost=0.05, step=1.0)
    assert schedule.probability < 1.0
    schedule.renew()
    assert schedule.probability == 1.0


def test_alarms_cost_half_as_much_again_at_most() -> None:
    schedule = Schedule(KEY, 0.01, CLOSE)
    spent = 0.0
    for number in range(STEPS * 10):
        if schedule.draws(0, number):
            schedule.looked(0.001)
            spent += 0.001
        schedule.stepped(0.04)
        if number % 100 == 99:
            schedule.renew(alarm=True)
    allowed = 0.01 * CLOSE.share * 0.04 * STEPS * 10
    least = CLOSE.least * STEPS * 10 * 0.001
    assert spent - CLOSE.credit < 1.6 * allowed + least


def test_looks_in_a_row_are_paid_for() -> None:
    schedule = Schedule(KEY, 0.01, LOOK)
    schedule.looked(LOOK.credit)
    for _ in range(60):
        schedule.looked(0.004)
        schedule.stepped(0.4)
    assert schedule.probability == pytest.approx(0.01 * LOOK.share * 0.4 / 0.004 / 2 / 2)


def test_the_draw_of_a_dearer_rank_is_among_those_of_a_cheaper_one() -> None:
    cheap, dear = Schedule(KEY, 0.01, CLOSE), Schedule(KEY, 0.01, CLOSE)
    for schedule, cost in ((cheap, 0.001), (dear, 0.004)):
        schedule.stepped(1.0)
        schedule.looked(CLOSE.credit + 100 * cost)
        for _ in range(60):
            schedule.looked(cost)
            schedule.stepped(1.0)
    assert dear.probability < cheap.probability < 1.0
    drawn = [{step for step in range(STEPS) if one.draws(0, step)} for one in (cheap, dear)]
    assert drawn[1] < drawn[0]


def test_without_a_budget_nothing_dear_is_done() -> None:
    assert run(TRUTH, cost=0.1, step=0.1, overhead=0.0)[0] == []


def test_the_shares_are_no_more_than_half_of_the_budget() -> None:
    assert sum(terms.share for terms in (LOOK, TRUTH, CLOSE, NORM, DEEP)) <= 0.5 + 1e-9
    assert len({terms.label for terms in (LOOK, TRUTH, CLOSE, NORM, DEEP)}) == 5
