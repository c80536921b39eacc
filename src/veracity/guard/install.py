"""Once torch has been imported: hooks and wrappers, in one place, so that a reader sees all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter_ns
from types import ModuleType
from typing import TYPE_CHECKING

from .channels import watch_channels
from .checkpoints import watch_checkpoints
from .clipping import watch_clipping, watch_unscaling
from .compiled import Compiled
from .functions import Functions
from .hooks import StepHooks
from .imports import ImportWatch
from .loaders import Loaders, watch_loaders
from .metricfiles import watch_metric_files
from .patching import replace
from .programhooks import watch_hooks
from .randomness import watch_setting
from .schedulers import watch_schedulers
from .session import Session
from .steps import Steps
from .tensors import is_plain
from .unpickling import Unpickling, watch_unpickling

if TYPE_CHECKING:
    from torch.optim import Optimizer

MINIMUM_TORCH = (2, 1)
GPUS = "/proc/driver/nvidia/gpus"
MAX_GPUS = 64
MODULES_EVERY = 50
"""Steps after which imported modules are told of."""
WITH_INPUTS = 5
"""Positional arguments of ``Tensor.backward`` of which the last are the tensors that are to get gradients."""


def install(session: Session, imports: ImportWatch, torch: ModuleType) -> None:
    """Put the guard's hooks into this process. Called once, right after ``import torch``."""
    version = str(getattr(torch, "__version__", ""))
    session.greet(version, _numerics(torch))
    imports.flush()
    watch_metric_files(session, watch_channels(session))
    if _parse(version) < MINIMUM_TORCH:
        session.gap(
            f"torch {version} is older than the guard can read",
            "global optimizer hooks exist from torch 2.1 on",
            remedy="train with torch >= 2.1",
            law="update",
            stops=True,
        )
        return
    steps = Steps(session)
    if not isinstance(getattr(__spec__, "loader", None), Compiled):
        session.shield.run("install", _import_all, steps)
    loaders = watch_loaders(session, steps)
    schedulers = watch_schedulers(session, steps)
    unpickling = watch_unpickling(session)
    steps.rest.ends = partial(session.shield.run, "loader", loaders.flush)
    session.farewell = partial(_farewell, session, steps, unpickling)
    watch_checkpoints(session, steps, unpickling, torch)
    functions = Functions(session, steps)
    steps.within = functions.look_within
    _watch_backward(session, steps, functions, torch)
    watch_clipping(session, steps, torch)
    watch_unscaling(session, steps, torch)
    _watch_optimizers(session, steps, torch)
    watch_hooks(session, torch)
    watch_setting(session.shield, steps.setting, torch)
    run, rest = session.shield.run, steps.rest

    def before(optimizer: Optimizer, args: Sequence[object], kwargs: dict[str, object]) -> None:
        if rest.on and run("step", steps.passes, optimizer, args, kwargs):
            return
        run("scheduler", schedulers.before_step, optimizer)
        run("step", steps.before, optimizer, args, kwargs)

    def after(optimizer: Optimizer, args: Sequence[object], kwargs: dict[str, object]) -> None:
        run("step", steps.after, optimizer)
        if not rest.on or session.last_step % MODULES_EVERY == 0:
            run("after step", _after_step, session, steps, imports, loaders, functions)

    def entered(optimizer: Optimizer, args: Sequence[object], kwargs: dict[str, object]) -> None:
        run("step", steps.entered, optimizer, args, kwargs)

    def left(optimizer: Optimizer, args: Sequence[object], kwargs: dict[str, object]) -> None:
        run("step", steps.left, optimizer)

    for hook in (before, after, entered, left):
        # torch.compile leaves functions with this mark alone.
        hook._torchdynamo_disable = True  # type: ignore[attr-defined]
    steps.hooks = StepHooks(session, (before, after), (entered, left))


def _import_all(steps: Steps) -> None:
    """The sources that would be compiled later may be gone by then; compiled code is held in memory."""
    from ..core import pickled, pickled_calls  # noqa: F401
    from . import copies  # noqa: F401

    steps.prepare()


def _farewell(session: Session, steps: Steps, unpickling: Unpickling) -> None:
    session.shield.run("step", steps.rest.told)
    unpickling.finish()


