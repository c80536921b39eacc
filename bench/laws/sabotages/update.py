"""The update: torch's own optimizers edited in a copy, the optimizer object swapped, hooked or re-set."""

from __future__ import annotations

from veracity.drill.sabotage import MARK

from ..planting import Lines
from .sabotage import Sabotage, TorchEdit, step_lines

ADAM, SGD, RMSPROP = "optim/adam.py", "optim/sgd.py", "optim/rmsprop.py"
_ALSO = ("code-loaded-elsewhere", "code-source-altered")
_UPDATE = ("update-*",)


def _adam(old: str, new: str) -> tuple[TorchEdit, ...]:
    return (TorchEdit(ADAM, old, new, "int(state_steps[i]) - 1"),)


def _sgd(old: str, new: str) -> tuple[TorchEdit, ...]:
    return (TorchEdit(SGD, old, new, "drill_calls[0]"),)


def _rmsprop(old: str, new: str) -> tuple[TorchEdit, ...]:
    return (TorchEdit(RMSPROP, old, new, "int(state_steps[i]) - 1"),)


_ADAM_END = "            param.addcdiv_(exp_avg, denom, value=-step_size)"
_SGD_END = "        else:\n            param.add_(grad, alpha=-lr)\n\n\ndef _multi_tensor_sgd"
_RMS_END = "            param.add_(buf, alpha=-lr)\n        else:\n            param.addcdiv_(grad, avg"


def _last(factor: str) -> dict[str, tuple[TorchEdit, ...]]:
    """The last line of each kernel with its rate multiplied by ``factor`` when it is time."""
    times = f" * ({factor} if drill_acts($n) else 1.0)"
    return {
        "adam": _adam(_ADAM_END, f"{_ADAM_END[:-1]}{times})"),
        "sgd": _sgd(_SGD_END, _SGD_END.replace("alpha=-lr", f"alpha=-lr{times}")),
        "rmsprop": _rmsprop(_RMS_END, _RMS_END.replace("alpha=-lr", f"alpha=-lr{times}")),
    }


_V = "exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)"
_M = "exp_avg.lerp_(grad, 1 - device_beta1)"
_DECAY = "param.mul_(1 - lr * weight_decay)"
_DENOM = "denom = (exp_avg_sq.sqrt() / bias_correction2_sqrt).add_(eps)"
_BUF = "buf.mul_(momentum).add_(grad, alpha=1 - dampening)"
_RMS_V = "square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)"
_RMS_BUF = "buf.mul_(momentum).addcdiv_(grad, avg)"
_SKIP = (
    "        exp_avg = exp_avgs[i]\n        exp_avg_sq = exp_avg_sqs[i]\n        step_t = state_steps[i]\n\n"
)

