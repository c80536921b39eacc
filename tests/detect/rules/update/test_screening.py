"""The short way through Adam's formula finds what the long one finds."""

from __future__ import annotations

from array import array
from math import isfinite

from hypothesis import given
from hypothesis import strategies as st

from veracity.detect.rules.update.formulas import PRECISIONS, AdamSettings, adam_element
from veracity.detect.rules.update.screening import (
    _Near,
    adam_suspects,
    any_adam_suspects,
    plain_adam_suspects,
)

VALUES = st.floats(-1e3, 1e3, width=32)
SQUARES = st.floats(0, 1e3, width=32)


@st.composite
def a_step(draw: st.DrawFn) -> tuple[AdamSettings, float, list[array[float]], list[array[float]]]:
    """Settings, step count, and values before and after that are right, nearly right or wrong."""
    settings = AdamSettings(
        lr=draw(st.floats(1e-6, 1)),
        beta1=draw(st.sampled_from([0.0, 0.9, 0.95])),
        beta2=draw(st.sampled_from([0.95, 0.999])),
        eps=draw(st.sampled_from([1e-8, 1e-3])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        decoupled=draw(st.booleans()),
        amsgrad=draw(st.booleans()),
        maximize=draw(st.booleans()),
        single_bias=False,
    )
    count = float(draw(st.integers(1, 10_000)))
    rows = draw(st.lists(st.tuples(VALUES, VALUES, VALUES, SQUARES, SQUARES), min_size=1, max_size=8))
    before = [array("d", column) for column in zip(*rows, strict=True)]
    pairs = [adam_element(settings, count, list(row), PRECISIONS["float32"]) for row in rows]
    off = draw(st.lists(st.sampled_from([0.0, 0.0, 1e-9, 1e-6, 1e-2, float("nan")]), min_size=4, max_size=4))
    after = [
        array("d", [value[0] * (1 + error) for value in column])
        for column, error in zip(zip(*pairs, strict=True), off, strict=False)
    ]
    return settings, count, before, after


@given(a_step())
def test_whatever_a_closer_look_faults_is_suspected(
    step: tuple[AdamSettings, float, list[array[float]], list[array[float]]],
) -> None:
    settings, count, before, after = step
    precision = PRECISIONS["float32"]
    suspects = adam_suspects(settings, count, before, after, precision)
    for position in range(len(before[0])):
        pairs = adam_element(settings, count, [column[position] for column in before], precision)
        seen = [column[position] for column in after][: 4 if settings.amsgrad else 3]
        faulted = any(
            isfinite(bound) and not abs(observed - expected) <= bound
            for (expected, bound), observed in zip(pairs, seen, strict=False)
        )
        assert position in suspects or not faulted


@given(a_step())
def test_the_short_way_finds_what_the_long_one_finds(
    step: tuple[AdamSettings, float, list[array[float]], list[array[float]]],
) -> None:
    settings, count, before, after = step
    near = _Near.of(settings, count, PRECISIONS["float32"])
    if settings.amsgrad or settings.maximize or near.coupled:
        assert adam_suspects(settings, count, before, after, PRECISIONS["float32"]) == any_adam_suspects(
            settings, near, before, after
        )
    else:
        short = plain_adam_suspects(settings, near, before, after)
        assert short == any_adam_suspects(settings, near, before, after)
