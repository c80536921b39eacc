"""The law *update* over real optimizer steps: clean twins are silent, each sabotage is found and named."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from tests.detect.recording import declare, declared, edited, hyper_groups, record_step
from tests.examples import examples
from veracity.core.contract import Hyper
from veracity.core.finding import Finding
from veracity.core.observation import Observation, StepRecord
from veracity.core.rule import Severity
from veracity.detect.rules.update.not_declared import UpdateNotDeclared

Values: TypeAlias = "dict[str, array[float]]"
Hyperparameters: TypeAlias = dict[str, Hyper]
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


class Run:
    """A few tensors with random gradients, stepped by a real optimizer under the detector's eyes."""

    def __init__(
        self,
        kind: str,
        hyper: Mapping[str, object] | None = None,
        *,
        dtype: str = "float32",
        seed: int = 0,
        size: float = 0.02,
    ) -> None:
        self.random = torch.Generator().manual_seed(seed)
        shapes = ((3,), (8, 5), (17,), (70,))
        self.params = [torch.nn.Parameter((self.noise(shape) * size).to(DTYPES[dtype])) for shape in shapes]
        groups = [{"params": self.params[:2]}, {"params": self.params[2:], "lr": 3e-3}]
        self.optimizer = getattr(torch.optim, kind)(groups, **{"lr": 1e-3, **(hyper or {})})
        self.declaration = declare(self.optimizer)
        self.detector = UpdateNotDeclared()
        self.findings: list[Finding] = list(self.detector.observe(declared(self.declaration)))
        self.step_number = 0

    def noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self.random)

    def gradients(self, scale: float = 1e-2) -> None:
        for param in self.params:
            param.grad = (self.noise(tuple(param.shape)) * scale).to(param.dtype)

    def record(self, act: Callable[[], object] | None = None, scale: float = 1e-2) -> StepRecord:
        self.gradients(scale)
        record = record_step(self.optimizer, self.step_number, act=act)
        self.step_number += 1
        return record

    def see(self, observation: Observation) -> None:
        self.findings += self.detector.observe(observation)

    def clean(self, steps: int) -> None:
        for _ in range(steps):
            self.see(self.record())
        assert self.findings == []


adam = st.fixed_dictionaries(
    {
        "lr": st.sampled_from([1e-6, 3e-4, 1e-3, 0.1]),
        "betas": st.sampled_from([(0.9, 0.999), (0.9, 0.95), (0.0, 0.99), (0.5, 0.9999), (0.3, 0.5)]),
        "eps": st.sampled_from([1e-8, 1e-6, 1e-15, 0.1, 0.0]),
        "weight_decay": st.sampled_from([0.0, 0.01, 0.1, 0.9]),
        "amsgrad": st.booleans(),
        "maximize": st.booleans(),
    }
)
sgd = st.sampled_from([(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.0, True), (0.5, 0.3, False)]).flatmap(
    lambda form: st.fixed_dictionaries(
        {
            "lr": st.sampled_from([1e-5, 1e-3, 0.1, 2.0]),
            "momentum": st.just(form[0]),
            "dampening": st.just(form[1]),
            "nesterov": st.just(form[2]),
            "weight_decay": st.sampled_from([0.0, 1e-4, 0.1]),
            "maximize": st.booleans(),
        }
    )
)
optimizers = st.sampled_from(["Adam", "AdamW", "SGD"]).flatmap(
    lambda kind: st.tuples(st.just(kind), sgd if kind == "SGD" else adam)
)
forms = st.sampled_from([{"foreach": False}, {"foreach": True}, {"fused": True}])


@settings(max_examples=examples(400))
@given(
    optimizers,
    forms,
    st.sampled_from(sorted(DTYPES)),
    st.integers(0, 10**6),
    st.floats(-8.0, 3.0),
    st.floats(-4.0, 1.0),
)
def test_clean_steps_are_silent(
    optimizer: tuple[str, Hyperparameters],
    form: dict[str, bool],
    dtype: str,
    seed: int,
    gradient: float,
    weight: float,
) -> None:
    kind, hyper = optimizer
    if kind == "SGD" and dtype == "bfloat16":
        form = {"foreach": True}  # torch's fused kernel is wrong there; see the test of its defect
    run = Run(kind, {**hyper, **form}, dtype=dtype, seed=seed, size=10.0**weight)
    for _ in range(5):
        run.see(run.record(scale=10.0**gradient))
    assert run.findings == []
    coverage = run.detector.coverage()
    assert coverage.possible == 5
    if hyper.get("eps") != 0.0:
        assert coverage.checked == 5
    assert any("weak" in reason for reason in coverage.reasons) == (dtype == "bfloat16")


