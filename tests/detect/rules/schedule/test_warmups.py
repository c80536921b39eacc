"""The schedules of transformers.optimization, against vectors and, where installed, the library."""

from __future__ import annotations

import functools
from math import cos, pi, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.contract import Hyper, RateFunction
from veracity.core.errors import EvidenceError
from veracity.detect.rules.schedule.warmups import warmup_of

HOME = "transformers.optimization."
COSINE = HOME + "_get_cosine_schedule_with_warmup_lr_lambda"
LINEAR = HOME + "_get_linear_schedule_with_warmup_lr_lambda"
STABLE = HOME + "_get_wsd_scheduler_lambda"


def at(name: str, position: int, **arguments: Hyper) -> float:
    return warmup_of(RateFunction(name, dict(arguments))).at(position)


def test_shares_by_hand() -> None:
    times: dict[str, Hyper] = {"num_warmup_steps": 4, "num_training_steps": 24}
    assert at(LINEAR, 3, **times) == 0.75
    assert at(LINEAR, 14, **times) == 0.5
    assert at(LINEAR, 99, **times) == 0.0
    assert at(COSINE, 9, **times, num_cycles=0.5) == pytest.approx((1 + cos(pi / 4)) / 2)
    assert at(COSINE, 24, **times, num_cycles=0.5, min_lr_rate=0.1) == pytest.approx(0.1)
    root = HOME + "_get_inverse_sqrt_schedule_lr_lambda"
    assert at(root, 15, num_warmup_steps=5, timescale=5) == pytest.approx(sqrt(5 / 15))
    assert at(HOME + "_get_constant_lambda", 7) == 1.0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (COSINE, {"num_warmup_steps": 4, "num_training_steps": 24, "num_cycles": 0.5, "more": 1}),
        (COSINE, {"num_warmup_steps": 4}),
        (LINEAR, {"num_warmup_steps": 4, "num_training_steps": "24"}),
        (LINEAR, {"num_warmup_steps": float("nan"), "num_training_steps": 24}),
        ("program." + LINEAR, {"num_warmup_steps": 4, "num_training_steps": 24}),
        (
            STABLE,
            {
                "num_warmup_steps": 1,
                "num_stable_steps": 1,
                "num_decay_steps": 1,
                "warmup_type": "other",
                "decay_type": "linear",
                "min_lr_ratio": 0.0,
                "num_cycles": 0.5,
            },
        ),
    ],
)
def test_what_is_not_known_has_no_formula(name: str, arguments: dict[str, Hyper]) -> None:
    with pytest.raises(EvidenceError):
        warmup_of(RateFunction(name, arguments))


def lambdas() -> dict[str, dict[str, st.SearchStrategy[Any]]]:
    warm, total = st.integers(0, 30), st.integers(0, 90)
    times = {"num_warmup_steps": warm, "num_training_steps": total}
    shapes = st.sampled_from(["linear", "cosine", "1-sqrt"])
    rate = st.floats(0.0, 1.0)
    return {
        "_get_constant_lambda": {},
        "_get_constant_schedule_with_warmup_lr_lambda": {"num_warmup_steps": warm},
        "_get_linear_schedule_with_warmup_lr_lambda": times,
        "_get_cosine_schedule_with_warmup_lr_lambda": {
            **times,
            "num_cycles": st.floats(0.1, 3.0),
            "min_lr_rate": rate,
        },
        "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda": {
            **times,
            "num_cycles": st.integers(1, 4),
        },
        "_get_polynomial_decay_schedule_with_warmup_lr_lambda": {
            "num_warmup_steps": warm,
            "num_training_steps": st.integers(31, 90),
            "lr_end": st.floats(0.0, 1e-4),
            "power": st.floats(0.5, 3.0),
            "lr_init": st.floats(1e-3, 1e-1),
        },
        "_get_inverse_sqrt_schedule_lr_lambda": {
            "num_warmup_steps": st.integers(1, 30),
            "timescale": st.integers(1, 90),
        },
        "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda": {
            **times,
            "num_cycles": st.floats(0.1, 3.0),
            "min_lr_rate": rate,
            "warmup_lr_rate": st.none() | rate,
        },
        "_get_wsd_scheduler_lambda": {
            "num_warmup_steps": warm,
            "num_stable_steps": warm,
            "num_decay_steps": warm,
            "warmup_type": shapes,
            "decay_type": shapes,
            "min_lr_ratio": rate,
            "num_cycles": st.floats(0.1, 2.0),
        },
    }


@pytest.mark.parametrize("name", sorted(lambdas()))
@given(data=st.data())
@settings(max_examples=examples(30))
def test_each_is_the_librarys(name: str, data: st.DataObject) -> None:
    library = pytest.importorskip("transformers.optimization")
    if not hasattr(library, name):
        pytest.skip(f"this version has no {name}")
    arguments = {key: data.draw(strategy) for key, strategy in lambdas()[name].items()}
    theirs = functools.partial(getattr(library, name), **arguments)
    ours = warmup_of(RateFunction(HOME + name, arguments))
    for position in range(100):
        assert ours.at(position) == pytest.approx(float(theirs(position)), rel=1e-9, abs=1e-9)
