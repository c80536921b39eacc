"""Reading what a run declares from its own objects: optimizers, schedulers, loaders, parameter names."""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING

from .replicas import replicas_of
from .shards import sharded_kind

if TYPE_CHECKING:
    import torch

MAX_LIST = 256
MAX_LEFT = 1024
_HIDDEN_PREFIXES = ("module.", "_orig_mod.")


def class_name(value: object) -> str:
    """``module.QualName`` of a value's class."""
    return qualified(type(value))


def qualified(kind: type) -> str:
    """``module.QualName`` of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def hyper(value: object) -> object:
    """A hyper-parameter as a JSON scalar or list; tensors of one element as numbers, others by type name."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and len(value) <= MAX_LIST:
        return [hyper(item) if not isinstance(item, (list, tuple)) else str(item) for item in value]
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "numel", lambda: 0)() == 1:
        number = item()
        return number if isinstance(number, (bool, int, float)) else str(number)
    return f"<{class_name(value)}>"


def groups_of(optimizer: torch.optim.Optimizer) -> list[dict[str, object]]:
    """Each parameter group's hyper-parameters, without its parameters."""
    return [
        {key: hyper(value) for key, value in group.items() if key not in ("params", "param_names")}
        for group in optimizer.param_groups
    ]


def modules_holding(parameters: Sequence[torch.Tensor]) -> list[torch.nn.Module]:
    """The modules alive that hold one of ``parameters``, in no particular order.

    Looks through the garbage collector's objects once; by type, so that no proxy's attributes are touched.
    """
    import torch

    wanted = {id(parameter) for parameter in parameters}
    found: list[torch.nn.Module] = []
    for candidate in gc.get_objects():
        if not issubclass(type(candidate), torch.nn.Module):
            continue
        try:
            if any(id(parameter) in wanted for parameter in candidate.parameters()):
                found.append(candidate)
        except Exception:  # noqa: S112 - a half-built module elsewhere in the program is not ours to judge
            continue
    return found


def parameter_names(
    parameters: Sequence[torch.Tensor], modules: Sequence[torch.nn.Module] | None = None
) -> dict[int, str]:
    """Names of parameters by ``id``, from the module that owns most of them.

    ``modules`` are those of :func:`modules_holding`. Prefixes of DistributedDataParallel and torch.compile
    wrappers are removed.
    """
    wanted = {id(parameter) for parameter in parameters}
    best: dict[int, str] = {}
    for candidate in modules_holding(parameters) if modules is None else modules:
        named = {id(p): name for name, p in candidate.named_parameters() if id(p) in wanted}
        if len(named) > len(best) or (len(named) == len(best) and _total(named) > _total(best)):
            best = named
    return {key: _bare(name) for key, name in best.items()}


def _total(named: dict[int, str]) -> int:
    return sum(len(_bare(name)) for name in named.values())


def _bare(name: str) -> str:
    changed = True
    while changed:
        changed = False
        for prefix in _HIDDEN_PREFIXES:
            if name.startswith(prefix):
                name, changed = name[len(prefix) :], True
    return name.replace("._orig_mod.", ".")


def place_of(function: object) -> tuple[str, int]:
    """Source path and first line of a function below its wrappers; empty and 0 when it has none."""
    try:
        code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
    except (AttributeError, ValueError):
        return "", 0
    return code.co_filename, code.co_firstlineno


def torch_base(kind: type) -> tuple[str, bool]:
    """The nearest base of an optimizer's class that is torch's own, and whether it takes the step unchanged.

    torch wraps ``step`` of each class for its hooks, so functions are compared below their wrappers.
    """
    for base in kind.__mro__:
        module = base.__module__
        if module != "torch.optim" and not module.startswith("torch.optim."):
            continue
        if module == "torch.optim.optimizer":
            break
        same = all(
            _bare_function(getattr(base, name, None)) is _bare_function(getattr(kind, name, None))
            for name in ("step", "_init_group", "__getattribute__")
        )
        return f"{module}.{base.__qualname__}", same
    return "", False


def _bare_function(function: object) -> object:
    try:
        return inspect.unwrap(function)  # type: ignore[arg-type]
    except ValueError:
        return function


def optimizer_body(
    index: int,
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[tuple[int, torch.Tensor]],
    modules: Sequence[torch.nn.Module] | None = None,
) -> dict[str, object]:
    """The ``OptimizerDeclaration`` of an optimizer. ``parameters`` are (group, tensor) in group order.

    ``modules`` are those that hold one of them, where that is known already.
    """
    listed = list(parameters)
    kind = sharded_kind()
    names = parameter_names([tensor for _, tensor in listed], modules)
    path, line = place_of(type(optimizer).step)
    base, inherits = torch_base(type(optimizer))
    return {
        "index": index,
        "class_name": class_name(optimizer),
        "path": path,
        "line": line,
        "base": base,
        "inherits": inherits,
        "groups": groups_of(optimizer),
        "replicas": replicas_of([tensor for _, tensor in listed]),
        "sharded": sum(type(tensor) is kind for _, tensor in listed) if kind is not None else 0,
        "tensors": [
            {
                "name": names.get(id(tensor), f"param.{position}"),
                "shape": list(tensor.shape),
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "numel": tensor.numel(),
                "group": group,
            }
            for position, (group, tensor) in enumerate(listed)
        ],
    }


