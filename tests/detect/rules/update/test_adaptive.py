"""The law *update* over the other optimizers of torch: clean steps are silent, each departure is found."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from tests.detect.recording import declare, declared, edited, record_step
from tests.detect.rules.update.test_not_declared import DTYPES, Run, Values, swapped, with_gradient
from tests.examples import examples
from veracity.core.contract import TensorDeclaration
from veracity.core.sample import TensorSample
from veracity.detect.rules.update.adaptive import Adaptive
from veracity.detect.rules.update.judgement import Case, expected_element, judge_element
from veracity.detect.rules.update.not_declared import UpdateNotDeclared
from veracity.detect.rules.update.rounding import PRECISIONS, value_of
from veracity.detect.rules.update.screening import adaptive_suspects
from veracity.detect.rules.update.settings import settings_of

Hyper: TypeAlias = dict[str, object]

rates = st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 2.0])
decays = st.sampled_from([0.0, 0.01, 0.3])
epsilons = st.sampled_from([1e-8, 1e-6, 1e-15, 0.1])
betas = st.sampled_from([(0.9, 0.999), (0.9, 0.95), (0.0, 0.99), (0.5, 0.9999), (0.3, 0.5)])
loops: st.SearchStrategy[Hyper] = st.sampled_from(
    [{"foreach": False}, {"foreach": True}, {"differentiable": True}]
)
fused: st.SearchStrategy[Hyper] = st.just({"fused": True})
common: dict[str, st.SearchStrategy[object]] = {
    "lr": rates, "weight_decay": decays, "maximize": st.booleans(), "eps": epsilons,
}  # fmt: skip

SPACES: dict[str, st.SearchStrategy[Hyper]] = {
    "RMSprop": st.fixed_dictionaries(
        {
            **common,
            "alpha": st.sampled_from([0.99, 0.9, 0.5, 0.0]),
            "momentum": st.sampled_from([0.0, 0.9]),
            "centered": st.booleans(),
        }
    ),
    "Adagrad": st.fixed_dictionaries(
        {
            **common,
            "lr_decay": st.sampled_from([0.0, 0.1]),
            "initial_accumulator_value": st.sampled_from([0.0, 0.1]),
        }
    ),
    "Adadelta": st.fixed_dictionaries({**common, "rho": st.sampled_from([0.9, 0.99, 0.5])}),
    "Adamax": st.fixed_dictionaries({**common, "betas": betas}),
    "NAdam": st.fixed_dictionaries(
        {
            **common,
            "betas": betas,
            "momentum_decay": st.sampled_from([4e-3, 0.1]),
            "decoupled_weight_decay": st.booleans(),
        }
    ),
    "RAdam": st.fixed_dictionaries({**common, "betas": betas, "decoupled_weight_decay": st.booleans()}),
    "Adafactor": st.fixed_dictionaries(
        {
            "lr": rates,
            "weight_decay": decays,
            "maximize": st.booleans(),
            "beta2_decay": st.sampled_from([-0.8, -0.3]),
            "eps": st.sampled_from([(None, 1e-3), (1e-10, 1e-3), (1e-30, 0.1)]),
            "d": st.sampled_from([1.0, 2.0]),
        }
    ),
}


def forms(kind: str) -> st.SearchStrategy[Hyper]:
    """The implementations of torch that exist on the CPU."""
    if kind == "Adagrad":
        return st.one_of(loops, fused)
    return loops.filter(lambda form: kind != "Adafactor" or "differentiable" not in form)


def stepped(run: Run) -> Callable[[], object]:
    """A step; the differentiable form does not take parameters that require gradients."""

    def act() -> None:
        for param in run.params:
            param.requires_grad_(False)
        run.optimizer.step()
        for param in run.params:
            param.requires_grad_(True)

    return act


cases = st.sampled_from(sorted(SPACES)).flatmap(
    lambda kind: st.tuples(st.just(kind), SPACES[kind], forms(kind), st.booleans())
)


@settings(max_examples=examples(300))
@given(
    cases, st.sampled_from(sorted(DTYPES)), st.integers(0, 10**6), st.floats(-8.0, 3.0), st.floats(-4.0, 1.0)
)
def test_clean_steps_are_silent(
    case: tuple[str, Hyper, Hyper, bool], dtype: str, seed: int, gradient: float, weight: float
) -> None:
    kind, hyper, form, rate_is_a_tensor = case
    hyper = {**hyper, **form}
    if rate_is_a_tensor and not form.get("foreach"):
        hyper["lr"] = torch.tensor(hyper["lr"])
    run = Run(kind, hyper, dtype=dtype, seed=seed, size=10.0**weight)
    if rate_is_a_tensor and not form.get("foreach"):
        run.optimizer.param_groups[1]["lr"] = torch.tensor(3e-3)
    for _ in range(7):
        run.see(run.record(stepped(run), scale=10.0**gradient))
    assert run.findings == []
    assert run.detector.coverage().possible == 7


def test_long_runs_are_silent_and_checked_at_every_element() -> None:
    """RAdam becomes adaptive, NAdam's product gets too small for float32, gradients come and go."""
    steps = 130
    for kind in SPACES:
        run = Run(kind, {"lr": 1e-3, "weight_decay": 0.1})
        for step in range(steps):
            run.gradients(10.0 ** -(step % 7))
            if step % 5 == 2:
                run.params[1].grad = None
            if step % 5 == 3:
                run.params[2].grad.mul_(0.0)
            run.see(record_step(run.optimizer, step))
        assert run.findings == []
        coverage = run.detector.coverage()
        assert coverage.checked == steps
        assert not any("not finite" in reason for reason in coverage.reasons), kind