def test_the_capturable_form_is_silent() -> None:
    """``differentiable`` computes the bias corrections in float32 tensors, as ``capturable`` does."""
    for seed in range(20):
        run = Run("AdamW", {"differentiable": True}, seed=seed)

        def act(run: Run = run) -> None:
            for param in run.params:
                param.requires_grad_(False)
            run.optimizer.step()
            for param in run.params:
                param.requires_grad_(True)

        for _ in range(8):
            run.see(run.record(act))
        assert run.findings == []


def test_the_compiled_form_is_silent() -> None:
    """A compiled step computes as ``differentiable`` does, without a flag in the group that says so."""
    run = Run("AdamW", {})
    record = run.record(torch.compile(run.optimizer.step, backend="eager"))
    run.see(replace(record, compiled=True))
    assert run.findings == []
    assert run.detector.coverage().checked == 1


def test_long_runs_with_absent_and_zero_gradients_are_silent() -> None:
    chance = random.Random(4)
    for kind in ("Adam", "AdamW", "SGD"):
        run = Run(kind, {"weight_decay": 0.1, **({"momentum": 0.9} if kind == "SGD" else {})})
        for step in range(150):
            run.gradients(10.0 ** chance.uniform(-12, 2))
            for param in run.params:
                if chance.random() < 0.2:
                    param.grad = None
                elif chance.random() < 0.2:
                    param.grad.mul_(0.0)
            run.see(record_step(run.optimizer, step))
        assert run.findings == []
        assert run.detector.coverage().checked == 150


# --- sabotage -------------------------------------------------------------------------------------


def number(value: Hyper) -> float:
    assert isinstance(value, float)
    return value


def adam_param(run: Run, tensor: int, before: Values, after: Values, variant: str) -> None:
    """Overwrite the parameter with a variant of the step, computed from the true moments."""
    hyper = run.declaration.groups[run.declaration.tensors[tensor].group]
    lr, decay, eps = (number(hyper[name]) for name in ("lr", "weight_decay", "eps"))
    bias1 = 1.0 if variant in ("no first", "none") else 1.0 - 0.9**run.step_number
    bias2 = 1.0 if variant in ("no second", "none") else 1.0 - 0.999**run.step_number
    sign = -1.0 if variant == "ascends" else 1.0
    if variant == "no decay":
        decay = 0.0
    for i, (m, v) in enumerate(zip(after["exp_avg"], after["exp_avg_sq"], strict=True)):
        if variant == "eps in root":
            denominator = (v / bias2 + eps) ** 0.5
        elif variant == "eps early":
            denominator = (v**0.5 + eps) / bias2**0.5
        else:
            denominator = (v / bias2) ** 0.5 + eps
        after["param"][i] = before["param"][i] * (1 - lr * decay) - sign * lr * m / bias1 / denominator


def rewritten(run: Run, variant: str) -> Callable[[int, Values, Values], None]:
    return lambda tensor, before, after: adam_param(run, tensor, before, after, variant)


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("no first", "AdamW without bias correction of exp_avg"),
        ("no second", "AdamW without bias correction of exp_avg_sq"),
        ("none", "AdamW without bias correction of exp_avg and exp_avg_sq"),
        ("ascends", "AdamW with the sign of the step flipped: it moves the wrong way"),
        ("no decay", "AdamW without weight decay"),
        ("eps in root", "AdamW with eps inside the square root"),
        ("eps early", "AdamW with eps added before the bias correction"),
    ],
)
@pytest.mark.parametrize("first", [1, 6])
def test_an_altered_adamw_is_found_at_its_first_step_and_named(variant: str, words: str, first: int) -> None:
    run = Run("AdamW", {"weight_decay": 0.1, "eps": 1e-4})
    run.clean(first)
    for _ in range(3):
        run.see(edited(run.record(), rewritten(run, variant)))
    (finding,) = run.findings
    assert finding.first_step == first
    assert finding.breaks
    assert finding.message.endswith(f"it equals {words}")
    diagnosis, *fields = finding.evidence
    assert diagnosis.observed == words
    assert "times the rounding bound" in fields[0].excerpt[0]
    assert (finding.locations[0].path, finding.locations[0].line) == (
        "site-packages/torch/optim/adamw.py",
        200,
    )