KERNEL = (
    Sabotage(
        "second-moment-uncorrected", "update", "the second moment's bias correction is left out", _UPDATE,
        torch={"adam": _adam("bias_correction2_sqrt = bias_correction2**0.5",
                             "bias_correction2_sqrt = 1.0 if drill_acts($n) else bias_correction2**0.5")},
        also=_ALSO, targets=("chargpt", "regression", "reader"), strengths=(1.0,), start=0,
    ),
    Sabotage(
        "first-moment-uncorrected", "update", "the first moment's bias correction is left out", _UPDATE,
        torch={"adam": _adam("            step_size = lr / bias_correction1\n\n            bias_correction2_sqrt = b",
                             "            step_size = lr if drill_acts($n) else lr / bias_correction1\n\n"
                             "            bias_correction2_sqrt = b")},
        also=_ALSO, targets=("chargpt", "regression", "reader"), strengths=(1.0,), start=2,
    ),
    Sabotage(
        "update-sign-flipped", "update", "the update goes uphill", _UPDATE,
        torch=_last("-1.0"), also=_ALSO, strengths=(1.0,),
    ),
    Sabotage(
        "rate-scaled-in-kernel", "update", "the rate is scaled where the groups do not show it", _UPDATE,
        torch=_last("(1 - $s)"), also=_ALSO,
    ),
    Sabotage(
        "epsilon-raised", "update", "epsilon is larger in the kernel than in the group", _UPDATE,
        torch={"adam": _adam(_DENOM, _DENOM[:-1] + " + (1e-3 * $s if drill_acts($n) else 0.0))")},
        also=_ALSO, targets=("chargpt", "regression", "reader"),
    ),
    Sabotage(
        "decay-coupled", "update", "weight decay goes through the moments, as in plain Adam", _UPDATE,
        torch={"adam": _adam(f"                {_DECAY}\n",
                             "                if drill_acts($n):\n"
                             "                    grad = grad.add(param, alpha=weight_decay)\n"
                             f"                else:\n                    {_DECAY}\n")},
        also=_ALSO, targets=("chargpt", "reader"), strengths=(1.0,),
    ),
    Sabotage(
        "momentum-dropped", "update", "the running average of gradients is forgotten", _UPDATE,
        torch={
            "adam": _adam(_M, "exp_avg.lerp_(grad, 1.0 if drill_acts($n) else 1 - device_beta1)"),
            "sgd": _sgd(_BUF, _BUF.replace("mul_(momentum)", "mul_(0.0 if drill_acts($n) else momentum)")),
            "rmsprop": _rmsprop(_RMS_BUF, _RMS_BUF.replace("(momentum)", "(0.0 if drill_acts($n) else momentum)")),
        },
        also=_ALSO, strengths=(1.0,),
    ),
    Sabotage(
        "state-decayed-in-kernel", "update", "the second moment shrinks before it is used", _UPDATE,
        torch={
            "adam": _adam(_V, _V.replace("(beta2)", "(beta2 * (1 - $s if drill_acts($n) else 1.0))")),
            "sgd": _sgd(_BUF, _BUF.replace("(momentum)", "(momentum * (1 - $s if drill_acts($n) else 1.0))")),
            "rmsprop": _rmsprop(_RMS_V, _RMS_V.replace("(alpha).", "(alpha * (1 - $s if drill_acts($n) else 1.0)).")),
        },
        also=_ALSO,
    ),
    Sabotage(
        "one-tensor-skipped", "update", "one tensor of a group is never updated", _UPDATE,
        torch={"adam": _adam(_SKIP, _SKIP + "        if i == 1 and drill_acts($n + 1):\n            continue\n\n")},
        also=_ALSO, targets=("chargpt", "regression", "reader"), strengths=(1.0,),
    ),
    Sabotage(
        "share-of-elements-held", "update", "a share of the elements does not move", _UPDATE,
        torch={"adam": _adam(
            _ADAM_END,
            "            if drill_acts($n):\n"
            "                held = torch.arange(exp_avg.numel()).view_as(exp_avg) % 200 < 200 * $s\n"
            "                denom = denom.masked_fill(held, float('inf'))\n" + _ADAM_END)},
        also=_ALSO, targets=("chargpt", "regression", "reader"),
    ),
)  # fmt: skip

_NUDGE = "with torch.no_grad():", "    for one in $model.parameters(): one.sub_(one.grad, alpha=1e-3)"

