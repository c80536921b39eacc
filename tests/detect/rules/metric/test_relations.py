"""What a logged value is made of, where some losses were not looked at."""

from __future__ import annotations

import math

import pytest

from veracity.detect.rules.metric.losses import Losses
from veracity.detect.rules.metric.relations import Average, Relation, plain, sequence


@pytest.mark.parametrize("kind", ["smoothed", "unbiased"])
def test_an_average_is_not_known_after_a_hole(kind: str) -> None:
    losses = Losses("loss", 0)
    for step in range(40):
        if not 20 <= step < 30:
            losses.put(step, 2.0 - step / 100)
    average = Average(Relation(kind, decay=0.9), losses)
    values = [average.at(step) for step in range(40)]
    assert all(map(math.isfinite, values[:20]))
    assert all(map(math.isnan, values[20:]))


def test_a_loss_that_is_no_number_is_left_out_of_an_average() -> None:
    losses = Losses("loss", 0)
    for step in range(10):
        losses.put(step, math.nan if step == 5 else 1.0)
    average = Average(Relation("smoothed", decay=0.9), losses)
    assert [average.at(step) for step in range(10)] == [1.0] * 10


@pytest.mark.parametrize(
    "relation",
    [Relation("value"), Relation("smoothed", decay=0.9), Relation("rolling", width=3), Relation("window", 4)],
)
def test_a_sequence_is_what_is_found_step_by_step(relation: Relation) -> None:
    losses = Losses("loss", 0)
    for step in (*range(3, 20), *range(22, 30)):
        losses.put(step, math.nan if step == 5 else 1 + step % 7)
    average = Average(relation, losses)
    singly = [
        average.at(step) if relation.decay else plain(relation, losses, step, step - relation.width)
        for step in range(losses.start, losses.end)
    ]
    for first in (0, 10):
        made = sequence(relation, losses, losses.start + first)
        assert list(map(repr, made)) == list(map(repr, singly[first:]))
