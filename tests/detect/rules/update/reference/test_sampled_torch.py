"""torch's own optimizers as if they were not torch's: loops and kernels are other orders of one formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from tests.detect.recording import declare, declared, record_step
from tests.detect.rules.update.reference.test_sampled import DTYPES, reference_declared
from tests.examples import examples
from veracity.detect.rules.update.not_declared import UpdateNotDeclared

REFERENCES = """
def AdamW(param, grad, exp_avg=0.0, exp_avg_sq=0.0, max_exp_avg_sq=0.0,
          *, lr, betas, eps, weight_decay, amsgrad, maximize, step):
    if maximize:
        grad = -grad
    first = betas[0] * exp_avg + (1 - betas[0]) * grad
    second = betas[1] * exp_avg_sq + (1 - betas[1]) * grad ** 2
    kept = param * (1 - lr * weight_decay)
    size = lr / (1 - betas[0] ** step)
    bias = 1 - betas[1] ** step
    if amsgrad:
        most = max(max_exp_avg_sq, second)
        moved = kept - size * first / (sqrt(most / bias) + eps)
        return {"param": moved, "exp_avg": first, "exp_avg_sq": second, "max_exp_avg_sq": most}
    return {
        "param": kept - size * first / (sqrt(second / bias) + eps), "exp_avg": first, "exp_avg_sq": second,
    }


def SGD(param, grad, momentum_buffer, *, lr, momentum, weight_decay, nesterov):
    grad = grad + weight_decay * param
    if momentum == 0:
        return {"param": param - lr * grad}
    buffer = momentum * momentum_buffer + grad
    if nesterov:
        step_by = grad + momentum * buffer
    else:
        step_by = buffer
    return {"param": param - lr * step_by, "momentum_buffer": buffer}


def RMSprop(param, grad, square_avg=0.0, grad_avg=0.0, *, lr, alpha, eps, centered, weight_decay):
    grad = grad + weight_decay * param
    square = alpha * square_avg + (1 - alpha) * grad * grad
    if centered:
        mean = alpha * grad_avg + (1 - alpha) * grad
        moved = param - lr * grad / (sqrt(square - mean * mean) + eps)
        return {"param": moved, "square_avg": square, "grad_avg": mean}
    return {"param": param - lr * grad / (sqrt(square) + eps), "square_avg": square}


def Adamax(param, grad, exp_avg=0.0, exp_inf=0.0, *, lr, betas, eps, weight_decay, step):
    grad = grad + weight_decay * param
    mean = betas[0] * exp_avg + (1 - betas[0]) * grad
    norm = max(betas[1] * exp_inf, abs(grad) + eps)
    return {
        "param": param - lr * mean / ((1 - betas[0] ** step) * norm), "exp_avg": mean, "exp_inf": norm,
    }


def Rprop(param, grad, prev, step_size, *, lr, etas, step_sizes):
    way = sign(grad * prev)
    factor = etas[1] if way > 0 else (etas[0] if way < 0 else 1)
    size = max(step_sizes[0], min(step_sizes[1], step_size * factor))
    grad = 0 if way < 0 else grad
    return {"param": param - size * sign(grad), "prev": grad, "step_size": size}
"""
BETAS = st.sampled_from([(0.9, 0.999), (0.0, 0.5), (0.3, 0.9999)])
DECAYS = st.sampled_from([0.0, 1e-4, 0.1])
HYPER: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "AdamW": {
        "betas": BETAS, "weight_decay": DECAYS, "amsgrad": st.booleans(), "maximize": st.booleans(),
    },
    "SGD": {"momentum": st.just(0.9), "nesterov": st.booleans(), "weight_decay": DECAYS},
    "RMSprop": {"alpha": st.sampled_from([0.9, 0.99]), "centered": st.booleans(), "weight_decay": DECAYS},
    "Adamax": {"betas": BETAS, "weight_decay": DECAYS},
    "Rprop": {},
}  # fmt: skip
CASES = st.sampled_from(sorted(HYPER)).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries(HYPER[name]))
)
FORMS = st.sampled_from([{"foreach": False}, {"foreach": True}, {"fused": True}, {"differentiable": True}])


@settings(max_examples=examples(200))
@given(
    CASES,
    FORMS,
    st.sampled_from([1e-5, 1e-3, 0.1]),
    st.sampled_from(sorted(DTYPES)),
    st.integers(0, 10**6),
    st.floats(-6.0, 2.0),
    st.floats(-4.0, 1.0),
)
def test_torchs_implementations_are_silent(
    case: tuple[str, dict[str, object]],
    form: dict[str, bool],
    lr: float,
    dtype: str,
    seed: int,
    gradient: float,
    weight: float,
) -> None:
    name, hyper = case
    if form.get("fused") and name != "AdamW":
        form = {"foreach": True}
    random = torch.Generator().manual_seed(seed)
    params = [
        torch.nn.Parameter((torch.randn(shape, generator=random) * 10.0**weight).to(DTYPES[dtype]))
        for shape in ((3,), (8, 5), (64,))
    ]
    optimizer = getattr(torch.optim, name)(params, lr=lr, **hyper, **form)
    declaration = replace(declare(optimizer, class_name=f"own.{name}"), base="", inherits=False)
    detector = UpdateNotDeclared()
    findings = [*detector.observe(reference_declared(REFERENCES)), *detector.observe(declared(declaration))]

    def act() -> None:
        for param in params:
            param.requires_grad_(not form.get("differentiable"))
        optimizer.step()

    for step in range(6):
        for param in params:
            param.grad = (torch.randn(param.shape, generator=random) * 10.0**gradient).to(param.dtype)
        findings += detector.observe(record_step(optimizer, step, act=act))
    assert findings == []
    assert detector.coverage().checked >= 5 or dtype == "float16"