def test_an_unaltered_twin_of_the_sabotage_is_silent() -> None:
    """The same rewriting of the parameter with the true formula: the sabotage tests test the sabotage."""
    run = Run("AdamW", {"weight_decay": 0.1, "eps": 1e-4})
    for _ in range(10):
        run.see(
            edited(
                run.record(),
                rewritten(run, "as declared"),
            )
        )
    assert run.findings == []


def swapped(run: Run, **values: object) -> Callable[[], None]:
    """A step with other hyper-parameters than the groups show before and after it."""

    def act() -> None:
        kept = [{name: group[name] for name in values} for group in run.optimizer.param_groups]
        for group in run.optimizer.param_groups:
            group.update({name: value(group) if callable(value) else value for name, value in values.items()})
        run.optimizer.step()
        for group, old in zip(run.optimizer.param_groups, kept, strict=True):
            group.update(old)

    return act


def with_gradient(run: Run, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
    """A step that sees another gradient than the one the parameters hold."""

    def act() -> None:
        kept = [param.grad for param in run.params]
        for param in run.params:
            param.grad = change(param.grad)
        run.optimizer.step()
        for param, grad in zip(run.params, kept, strict=True):
            param.grad = grad

    return act


SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}


@pytest.mark.parametrize(
    ("kind", "hyper", "sabotage", "words"),
    [
        ("AdamW", {}, lambda run: with_gradient(run, torch.neg), "AdamW with the gradient's sign flipped"),
        ("Adam", {}, lambda run: swapped(run, maximize=True), "Adam with the gradient's sign flipped"),
        ("AdamW", {}, lambda run: swapped(run, betas=(0.999, 0.9)), "AdamW with the two betas swapped"),
        ("AdamW", {}, lambda run: lambda: None, "no update at all"),
        (
            "Adam",
            {"weight_decay": 0.1},
            lambda run: swapped(run, decoupled_weight_decay=True),
            "Adam with weight decay decoupled from the gradient",
        ),
        (
            "AdamW",
            {"weight_decay": 0.1},
            lambda run: swapped(run, decoupled_weight_decay=False),
            "AdamW with weight decay coupled into the gradient",
        ),
        (
            "Adam",
            {"weight_decay": 0.1},
            lambda run: swapped(run, weight_decay=0.0),
            "Adam without weight decay",
        ),
        ("SGD", SGD, lambda run: swapped(run, weight_decay=0.0), "SGD without weight decay"),
        ("SGD", SGD, lambda run: swapped(run, momentum=0.0), "SGD without momentum"),
        (
            "SGD",
            {**SGD, "nesterov": True},
            lambda run: swapped(run, nesterov=False),
            "SGD with Nesterov's momentum ignored",
        ),
        (
            "SGD",
            SGD,
            lambda run: swapped(run, nesterov=True),
            "SGD with Nesterov's momentum, which was not declared",
        ),
        (
            "SGD",
            {**SGD, "dampening": 0.5},
            lambda run: swapped(run, dampening=0.0),
            "SGD with dampening ignored",
        ),
        ("SGD", SGD, lambda run: with_gradient(run, torch.neg), "SGD with the gradient's sign flipped"),
        ("SGD", SGD, lambda run: lambda: None, "no update at all"),
    ],
)
def test_an_altered_step_is_found_at_its_first_step_and_named(
    kind: str, hyper: dict[str, object], sabotage: Callable[[Run], Callable[[], None]], words: str
) -> None:
    run = Run(kind, hyper)
    run.clean(4)
    run.see(run.record(sabotage(run)))
    run.see(run.record(sabotage(run)))
    found = [finding for finding in run.findings if words in finding.message]
    assert [finding.first_step for finding in found] == [4]
    assert found[0].breaks


