"""Records of real torch optimizer steps, as the guard would ship them: for tests of detectors.

``record_step`` copies elements before and after a step; sabotage for tests is applied to such copies, or
within ``step`` itself, and nowhere else.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from veracity.core.contract import (
    Hyper,
    OptimizerDeclaration,
    RateFunction,
    SchedulerDeclaration,
    TensorDeclaration,
)
from veracity.core.observation import OptimizerDeclared, SchedulerDeclared, SchedulerStepped, StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.sample import TensorSample
from veracity.guard.declare import torch_base

LIMIT = 32


def origin(rank: int = 0, seq: int = -1, pid: int = 100) -> Origin:
    return Origin("guard", Trust.SELF_REPORT, pid, rank, seq, 0)


def hyper_groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Hyper]]:
    """The groups' hyper-parameters in the form of the wire: floats, lists, strings."""

    def plain(value: object) -> Hyper:
        if isinstance(value, torch.Tensor):
            return float(value)
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]  # type: ignore[misc]
        return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)

    return [
        {key: plain(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def declare(optimizer: torch.optim.Optimizer, index: int = 0, class_name: str = "") -> OptimizerDeclaration:
    tensors: list[TensorDeclaration] = []
    for number, group in enumerate(optimizer.param_groups):
        for param in group["params"]:
            name = f"layer{len(tensors)}.weight"
            dtype = str(param.dtype).removeprefix("torch.")
            tensors.append(TensorDeclaration(name, list(param.shape), dtype, param.numel(), number))
    kind = type(optimizer)
    return OptimizerDeclaration(
        index,
        class_name or f"{kind.__module__}.{kind.__qualname__}",
        f"site-packages/{kind.__module__.replace('.', '/')}.py",
        200,
        hyper_groups(optimizer),
        tensors,
        [],
        0,
        *torch_base(kind),
    )


def declared(declaration: OptimizerDeclaration, rank: int = 0) -> OptimizerDeclared:
    return OptimizerDeclared(origin(rank), declaration)


def copies(
    optimizer: torch.optim.Optimizer, limit: int = LIMIT
) -> list[tuple[dict[str, array[float]], float | None]]:
    """For each tensor its fields' first ``limit`` elements, and its own step count."""
    result = []
    for group in optimizer.param_groups:
        for param in group["params"]:
            fields = {"param": _values(param, limit)}
            if param.grad is not None:
                fields["grad"] = _values(param.grad, limit)
            count = None
            for key, value in optimizer.state.get(param, {}).items():
                if key == "step":
                    count = float(value)
                elif isinstance(value, torch.Tensor):
                    # A state that is smaller than its parameter is shipped as if it had its shape.
                    fields[key] = _values(value.expand(param.shape), limit)
                    if key == "row_var":
                        mean = value.mean(dim=-2, keepdim=True)
                        fields["row_mean"] = _values(mean.expand(param.shape), limit)
            result.append((fields, count))
    return result


def _values(tensor: torch.Tensor, limit: int) -> array[float]:
    code = "d" if tensor.dtype == torch.float64 else "f"
    return array(code, tensor.detach().reshape(-1)[:limit].double().tolist())


def record_step(
    optimizer: torch.optim.Optimizer,
    step: int,
    *,
    act: Callable[[], object] | None = None,
    groups: list[dict[str, Hyper]] | None = None,
    limit: int = LIMIT,
    rank: int = 0,
    index: int = 0,
    seq: int = -1,
) -> StepRecord:
    """Take one step (``act``, or the optimizer's own) and return its record."""
    in_force = groups if groups is not None else hyper_groups(optimizer)
    before = copies(optimizer, limit)
    (act or optimizer.step)()
    after = copies(optimizer, limit)
    samples = []
    for tensor, ((was, count), (now, counted)) in enumerate(zip(before, after, strict=True)):
        now.pop("grad", None)
        samples.append(TensorSample(tensor, False, len(was["param"]), count, counted, was, now))
    return step_record(step, in_force, samples, rank=rank, index=index, seq=seq)


def step_record(
    step: int,
    groups: list[dict[str, Hyper]],
    samples: list[TensorSample] | None = None,
    *,
    rank: int = 0,
    index: int = 0,
    seq: int = -1,
    scaled: bool = False,
    closure: bool = False,
) -> StepRecord:
    return StepRecord(
        origin(rank, seq), index, step, groups, {}, None, 0, {}, [], [], None, None, scaled, closure,
        samples or [],
    )  # fmt: skip


def edited(
    record: StepRecord, change: Callable[[int, dict[str, array[float]], dict[str, array[float]]], None]
) -> StepRecord:
    """A copy of ``record`` whose values after the step went through ``change(tensor, before, after)``."""
    samples = []
    for sample in record.samples:
        after = {name: array(values.typecode, values) for name, values in sample.after.items()}
        change(sample.tensor, sample.before, after)
        samples.append(replace(sample, after=after))
    return replace(record, samples=samples)


# --- schedulers ----------------------------------------------------------------------------------


def declare_scheduler(
    scheduler: object,
    parameters: Mapping[str, Hyper],
    *,
    index: int = 0,
    children: list[SchedulerDeclaration] | None = None,
    optimizer: int = 0,
    unreadable: str = "",
) -> SchedulerDeclaration:
    groups = scheduler.optimizer.param_groups  # type: ignore[attr-defined]
    kind = type(scheduler)
    return SchedulerDeclaration(
        index,
        optimizer,
        f"{kind.__module__}.{kind.__qualname__}",
        dict(parameters),
        [float(value) for value in getattr(scheduler, "base_lrs", [])],
        [float(group["lr"]) for group in groups],
        getattr(scheduler, "last_epoch", -1),
        children or [],
        unreadable,
    )


def scheduler_declared(
    declaration: SchedulerDeclaration, *, reloaded: bool = False, rank: int = 0, seq: int = -1
) -> SchedulerDeclared:
    return SchedulerDeclared(origin(rank, seq), declaration, reloaded)


def scheduler_stepped(
    scheduler: object,
    before_step: int,
    *,
    index: int = 0,
    explicit: bool = False,
    rank: int = 0,
    seq: int = -1,
    functions: Sequence[str] = (),
) -> SchedulerStepped:
    groups = scheduler.optimizer.param_groups  # type: ignore[attr-defined]
    return SchedulerStepped(
        origin(rank, seq),
        index,
        getattr(scheduler, "last_epoch", -1),
        explicit,
        before_step,
        [float(group["lr"]) for group in groups],
        [float(rate) for rate in getattr(scheduler, "base_lrs", [])],
        [RateFunction(name) for name in functions],
    )
