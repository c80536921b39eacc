"""Optimizers by a declared reference: whatever honest order computed a step, it lies within the bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from tests.detect.recording import declare, declared, origin, record_step
from tests.detect.rules.update import custom
from tests.detect.rules.update.custom import Own
from tests.detect.rules.update.reference.references import REFERENCES
from tests.examples import examples
from veracity.core.digest import Digest
from veracity.core.finding import Finding
from veracity.core.observation import ReferenceDeclared, StepRecord
from veracity.detect.rules.update.not_declared import UpdateNotDeclared

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
BETAS = st.sampled_from([(0.9, 0.99), (0.95, 0.98), (0.0, 0.5), (0.3, 0.999), (0.9, 0.9999)])
RATES = st.sampled_from([1e-6, 1e-4, 1e-3, 0.1])
DECAYS = st.sampled_from([0.0, 0.01, 0.1, 0.9])
HYPER = {
    "Lion": st.fixed_dictionaries({"lr": RATES, "betas": BETAS, "weight_decay": DECAYS}),
    "SignMomentum": st.fixed_dictionaries(
        {"lr": RATES, "beta": st.sampled_from([0.0, 0.9, 0.99]), "weight_decay": DECAYS}
    ),
    "Adamlike": st.fixed_dictionaries(
        {
            "lr": RATES,
            "betas": BETAS,
            "eps": st.sampled_from([1e-8, 1e-6, 0.1]),
            "weight_decay": DECAYS,
            "correct": st.booleans(),
        }
    ),
    "Clipped": st.fixed_dictionaries(
        {
            "lr": RATES,
            "momentum": st.sampled_from([0.0, 0.9]),
            "limit": st.sampled_from([None, 1e-6, 1e-3]),
        }
    ),
}
CASES = st.sampled_from(sorted(HYPER)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(getattr(custom, name).orders), HYPER[name])
)
ADAMLIKE = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "correct": True}


def reference_declared(text: str = REFERENCES, path: str = "reference.py") -> ReferenceDeclared:
    return ReferenceDeclared(origin(-1), path, str(Digest.of(text.encode())), text)


class Run:
    """A few tensors with random gradients, stepped by a custom optimizer under the detector's eyes."""

    def __init__(
        self,
        name: str,
        hyper: dict[str, object],
        *,
        order: str = "in place",
        dtype: str = "float32",
        seed: int = 0,
        size: float = 0.02,
        text: str = REFERENCES,
        kind: type[torch.optim.Optimizer] | None = None,
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.params = [
            torch.nn.Parameter((self.noise(shape) * size).to(DTYPES[dtype]))
            for shape in ((3,), (8, 5), (64,))
        ]
        groups = [{"params": self.params[:2]}, {"params": self.params[2:], "lr": 3e-3}]
        self.optimizer = (kind or getattr(custom, name))(groups, order=order, **hyper)
        self.detector = UpdateNotDeclared()
        self.findings: list[Finding] = list(self.detector.observe(reference_declared(text)))
        self.findings += self.detector.observe(declared(declare(self.optimizer)))
        self.number = 0

    def noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self.random)

    def record(self, act: Callable[[], object] | None = None, scale: float = 1e-2) -> StepRecord:
        for param in self.params:
            param.grad = (self.noise(tuple(param.shape)) * scale).to(param.dtype)
        self.number += 1
        return record_step(self.optimizer, self.number - 1, act=act)

    def see(self, record: StepRecord) -> None:
        self.findings += self.detector.observe(record)

    def reasons(self) -> str:
        return "\n".join(self.detector.coverage().reasons)


@settings(max_examples=examples(400))
@given(
    CASES,
    st.sampled_from(sorted(DTYPES)),
    st.integers(0, 10**6),
    st.floats(-8.0, 3.0),
    st.floats(-4.0, 1.0),
)
def test_honest_steps_in_any_order_are_silent(
    case: tuple[str, str, dict[str, object]], dtype: str, seed: int, gradient: float, weight: float
) -> None:
    name, order, hyper = case
    run = Run(name, hyper, order=order, dtype=dtype, seed=seed, size=10.0**weight)
    for _ in range(5):
        run.see(run.record(scale=10.0**gradient))
    assert run.findings == []
    assert run.detector.coverage().checked >= 4 or dtype == "float16"


# --- what is found --------------------------------------------------------------------------------


class Weaker(custom.Adamlike):
    """Scales each step by 1 % less from the sixth on."""

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        was = param.clone()
        super().move(param, grad, state, group)
        if state["step"] > 5:
            param.sub_((param - was) * 0.01)