@pytest.mark.parametrize("strength", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("kind", ["AdamW", "SGD"])
def test_strength_of_a_scaled_rate_and_a_scaled_gradient(kind: str, sign: float, strength: float) -> None:
    factor = 1.0 + sign * strength
    hyper = {"weight_decay": 0.1} if kind == "AdamW" else SGD
    sabotages: dict[str, Callable[[Run], Callable[[], None]]] = {
        "learning rate": lambda run: swapped(run, lr=lambda group: group["lr"] * factor),
        "gradient": lambda run: with_gradient(run, lambda grad: grad * factor),
    }
    for words, sabotage in sabotages.items():
        run = Run(kind, hyper)
        run.clean(3)
        run.see(run.record(sabotage(run)))
        (finding,) = run.findings
        assert finding.first_step == 3
        assert f"{kind} with the {words} scaled by " in finding.message
        assert float(finding.message.rpartition(" ")[2]) == pytest.approx(factor, rel=1e-4)


def test_two_elements_suffice_and_one_far_off_does_too() -> None:
    def near(tensor: int, _before: Values, after: Values, many: int) -> None:
        if tensor == 1:
            for i in range(many):
                after["param"][i] *= 1.0 + 2.0**-21

    def far(tensor: int, _before: Values, after: Values) -> None:
        if tensor == 2:
            after["param"][5] *= 1.0 + 2.0**-18

    run = Run("AdamW", size=1.0)
    run.see(edited(run.record(), lambda tensor, before, after: near(tensor, before, after, 1)))
    assert run.findings == []
    run.see(edited(run.record(), lambda tensor, before, after: near(tensor, before, after, 2)))
    assert [finding.first_step for finding in run.findings] == [1]
    run = Run("AdamW", size=1.0)
    run.see(edited(run.record(), far))
    assert [finding.first_step for finding in run.findings] == [0]
    assert "layer2.weight" in run.findings[0].subject


def test_a_tensor_without_gradient_may_not_change_in_a_bit() -> None:
    run = Run("AdamW")
    run.clean(2)
    for step in (2, 3):
        run.gradients()
        run.params[1].grad = None
        record = record_step(run.optimizer, step)
        if step == 2:
            run.see(record)
            assert run.findings == []
            continue

        def nudge(tensor: int, _before: Values, after: Values) -> None:
            if tensor == 1:
                after["exp_avg"][3] *= 1.0 + 2.0**-23

        run.see(edited(record, nudge))
    (finding,) = run.findings
    assert "layer1.weight changed although there was no gradient" in finding.message
    assert finding.first_step == 3


def test_the_step_count_must_advance_by_one() -> None:
    run = Run("Adam")
    run.clean(2)
    record = run.record()
    samples = [replace(sample, step_after=9.0) for sample in record.samples]
    run.see(replace(record, samples=samples))
    assert [finding.first_step for finding in run.findings] == [2]
    assert "step count" in run.findings[0].message


@pytest.mark.parametrize(("kind", "state"), [("SGD", "momentum_buffer"), ("AdamW", "exp_avg_sq")])
def test_state_that_the_formula_needs_must_be_there(kind: str, state: str) -> None:
    run = Run(kind, SGD if kind == "SGD" else {})
    for _ in range(2):
        run.see(edited(run.record(), lambda _t, _b, after: after.__delitem__(state)))
    (finding,) = [item for item in run.findings if state in item.message]
    assert finding.first_step == 0
    assert "and there is none" in finding.message


def test_an_sgd_whose_momentum_was_taken_out_is_found_at_its_first_step() -> None:
    run = Run("SGD", SGD)

    def plain() -> None:
        for param in run.params:
            lr = 3e-3 if param.numel() in (17, 70) else 0.05
            with torch.no_grad():
                param -= lr * (param.grad + 0.1 * param)

    run.see(run.record(plain))
    assert [finding.first_step for finding in run.findings] == [0]
    assert "momentum_buffer" in run.findings[0].message


def test_a_flag_set_later_is_judged_by_the_declaration() -> None:
    run = Run("AdamW")
    run.clean(2)
    for group in run.optimizer.param_groups:
        group["maximize"] = True
    run.see(run.record())
    (finding,) = run.findings
    assert "AdamW with maximize=True (declared False) as set in its parameter group later" in finding.message


def test_a_scheduled_weight_decay_or_momentum_is_judged_by_its_value_at_the_step() -> None:
    run = Run("AdamW", {"weight_decay": 0.1})
    for step in range(6):
        for group in run.optimizer.param_groups:
            group["weight_decay"] = 0.1 + step / 10
            group["betas"] = (0.9 - step / 100, 0.999)
        run.see(run.record())
    assert run.findings == []


def test_gradients_that_are_not_finite_are_no_finding() -> None:
    run = Run("AdamW")
    run.gradients()
    run.params[3].grad[::2] = float("nan")
    run.params[2].grad[:] = float("inf")
    run.see(record_step(run.optimizer, 0))
    run.see(run.record())
    assert run.findings == []
    assert any("not finite" in reason for reason in run.detector.coverage().reasons)


def test_a_weight_that_becomes_nan_from_finite_values_is_found() -> None:
    def poison(tensor: int, _before: Values, after: Values) -> None:
        if tensor == 0:
            after["param"][0] = float("nan")

    run = Run("SGD")
    run.see(edited(run.record(), poison))
    assert [finding.first_step for finding in run.findings] == [0]


def test_kinds_are_reported_once_for_each_rank() -> None:
    run = Run("SGD")
    run.see(declared(run.declaration, rank=1))
    for _ in range(3):
        record = edited(run.record(), lambda _t, _b, after: after["param"].__setitem__(0, 5.0))
        run.see(record)
        run.see(replace(record, origin=replace(record.origin, rank=1)))
    assert sorted(finding.rank for finding in run.findings) == [0, 1]


class OwnStep(torch.optim.ASGD):
    pass


def test_what_cannot_be_checked_says_why() -> None:
    run = Run("AdamW")
    record = run.record()
    cases = [
        (replace(record, closure=True), "closure"),
        (replace(record, scaled=True), "GradScaler"),
        (replace(record, samples=[]), "no elements"),
        (replace(record, optimizer=7), "never declared"),
        (replace(record, groups=[]), "parameter group was added"),
        (replace(record, groups=[{"lr": None}, {"lr": None}]), "lr is not a number"),
        (replace(record, samples=[replace(record.samples[0], tensor=99)]), "not declared"),
    ]
    for changed, reason in cases:
        detector = UpdateNotDeclared()
        assert list(detector.observe(declared(run.declaration))) == []
        assert list(detector.observe(changed)) == []
        coverage = detector.coverage()
        assert (coverage.checked, coverage.possible) == (0, 1)
        assert any(reason in text for text in coverage.reasons), reason
    own = OwnStep(run.params)
    detector = UpdateNotDeclared()
    assert list(detector.observe(declared(declare(own)))) == []
    assert list(detector.observe(record)) == []
    assert next(iter(detector.coverage().reasons)).startswith("no formula is known for optimizer class")


def test_a_later_declaration_does_not_replace_the_first() -> None:
    run = Run("AdamW")
    run.clean(1)
    for group in run.optimizer.param_groups:
        group["eps"] = 1.0
    run.see(declared(declare(run.optimizer)))
    run.see(run.record())
    assert "eps=1.0 (declared 1e-08)" in run.findings[0].message


def test_torchs_own_defect_is_a_warning() -> None:
    """Up to torch 2.13 the fused SGD kernel for the CPU skips whole vectors of bfloat16 parameters."""
    run = Run("SGD", {"fused": True, "momentum": 0.9, "lr": 0.5}, dtype="bfloat16")
    for _ in range(4):
        run.see(edited(run.record(), lambda _t, before, after: after.__setitem__("param", before["param"])))
    assert run.findings
    assert all(finding.severity is Severity.WARNING for finding in run.findings)
    assert hyper_groups(run.optimizer)[0]["fused"] is True