plain = st.floats(-1e3, 1e3, allow_nan=False, width=32)


@settings(max_examples=examples(500))
@given(
    st.sampled_from(sorted(SPACES)).flatmap(lambda kind: st.tuples(st.just(kind), SPACES[kind])),
    st.sampled_from(sorted(PRECISIONS)),
    st.integers(1, 10**6),
    st.lists(plain, min_size=8, max_size=8),
    st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4),
    st.sampled_from([0.5, 0.9, 1.01, 1.5, 4.0, 100.0]),
)
def test_whatever_lies_outside_its_bound_is_a_suspect(
    case: tuple[str, Hyper], dtype: str, count: int, values: list[float], nudge: list[float], reach: float
) -> None:
    kind, hyper = case
    group = {name: list(value) if isinstance(value, tuple) else value for name, value in hyper.items()}
    tensor = TensorDeclaration("t", [1, 1], dtype, 1, 0)
    chosen = settings_of(kind, group, group, tensor=tensor)  # type: ignore[arg-type]
    assert isinstance(chosen, Adaptive)
    precision = PRECISIONS[dtype]
    signed = {"param", "grad", "exp_avg", "momentum_buffer", "grad_avg"}
    before = [
        array("d", [value if name in signed else abs(value)])
        for name, value in zip(chosen.before, values, strict=False)
    ]
    sample = TensorSample(0, False, 1, None, None, {}, {})
    judged = Case(sample, chosen, float(count), precision, before, {"param": array("d", [values[0]])})
    pairs = expected_element(chosen, judged, 0)
    names = ("param", *chosen.state())
    fit = judged.fits.get(chosen, chosen)  # type: ignore[call-overload]
    for (name, (expected, bound)), share in zip(zip(chosen.after, pairs, strict=False), nudge, strict=False):
        if name in names:
            moved = expected + (share * reach * bound if bound != inf else 0.0)
            judged.after[name] = array("d", [moved])
    # Where the bounds of the two passes meet, they differ by a rounding of the bound itself.
    found = judge_element(judged, 0, pairs) or []
    if any(item.ratio > 1.05 for item in found):
        assert adaptive_suspects(fit, float(count), before, judged.after, precision) == [0]


# --- sabotage -------------------------------------------------------------------------------------