class Careless(custom.Lion):
    """Leaves weight decay out."""

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        super().move(param, grad, state, {**group, "weight_decay": 0.0})


class Miscounting(custom.Adamlike):
    """Counts twice at each fourth step."""

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        super().move(param, grad, state, group)
        state["step"] += state["step"] % 4 == 0


class Forgetting(custom.Lion):
    """Drops its state at the fourth step."""

    def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
        super().move(param, grad, state, group)
        state["steps"] = state.get("steps", 0) + 1
        if state["steps"] == 4:
            del state["exp_avg"]


def renamed(text: str, old: str, new: str) -> str:
    return text.replace(f"def {old}(", f"def {new}(")


@pytest.mark.parametrize("order", custom.Adamlike.orders)
def test_a_step_that_is_one_percent_short_is_found_and_measured(order: str) -> None:
    hyper = {**ADAMLIKE, "weight_decay": 0.0}
    run = Run("", hyper, order=order, kind=Weaker, text=renamed(REFERENCES, "Adamlike", "Weaker"))
    for _ in range(8):
        run.see(run.record())
    (finding,) = run.findings
    assert finding.breaks
    assert finding.first_step == 5
    assert "is not the declared Weaker's" in finding.message
    assert re.search(r"scaled by 0\.(99|98999\d)$", finding.message)
    assert [(place.path, place.line) for place in finding.locations][1] == ("reference.py", 17)


def test_a_missing_weight_decay_is_found_and_named() -> None:
    run = Run(
        "", {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}, kind=Careless, size=1.0,
        text=renamed(REFERENCES, "Lion", "Careless"),
    )  # fmt: skip
    run.see(run.record())
    (finding,) = run.findings
    assert finding.message.endswith("it equals the declared Careless without weight decay")


def test_a_wrong_step_count_is_found() -> None:
    run = Run("", ADAMLIKE, kind=Miscounting, text=renamed(REFERENCES, "Adamlike", "Miscounting"))
    for _ in range(8):
        run.see(run.record())
    (finding,) = run.findings
    assert (finding.first_step, finding.breaks) == (3, True)
    assert "step count" in finding.message


def test_a_state_that_is_gone_is_found() -> None:
    hyper = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    run = Run("", hyper, kind=Forgetting, text=renamed(REFERENCES, "Lion", "Forgetting"))
    for _ in range(4):
        run.see(run.record())
    (finding,) = run.findings
    assert finding.first_step == 3
    assert "the declared Forgetting keeps exp_avg" in finding.message


def test_a_tensor_without_a_gradient_must_not_move_but_by_the_reference() -> None:
    hyper = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    for moves, found in ((False, []), (True, ["without_gradient"])):
        run = Run("Lion", hyper)
        run.see(run.record())
        record = run.record(act=lambda: None)
        for param in run.params:
            param.grad = None

        def act(moves: bool = moves, run: Run = run) -> None:
            if moves:
                with torch.no_grad():
                    run.params[2].mul_(0.9)

        record = record_step(run.optimizer, 2, act=act)
        run.see(record)
        assert ["without_gradient" for one in run.findings if "no gradient" in one.message] == found


def test_a_class_may_take_a_missing_gradient_for_zeros() -> None:
    class Zeroing(custom.SignMomentum):
        @torch.no_grad()
        def step(self, closure: object = None) -> None:
            for group in self.param_groups:
                for param in group["params"]:
                    grad = torch.zeros_like(param) if param.grad is None else param.grad
                    self.move(param, grad, self.state[param], group)

    run = Run(
        "", {"lr": 1e-3, "beta": 0.9, "weight_decay": 0.1}, kind=Zeroing,
        text=renamed(REFERENCES, "SignMomentum", "Zeroing"),
    )  # fmt: skip
    run.see(run.record())
    for param in run.params:
        param.grad = None
    run.see(record_step(run.optimizer, 1))
    assert run.findings == []
    assert run.detector.coverage().checked == 2


# --- what is left open ----------------------------------------------------------------------------


def test_states_in_a_narrow_format_beside_float32_weights() -> None:
    class Narrow(custom.Adamlike):
        def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
            super().move(param, grad, state, group)
            for name in ("mean", "square"):
                state[name] = state[name].bfloat16().to(state[name].dtype)

    run = Run("", ADAMLIKE, kind=Narrow, text=renamed(REFERENCES, "Adamlike", "Narrow"))
    for _ in range(6):
        run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 6
    assert "narrow format" in run.reasons()