def regrouping(
    before: Sequence[tuple[int, torch.Tensor]],
    parameters: Sequence[torch.Tensor],
    modules: Sequence[torch.nn.Module],
) -> dict[str, object]:
    """What became of the parameters ``before``, as (group, tensor): see ``OptimizerDeclared``.

    ``modules`` are those that hold one of the ``parameters`` that are there now.
    """
    groups = {id(tensor): group for group, tensor in before}
    now = {id(tensor) for tensor in parameters}
    gone = [tensor for _, tensor in before if id(tensor) not in now and tensor.requires_grad]
    names = parameter_names(gone, modules) if gone else {}
    return {
        "was": [groups.get(id(tensor), -1) for tensor in parameters],
        "left": [names[id(tensor)] for tensor in gone if id(tensor) in names][:MAX_LEFT],
    }


_NOT_PARAMETERS = frozenset({"optimizer", "base_lrs", "last_epoch", "verbose"})


def scheduler_body(
    index: int, optimizer_index: int, scheduler: object, lrs: Sequence[float]
) -> dict[str, object]:
    """The ``SchedulerDeclaration`` of a learning-rate scheduler, its children included."""
    parameters = {}
    for key, value in vars(scheduler).items():
        if key in _NOT_PARAMETERS or key in ("_schedulers", "lr_lambdas") or callable(value):
            continue
        name = key.removeprefix("_") if key in ("_milestones",) else key
        if name.startswith("_") and name not in ("_step_count",):
            continue
        parameters[name] = _scheduler_value(value)
    parameters.update(_cycle_parameters(scheduler))
    children = [
        scheduler_body(position, optimizer_index, child, lrs)
        for position, child in enumerate(getattr(scheduler, "_schedulers", ()))
    ]
    return {
        "index": index,
        "optimizer": optimizer_index,
        "class_name": class_name(scheduler),
        "parameters": parameters,
        "base_lrs": base_rates(scheduler),
        "lrs": list(lrs),
        "last_epoch": int(getattr(scheduler, "last_epoch", 0)),
        "children": children,
        "functions": functions_of(vars(scheduler).get("lr_lambdas")),
    }


def rate_functions(scheduler: object) -> list[object]:
    """The functions that a scheduler, or one inside it, calls for its rates: one for each group."""
    own = vars(scheduler).get("lr_lambdas")
    found = list(own[:MAX_LIST]) if isinstance(own, list) else []
    inner = vars(scheduler).get("_schedulers", ())
    if isinstance(inner, (list, tuple)):
        for child in inner[:MAX_LIST]:
            found += rate_functions(child)
    return found


def base_rates(scheduler: object) -> list[float]:
    """The rates that a scheduler starts from, one for each group; none for those that keep no such list."""
    return [float(rate) for rate in getattr(scheduler, "base_lrs", ())]


def functions_of(values: object) -> list[dict[str, object]]:
    """The functions that a scheduler calls for its rates: one for all groups, or one for each."""
    if not isinstance(values, list) or not values or len(values) > MAX_LIST:
        return []
    distinct = values[:1] if all(value is values[0] for value in values) else values
    return [_function(value) for value in distinct]


def _function(value: object) -> dict[str, object]:
    """Where a function is defined, and the named arguments that were bound to it beforehand."""
    bound: dict[str, object] = {}
    if type(value) is functools.partial and not value.args:
        bound = {key: hyper(item) for key, item in list(value.keywords.items())[:MAX_LIST]}
        value = value.func
    if isinstance(value, FunctionType):
        return {"name": f"{value.__module__}.{value.__qualname__}", "arguments": bound}
    return {"name": class_name(value), "arguments": bound}


def _cycle_parameters(scheduler: object) -> dict[str, object]:
    """What one-cycle and cyclic policies keep in private fields and in the optimizer's groups."""
    values = vars(scheduler)
    found: dict[str, object] = {}
    phases = values.get("_schedule_phases")
    if isinstance(phases, list):
        groups = getattr(values.get("optimizer"), "param_groups", [])
        found["phase_ends"] = [hyper(phase.get("end_step")) for phase in phases[:8]]
        found["max_lr"] = [hyper(group.get("max_lr")) for group in groups[:MAX_LIST]]
        found["min_lr"] = [hyper(group.get("min_lr")) for group in groups[:MAX_LIST]]
        found["anneal_strategy"] = hyper(values.get("_anneal_func_type"))
    if "_scale_fn_custom" in values:
        custom = values["_scale_fn_custom"]
        found["scale_fn"] = None if custom is None else declared_name(custom)
    return found


def declared_name(value: object) -> str:
    """The name of a function of the program, for the record."""
    return str(getattr(value, "__qualname__", type(value).__name__))


def _scheduler_value(value: object) -> object:
    # MultiStepLR keeps its milestones in a Counter: spelled out again as a sorted list.
    if isinstance(value, dict) and all(isinstance(item, int) for item in value.values()):
        return sorted(key for key, times in value.items() for _ in range(times))[:MAX_LIST]
    return hyper(value)