DECAYED = {"lr": 0.01, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("kind", "hyper", "sabotage", "words"),
    [
        *[
            (
                kind,
                DECAYED,
                lambda run: with_gradient(run, torch.neg),
                f"{kind} with the gradient's sign flipped",
            )
            for kind in SPACES
        ],
        *[(kind, DECAYED, lambda run: lambda: None, "no update at all") for kind in SPACES],
        *[
            (kind, DECAYED, lambda run: swapped(run, weight_decay=0.0), f"{kind} without weight decay")
            for kind in SPACES
        ],
        *[
            (
                kind,
                DECAYED,
                lambda run: swapped(run, lr=lambda group: group["lr"] * 1.02),
                f"{kind} with the learning rate scaled by 1.02",
            )
            for kind in SPACES
            if kind != "Adafactor"
        ],
        (
            "Adafactor",
            DECAYED,
            lambda run: swapped(run, lr=lambda group: group["lr"] * 1.02),
            "not Adafactor's",
        ),
        ("Adafactor", DECAYED, lambda run: swapped(run, d=9.0), "not Adafactor's"),
        ("Adafactor", DECAYED, lambda run: swapped(run, beta2_decay=-0.1), "not Adafactor's"),
        *[
            (
                kind,
                DECAYED,
                lambda run: with_gradient(run, lambda grad: grad * 0.98),
                f"{kind} with the gradient scaled by 0.98",
            )
            for kind in ("Adamax", "NAdam", "RAdam")
        ],
        ("RMSprop", {"momentum": 0.9}, lambda run: swapped(run, momentum=0.0), "RMSprop without momentum"),
        ("RMSprop", {"centered": True}, lambda run: swapped(run, centered=False), "not centred"),
        ("RMSprop", {"eps": 0.1}, lambda run: swapped(run, eps=0.0), "RMSprop without eps"),
        (
            "Adagrad",
            {"lr_decay": 0.1},
            lambda run: swapped(run, lr_decay=0.0),
            "without decay of the learning",
        ),
        ("Adadelta", {"eps": 0.1}, lambda run: swapped(run, eps=0.0), "Adadelta without eps"),
        ("NAdam", {}, lambda run: swapped(run, betas=(0.999, 0.9)), "NAdam with the two betas swapped"),
        (
            "NAdam",
            {"weight_decay": 0.1},
            lambda run: swapped(run, decoupled_weight_decay=True),
            "NAdam with weight decay decoupled from the gradient",
        ),
        (
            "RAdam",
            {"weight_decay": 0.1, "decoupled_weight_decay": True},
            lambda run: swapped(run, decoupled_weight_decay=False),
            "RAdam with weight decay coupled into the gradient",
        ),
    ],
)
def test_an_altered_step_is_found_at_its_first_step_and_named(
    kind: str, hyper: Hyper, sabotage: Callable[[Run], Callable[[], object]], words: str
) -> None:
    run = Run(kind, hyper)
    run.clean(8)
    for _ in range(2):
        run.see(run.record(sabotage(run)))
    found = [finding for finding in run.findings if words in finding.message]
    assert [finding.first_step for finding in found] == [8], [finding.message for finding in run.findings]
    assert found[0].breaks


def rederived(run: Run, **departure: object) -> Callable[[int, Values, Values], None]:
    """Overwrite what a step left by what the formula gives with a departure from it."""
    declaration = run.declaration

    def change(tensor: int, before: Values, after: Values) -> None:
        one = declaration.tensors[tensor]
        group = declaration.groups[one.group]
        chosen = settings_of(declaration.class_name.rpartition(".")[2], group, group, tensor=one)
        assert isinstance(chosen, Adaptive)
        other = replace(chosen, **departure)  # type: ignore[arg-type]
        for position in range(len(after["param"])):
            values = [
                before[name][position] if name in before else chosen.initial(name) for name in chosen.before
            ]
            for name, value in zip(other.after, other.derive(float(run.step_number), values), strict=True):
                if name in after:
                    after[name][position] = value_of(value)

    return change


