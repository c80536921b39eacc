"""One of a thing is told as one, and several as several."""

from __future__ import annotations

import pytest

from veracity.core.quantity import quantity


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "step", "0 steps"),
        (1, "step", "1 step"),
        (1204, "step", "1,204 steps"),
        (2, "entry", "2 entries"),
        (2, "key", "2 keys"),
        (2, "process", "2 processes"),
        (2, "batch", "2 batches"),
        (2, "hash", "2 hashes"),
        (2, "further finding", "2 further findings"),
        (1, "further finding", "1 further finding"),
    ],
)
def test_the_noun_follows_the_number(number: int, noun: str, told: str) -> None:
    assert quantity(number, noun) == told


def test_other_plurals_are_given() -> None:
    assert quantity(1, "index", "indices") == "1 index"
    assert quantity(3, "index", "indices") == "3 indices"
    assert quantity(1, "byte follows", "bytes follow") == "1 byte follows"
    assert quantity(2, "byte follows", "bytes follow") == "2 bytes follow"