def _after_step(
    session: Session, steps: Steps, imports: ImportWatch, loaders: Loaders, functions: Functions
) -> None:
    if not steps.rest.on:
        session.shield.run("loader", loaders.flush)
        session.shield.run("functions", functions.look)
    if session.last_step % MODULES_EVERY == 0:
        session.shield.run("modules", imports.flush)


def _watch_backward(session: Session, steps: Steps, functions: Functions, torch: ModuleType) -> None:
    """``Tensor.backward`` calls ``torch.autograd.backward``, which a program may also call itself."""
    depth = 0
    run, rest = session.shield.run, steps.rest

    def make(original: Callable[..., object]) -> Callable[..., object]:
        def backward(*args: object, **kwargs: object) -> object:
            nonlocal depth
            if depth:
                return original(*args, **kwargs)
            looks = not (rest.on and run("step", steps.passed_backward))
            of = args[0] if args else kwargs.get("tensors")
            if looks:
                partly = kwargs.get("inputs") is not None or len(args) >= WITH_INPUTS
                caller = sys._getframe(1)
                run("gradient root", steps.roots.begins, of, args[1:], kwargs, caller, partly=partly)
                run("data content", steps.content_begins, of)
                run("functions", functions.look_within)
                run("gradient", steps.backward_begins, of, partly=partly)
            started = perf_counter_ns()
            depth += 1
            try:
                result = original(*args, **kwargs)
            except BaseException:
                if looks:
                    run("gradient", steps.backward_failed)
                raise
            finally:
                depth -= 1
            if looks:
                run("step", ran, of, started)
                run("gradient", steps.backward_left)
            return result

        return backward

    def ran(of: object, started: int) -> None:
        steps.phases.backward(started, perf_counter_ns())
        loss = of[0] if isinstance(of, (list, tuple)) and len(of) == 1 else of
        single = isinstance(loss, torch.Tensor) and loss.numel() == 1 and is_plain(loss)
        steps.losses.saw(loss if single else None)
        run("gradient root", steps.roots.ran)
        steps.backward_ran()

    replace(torch.Tensor, "backward", make)
    replace(torch.autograd, "backward", make)


def _watch_optimizers(session: Session, steps: Steps, torch: ModuleType) -> None:
    def make(original: Callable[..., object]) -> Callable[..., object]:
        def __init__(self: Optimizer, *args: object, **kwargs: object) -> None:
            original(self, *args, **kwargs)
            session.shield.run("step", steps.prepare)
            session.shield.run("step", steps.roster.constructed, self)

        return __init__

    replace(torch.optim.Optimizer, "__init__", make)


def _numerics(torch: ModuleType) -> dict[str, str]:
    """What decides the bits of a run on this machine, as strings."""
    found = {
        "threads": str(torch.get_num_threads()),
        "interop_threads": str(torch.get_num_interop_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul_precision": str(torch.get_float32_matmul_precision()),
        "byteorder": sys.byteorder,
        "git": str(getattr(torch.version, "git_version", "")),
        "cuda": str(getattr(torch.version, "cuda", "")),
    }
    capability = getattr(torch.backends.cpu, "get_cpu_capability", None)
    if capability is not None:
        found["cpu_capability"] = str(capability())
    for name in ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG"):
        if name in os.environ:
            found[name] = os.environ[name][:64]
    gpus = gpus_in(GPUS)
    return {**found, "gpu": gpus} if gpus else found


def gpus_in(folder: str) -> str:
    """Models of the machine's GPUs as its driver lists them, each once; to ask torch would start CUDA."""
    models: set[str] = set()
    try:
        for name in sorted(os.listdir(folder))[:MAX_GPUS]:
            with open(os.path.join(folder, name, "information"), encoding="ascii", errors="replace") as file:
                text = file.read(4096)
            models |= {
                line.partition(":")[2].strip()[:64] for line in text.splitlines() if line.startswith("Model:")
            }
    except OSError:
        return ""
    return ", ".join(sorted(models))


def _parse(version: str) -> tuple[int, int]:
    parts = version.split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (IndexError, ValueError):
        return (0, 0)