@pytest.mark.parametrize(
    ("kind", "departure", "words"),
    [
        ("Adamax", {"first_corrected": False}, "Adamax without bias correction of exp_avg"),
        ("NAdam", {"second_corrected": False}, "NAdam without bias correction of exp_avg_sq"),
        ("NAdam", {"looks_ahead": False}, "NAdam without Nesterov's look ahead"),
        ("RAdam", {"first_corrected": False}, "RAdam without bias correction of exp_avg"),
        ("RAdam", {"rectified": False}, "RAdam without rectification"),
        ("Adagrad", {"accumulates": False}, "Adagrad without accumulation"),
        ("RMSprop", {"eps_in_root": True}, "RMSprop with eps inside the square root"),
        ("RMSprop", {"step_scale": 0.99}, "scaled by 0.99"),
        ("Adadelta", {"step_scale": -1.0}, "the sign"),
    ],
)
def test_a_formula_with_a_term_left_out_is_found_and_named(
    kind: str, departure: dict[str, object], words: str
) -> None:
    run = Run(kind, {"eps": 1e-4, "weight_decay": 0.1})
    for _ in range(8):
        run.see(edited(run.record(), rederived(run)))
    assert run.findings == []
    run.see(edited(run.record(), rederived(run, **departure)))
    (finding,) = run.findings
    assert words in finding.message
    assert finding.first_step == 8


@pytest.mark.parametrize("state", ["square_avg", "exp_inf", "exp_avg", "sum", "acc_delta", "mu_product"])
def test_a_state_that_is_altered_within_the_step_is_found(state: str) -> None:
    kinds = {
        "square_avg": "RMSprop", "exp_inf": "Adamax", "exp_avg": "RAdam", "sum": "Adagrad",
        "acc_delta": "Adadelta", "mu_product": "NAdam",
    }  # fmt: skip
    run = Run(kinds[state])
    run.clean(3)

    def change(_tensor: int, _before: Values, after: Values) -> None:
        for position, value in enumerate(after[state]):
            after[state][position] = value * 1.001

    run.see(edited(run.record(), change))
    assert [finding.first_step for finding in run.findings] == [3]


def test_adafactor_of_a_large_tensor_is_checked_up_to_a_common_factor() -> None:
    def large() -> Run:
        run = Run("Adafactor", {"lr": 0.01, "weight_decay": 0.1})
        run.optimizer = torch.optim.Adafactor([torch.nn.Parameter(run.noise((12, 20)))], lr=0.01)
        run.params = list(run.optimizer.param_groups[0]["params"])
        run.declaration = declare(run.optimizer)
        run.detector = UpdateNotDeclared()
        run.findings = list(run.detector.observe(declared(run.declaration)))
        return run

    def masked(_tensor: int, before: Values, after: Values) -> None:
        for position in range(0, len(after["param"]), 3):
            after["param"][position] = before["param"][position]

    def flipped(_tensor: int, before: Values, after: Values) -> None:
        for position, was in enumerate(before["param"]):
            after["param"][position] = 2.0 * was - after["param"][position]

    def forgotten(_tensor: int, _before: Values, after: Values) -> None:
        for position in range(len(after["row_var"])):
            after["row_var"][position] = 0.0

    for change in (masked, flipped, forgotten):
        run = large()
        run.clean(3)
        assert any("a factor common to all elements" in reason for reason in run.detector.coverage().reasons)
        run.see(edited(run.record(), change))
        assert [finding.first_step for finding in run.findings] == [3]


def test_records_without_the_small_states_are_not_checked() -> None:
    """Records of an earlier version do not have NAdam's product or Adafactor's rows and columns."""
    for kind, names in (("NAdam", ["mu_product"]), ("Adafactor", ["row_var", "col_var", "row_mean"])):
        run = Run(kind)

        def drop(_t: int, before: Values, after: Values, names: list[str] = names) -> None:
            for name in names:
                after.pop(name, None)

        for _ in range(3):
            run.see(edited(run.record(), drop))
        assert run.findings == []
        assert any("was not read" in reason for reason in run.detector.coverage().reasons)