def test_a_state_that_begins_with_something_else_is_not_judged_at_its_first_step() -> None:
    run = Run("Clipped", {"lr": 1e-3, "momentum": 0.9, "limit": None})
    run.see(run.record())
    assert run.detector.coverage().checked == 0
    for _ in range(3):
        run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 3


def test_a_count_that_begins_late_is_followed() -> None:
    class Late(custom.Adamlike):
        def move(self, param: Any, grad: Any, state: Own, group: Own) -> None:
            if not state:
                state.update(step=6, mean=torch.zeros_like(param), square=torch.zeros_like(param))
            super().move(param, grad, state, group)

    run = Run("", ADAMLIKE, kind=Late, text=renamed(REFERENCES, "Adamlike", "Late"))
    for _ in range(4):
        run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "def Lion(param, grad, *, lr, step):\n    return {'param': lr * step}",
            "keeps none for each tensor",
        ),
        (
            "def Lion(param, grad, *, other):\n    return {'param': other}",
            "which the parameter group does not",
        ),
        ("def Lion(param, grad, other):\n    return {'other': other}", "has no other as the"),
        ("def Lion(param, grad):\n    return {}", "says nothing about this parameter group"),
        ("def Lion(param, grad, exp_avg):\n    return {'exp_avg': 0 / 0}", "not determined were"),
        ("def Another(param, grad):\n    return {}", "of no use: no optimizer of that class"),
        ("import this", "cannot be read: an import is not allowed"),
    ],
)
def test_what_cannot_be_checked_is_said(text: str, reason: str) -> None:
    hyper = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    run = Run("Lion", hyper, text=text)
    for _ in range(5):
        run.see(run.record())
    assert run.findings == []
    assert reason in run.reasons()


def test_a_class_without_a_reference_is_told_of_the_option() -> None:
    run = Run("Clipped", {"lr": 1e-3, "momentum": 0.9, "limit": None}, text="def X(param, grad): return {}")
    run.see(run.record())
    assert "`veracity run --optimizer-reference FILE` declares one" in run.reasons()
    assert run.detector.coverage().checked == 0


def test_coverage_names_the_reference() -> None:
    run = Run("Lion", {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1})
    run.see(run.record())
    assert "custom.Lion: checked against a declared reference (reference.py, sha256:" in run.reasons()
    assert "reference for Clipped (reference.py, sha256:" in run.reasons()


def test_two_classes_of_a_name_are_told() -> None:
    class Lion(custom.Lion):
        pass

    hyper = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}
    run = Run("Lion", hyper)
    run.see(run.record())
    other = Lion(run.params, order="plain", **hyper)
    run.findings += run.detector.observe(declared(declare(other, index=1)))
    run.see(replace(record_step(other, 1), optimizer=1))
    assert run.findings == []
    assert "2 classes have the name Lion" in run.reasons()


def test_a_full_name_comes_before_a_bare_one() -> None:
    wrong = "def Lion(param, grad):\n    return {'param': 0}\n"
    named = renamed(REFERENCES, "Lion", "one").replace(
        "Moves by the sign of a mixture.", "optimizer: tests.detect.rules.update.custom.Lion"
    )
    run = Run("Lion", {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}, text=wrong + named)
    run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 1


def test_torchs_own_formula_is_not_declared_away() -> None:
    class AdamW(torch.optim.AdamW):
        def __init__(self, params, order="", **hyper):  # type: ignore[no-untyped-def]
            super().__init__(params, **hyper)

    text = "def AdamW(param, grad):\n    return {'param': param}"
    run = Run("", {"lr": 1e-3}, kind=AdamW, text=text)
    run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 1
    assert "steps by a step of torch's" in run.reasons()


def test_a_subclass_that_overrides_the_step_is_judged_by_its_reference() -> None:
    class AdamW(torch.optim.AdamW):
        def __init__(self, params, order="", **hyper):  # type: ignore[no-untyped-def]
            super().__init__(params, **hyper)

        @torch.no_grad()
        def step(self, closure=None):  # type: ignore[no-untyped-def]
            for group in self.param_groups:
                for param in group["params"]:
                    param.sub_(param.grad, alpha=group["lr"])

    text = "def AdamW(param, grad, *, lr):\n    return {'param': param - lr * grad}"
    run = Run("", {"lr": 1e-3}, kind=AdamW, text=text)
    run.see(run.record())
    assert run.findings == []
    assert run.detector.coverage().checked == 1