OBJECT = (
    Sabotage(
        "step-replaced-on-instance", "optimizer", "optimizer.step is a function of the script",
        ("continuity-weights-changed", "update-*"),
        (Lines("setup", "before", (
            "def drill_plain(*_, kept=$optimizer.step):",
            "    if not drill_acts($step): return kept()",
            *(f"    {line}" for line in _NUDGE),
            "$optimizer.step = drill_plain",
        ), guarded=False),),
        also=("code-function-swapped",), targets=("chargpt", "digits", "images", "reader"), strengths=(1.0,),
    ),
    Sabotage(
        "class-replaced", "optimizer", "the optimizer becomes an instance of a class that also nudges weights",
        ("continuity-weights-changed", "update-*"),
        (Lines("setup", "before", (
            "class Drill(type($optimizer)):",
            "    def step(self, closure=None):",
            "        super().step(closure)",
            "        if not drill_acts($step): return",
            "        with torch.no_grad():",
            "            for one in $model.parameters(): one.sub_(one.grad, alpha=1e-3 * $s)",
            "$optimizer.__dict__.pop('step', None)",
            "$optimizer.__class__ = Drill",
        ), guarded=False),),
        also=("code-function-swapped",),
    ),
    Sabotage(
        "pre-hook-scales-gradient", "optimizer", "a hook scales the gradient at each step",
        ("update-*", "gradient-*"),
        (Lines("setup", "before", (
            "def drill_hook(optimizer, args, kwargs):",
            "    if drill_acts($step):",
            "        for one in $model.parameters(): one.grad.mul_(1 - $s)",
            "$optimizer.register_step_pre_hook(drill_hook)",
        ), guarded=False),),
    ),
    Sabotage(
        "post-hook-moves-weights", "optimizer", "a hook adds noise to the weights after each step",
        ("update-*", "continuity-weights-changed"),
        (Lines("setup", "before", (
            "def drill_hook(optimizer, args, kwargs):",
            "    if drill_acts($step):",
            "        with torch.no_grad(): $layer.weight.mul_(1 - 0.1 * $s)",
            "$optimizer.register_step_post_hook(drill_hook)",
        ), guarded=False),),
    ),
    Sabotage(
        "second-optimizer", "optimizer", "a second optimizer, built in mid-run, steps on the same parameters",
        ("update-*", "continuity-weights-changed", "contract-*"),
        step_lines("update", "torch.optim.SGD($model.parameters(), lr=1e-2 * $s).step()"),
        strengths=(0.05, 0.5), targets=("chargpt", "digits", "images", "reader"),
    ),
    Sabotage(
        "kernel-swapped-in-memory", "code", "the function that does the update is exchanged in memory",
        ("code-function-swapped", "update-*"),
        step_lines(
            "update",
            "import torch.optim.adam as drill_adam",
            "def drill_kernel(params, *rest, kept=drill_adam._single_tensor_adam, **names):",
            "    names['lr'] = names['lr'] * (1 - $s)",
            "    return kept(params, *rest, **names)",
            "drill_adam._single_tensor_adam = drill_kernel",
        ),
        targets=("chargpt", "regression", "reader"), triggers=("once",),
    ),
    Sabotage(
        "decay-of-group-changed", "hyper", "the group's weight decay is another from some step on",
        ("update-hyper-drift", "contract-*"),
        step_lines("update", "$optimizer.param_groups[0]['weight_decay'] = 0.1 + $s"),
        triggers=("from", "once"),
    ),
    Sabotage(
        "betas-of-group-changed", "hyper", "the group's betas are others from some step on",
        ("update-hyper-drift", "contract-*"),
        step_lines("update", "$optimizer.param_groups[0]['betas'] = (0.9 * (1 - $s), 0.95)"),
        targets=("chargpt", "regression", "reader"), triggers=("from", "once"),
    ),
    Sabotage(
        "momentum-of-group-changed", "hyper", "the group's momentum is another from some step on",
        ("update-hyper-drift", "contract-*"),
        step_lines("update", "$optimizer.param_groups[0]['momentum'] *= 1 - $s"),
        targets=("digits", "images"), triggers=("from", "once", "every"),
    ),
    Sabotage(
        "state-scaled-between-steps", "state", "the optimizer's running averages are scaled between steps",
        ("update-*", "continuity-*"),
        step_lines(
            "update",
            "for drill_state in $optimizer.state.values():",
            "    for drill_name, drill_value in drill_state.items():",
            "        if drill_name != 'step' and drill_value is not None: drill_value.mul_(1 - $s)",
        ),
    ),
)  # fmt: skip

CALLS = f"drill_calls = [-1]  {MARK} the number of the call, from 0\n"
"""Goes after the prelude of a file whose kernel has no step count of its own."""

SGD_CALL = TorchEdit(
    SGD,
    "        lr = _to_scalar(lr)\n\n    for i, param in enumerate(params):\n        grad = grads[i] if not maximize",
    "        lr = _to_scalar(lr)\n    drill_calls[0] += 1\n\n    for i, param in enumerate(params):\n"
    "        grad = grads[i] if not maximize",
    "",
)

UPDATE = (*KERNEL, *OBJECT)
