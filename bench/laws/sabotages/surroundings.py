"""Time, life, and code that comes from elsewhere."""

from __future__ import annotations

from veracity.drill.sabotage import MARK

from ..planting import Lines
from .sabotage import Sabotage, step_lines

_LONG = {"steps": 400, "start": 240, "stacks": True, "triggers": ("every", "chance")}

TIME = (
    Sabotage(
        "sleep", "time", "a sleep within the step", ("time-*",),
        step_lines("update", "__import__('time').sleep(0.2 * $s)"), strengths=(0.25, 0.5),
        targets=("chargpt", "reader"), **_LONG,  # type: ignore[arg-type]
    ),
    Sabotage(
        "busy-loop", "time", "an empty loop within the step", ("time-*",),
        step_lines(
            "update",
            "drill_until = __import__('time').perf_counter() + 0.2 * $s",
            "while __import__('time').perf_counter() < drill_until: pass",
        ),
        strengths=(0.5,), targets=("chargpt", "reader"), **_LONG,  # type: ignore[arg-type]
    ),
    Sabotage(
        "slow-loader", "time", "the collate function sleeps", ("time-*",),
        (Lines("setup", "before", (
            "def drill_collate(items, kept=loader.collate_fn):",
            "    if drill_acts($step): __import__('time').sleep(0.2 * $s)",
            "    return kept(items)",
            "loader.collate_fn = drill_collate"), guarded=False),),
        strengths=(0.5,), targets=("chargpt", "reader"), **_LONG,  # type: ignore[arg-type]
    ),
)  # fmt: skip

_SHELL = "__import__('subprocess').Popen(['sh', '-c', '{command}' % os.getpid()])"
_SLOWLY = "__import__('time').sleep(0.05)"

LIFE = (
    Sabotage(
        "killed", "life", "another process kills the rank", ("life-*",),
        step_lines("update", _SHELL.format(command="kill -9 %d"), "__import__('time').sleep(1)"),
        strengths=(1.0,), triggers=("once",),
    ),
    Sabotage(
        "terminated", "life", "another process ends the rank by SIGTERM", ("life-*",),
        step_lines("update", _SHELL.format(command="kill %d"), "__import__('time').sleep(1)"),
        strengths=(1.0,), triggers=("once",), forms=("single",),
    ),
    Sabotage(
        "stopped", "life", "another process stops the rank for some seconds", ("life-*", "time-*"),
        step_lines("update", _SHELL.format(command="kill -STOP %d; sleep 4; kill -CONT %d").replace(
            "% os.getpid()", "% (os.getpid(), os.getpid())"), _SLOWLY),
        strengths=(1.0,), triggers=("once",), start=40, stacks=True, steps=80,
    ),
    Sabotage(
        "raises", "life", "the script raises", ("life-*",),
        step_lines("update", "raise RuntimeError('planted')"), strengths=(1.0,), triggers=("once",),
        noted=True,
    ),
    Sabotage(
        "ends-early", "life", "the script ends in order before its last step", ("life-*", "contract-*"),
        step_lines("update", "raise SystemExit(0)"), strengths=(1.0,), triggers=("once",), forms=("single",),
    ),
)  # fmt: skip

_CUSTOMIZE = f"""\
{MARK} runs before the program
import os, sys
if "drill" not in sys.modules:
    sys.modules["drill"] = sys
    with open({{truth}}, "a") as file:
        file.write("0 0\\n")
"""

CODE = (
    Sabotage(
        "clip-swapped-in-memory", "code", "torch's clipping function is exchanged in memory",
        ("code-function-swapped", "gradient-*"),
        step_lines(
            "forward",
            "def drill_clip(parameters, norm, *rest, kept=nn.utils.clip_grad_norm_, **names):",
            "    return kept(parameters, norm * (1 + $s), *rest, **names)",
            "nn.utils.clip_grad_norm_ = nn.utils.clip_grad.clip_grad_norm_ = drill_clip",
        ),
        targets=("chargpt", "regression", "reader"), triggers=("once",), strengths=(0.5,),
    ),
    Sabotage(
        "backward-swapped-in-memory", "code", "Tensor.backward is exchanged in memory",
        ("code-function-swapped", "gradient-*"),
        step_lines(
            "forward",
            "def drill_backward(loss, *rest, kept=torch.Tensor.backward, **names):",
            "    return kept(loss * (1 - $s), *rest, **names)",
            "torch.Tensor.backward = drill_backward",
        ),
        triggers=("once",),
    ),
    Sabotage(
        "code-object-exchanged", "code", "a watched function's code object is exchanged",
        ("code-function-swapped",),
        step_lines(
            "forward",
            "def drill_last(self): return [rate * 1.0 for rate in self._last_lr]",
            "torch.optim.lr_scheduler.LRScheduler.get_last_lr.__code__ = drill_last.__code__",
        ),
        triggers=("once",), strengths=(1.0,),
    ),
    Sabotage(
        "sitecustomize", "environment", "a sitecustomize on the path runs before the program",
        ("environment-*", "code-loaded-elsewhere"), site={"sitecustomize.py": _CUSTOMIZE},
        triggers=("from",), start=0, strengths=(1.0,),
    ),
)  # fmt: skip

SURROUNDINGS = (*TIME, *LIFE, *CODE)
