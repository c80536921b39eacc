"""Weights and buffers between steps, the schedule, randomness, checkpoints, replicas."""

from __future__ import annotations

from veracity.drill.sabotage import MARK

from ..planting import Lines
from .sabotage import WITH_BUFFERS, Sabotage, step_lines

_MOVED = (
    "continuity-weights-changed",
    "continuity-weights-written",
)
_DRAWN = "generator=torch.Generator().manual_seed(11 + $step)"


def _weights(name: str, about: str, *text: str, **more: object) -> Sabotage:
    lines = step_lines("forward", "with torch.no_grad():", *(f"    {line}" for line in text))
    return Sabotage(name, "weights", about, _MOVED, lines, **more)  # type: ignore[arg-type]


WEIGHTS = (
    _weights("weights-scaled", "one layer's weights are scaled between steps", "$layer.weight.mul_(1 - $s)"),
    _weights(
        "weights-noised", "noise on one layer's weights",
        f"$layer.weight.add_($layer.weight.std() * $s * torch.randn($layer.weight.shape, {_DRAWN}))",
    ),
    _weights(
        "tensors-swapped", "two tensors of one shape exchange their values",
        "drill_kept = $one.clone()", "$one.copy_($other)", "$other.copy_(drill_kept)", strengths=(1.0,),
    ),
    _weights(
        "weights-tiny", "all weights grow by a ten-thousandth",
        "for drill_one in $model.parameters(): drill_one.mul_(1 + 1e-4)", strengths=(1.0,),
    ),
    _weights(
        "one-element", "one element of one tensor is moved",
        "$layer.weight.view(-1)[3] += 0.5 * $s", strengths=(0.05, 0.5),
    ),
    _weights(
        "bias-shifted", "one layer's bias is shifted", "$layer.bias.add_(0.1 * $s)",
    ),
    _weights(
        "share-of-elements-noised", "a share of the elements of one tensor is moved",
        f"$layer.weight.add_(0.01 * (torch.rand($layer.weight.shape, {_DRAWN}) < $s))",
    ),
    _weights(
        "weights-rounded", "weights are rounded to bfloat16 after each step",
        "for drill_one in $model.parameters(): drill_one.copy_(drill_one.bfloat16())", strengths=(1.0,),
    ),
    Sabotage(
        "buffers-shifted", "weights", "a batch normalisation's running mean is shifted", ("continuity-*",),
        step_lines("forward", "$buffer.add_($s)"), targets=WITH_BUFFERS,
    ),
    Sabotage(
        "storage-exchanged", "weights", "a tensor's storage is exchanged for a scaled copy", _MOVED,
        step_lines("forward", "$layer.weight.data = $layer.weight.data * (1 - $s)"),
    ),
)  # fmt: skip

SCHEDULE = (
    Sabotage(
        "rate-scaled", "schedule", "the groups' rate is scaled before the step", ("schedule-*",),
        step_lines("update", "for drill_group in $optimizer.param_groups: drill_group['lr'] *= 1 - $s"),
    ),
    Sabotage(
        "schedule-frozen", "schedule", "the scheduler is not stepped", ("schedule-*",),
        (Lines("schedule", "instead", ("pass",)),), strengths=(1.0,),
        targets=("chargpt", "images", "regression", "reader"),
    ),
    Sabotage(
        "schedule-stepped-twice", "schedule", "the scheduler is stepped twice", ("schedule-*",),
        (Lines("schedule", "before", ("$schedule.step()",)),), strengths=(1.0,),
        targets=("chargpt", "images", "regression", "reader"),
    ),
    Sabotage(
        "warm-up-skipped", "schedule", "the scheduler is run ahead past its warm-up", ("schedule-*",),
        (Lines("setup", "before", ("if drill_acts(0):", "    for _ in range(12): $schedule.step()"),
               guarded=False),),
        strengths=(1.0,), triggers=("from",), start=0, targets=("chargpt", "regression", "reader"),
    ),
    Sabotage(
        "initial-rate-edited", "schedule", "the rate that the schedule starts from is edited",
        ("schedule-*", "update-hyper-drift", "contract-*"),
        step_lines("schedule", "$schedule.base_lrs = [one * (1 - $s) for one in $schedule.base_lrs]"),
        targets=("regression", "reader"), triggers=("once",),
    ),
)  # fmt: skip

_FIXED_DROPOUT = (
    "drill_kept = torch.nn.functional.dropout",
    "def drill_dropout(input, p=0.5, training=True, inplace=False):",
    "    if not (training and drill_acts($step)): return drill_kept(input, p, training, inplace)",
    "    mask = torch.rand(input.shape, generator=torch.Generator().manual_seed(3)) >= p",
    "    return input * mask / (1 - p)",
    "torch.nn.functional.dropout = drill_dropout",
)

RANDOMNESS = (
    Sabotage(
        "seed-set-again", "randomness", "the generator is seeded again", ("randomness-*",),
        step_lines("forward", "torch.manual_seed(7)"), strengths=(1.0,), triggers=("from", "every", "chance"),
        targets=("chargpt", "images", "reader"),
    ),
    Sabotage(
        "state-restored", "randomness", "the generator is put back to an early state", ("randomness-*",),
        step_lines(
            "forward",
            "drill_state = globals().setdefault('drill_state', torch.get_rng_state())",
            "torch.set_rng_state(drill_state)",
        ),
        strengths=(1.0,), triggers=("from", "every", "chance"), targets=("chargpt", "images", "reader"),
    ),
    Sabotage(
        "dropout-mask-constant", "randomness", "dropout draws the same mask in every step",
        ("randomness-*", "code-function-swapped", "gradient-*"),
        (Lines("setup", "before", _FIXED_DROPOUT, guarded=False),),
        strengths=(1.0,), targets=("chargpt", "images", "reader"),
    ),
    Sabotage(
        "dropout-off", "randomness", "the model is put in evaluation mode", ("randomness-*", "contract-*"),
        (Lines("forward", "before", ("$model.train(not drill_acts($step))",), guarded=False),),
        strengths=(1.0,), targets=("chargpt", "images", "reader"),
    ),
)  # fmt: skip

_EDIT = f"""\
import sys, torch
path, strength = sys.argv[1], float(sys.argv[2])
checkpoint = torch.load(path, map_location="cpu", weights_only=True)
model, optimizer = checkpoint["model"], checkpoint["optimizer"]
%s  {MARK} a saved state is edited
torch.save(checkpoint, path)
"""
_CALLS = f"""\
import sys, torch
class Call:
    def __reduce__(self): return print, ("called while loading",)  {MARK} loading calls a function
path = sys.argv[1]
checkpoint = torch.load(path, map_location="cpu", weights_only=True)
checkpoint["note"] = Call()
torch.save(checkpoint, path)
"""
_FILE = ("continuity-checkpoint-edited", "continuity-resume-differs", "checkpoint-*")


def _edited(name: str, about: str, line: str, **more: object) -> Sabotage:
    return Sabotage(
        name, "checkpoint", about, _FILE, between=_EDIT % line, resumes=True, triggers=("from",), start=0,
        steps=40, **more,  # type: ignore[arg-type]
    )  # fmt: skip


CHECKPOINT = (
    _edited("saved-weights-scaled", "weights are scaled between save and resume",
            "for one in model.values(): one.mul_(1 - strength) if one.is_floating_point() else None"),
    _edited("saved-element-moved", "one element is moved between save and resume",
            "next(iter(model.values())).view(-1)[1].add_(strength)"),
    _edited("saved-optimizer-scaled", "the optimizer's averages are scaled between save and resume",
            "[value.mul_(1 - strength) for part in optimizer['state'].values() for name, value in part.items()"
            " if name != 'step' and value is not None]"),
    _edited("saved-rate-scaled", "the rate is scaled between save and resume",
            "[group.update(lr=group['lr'] * (1 - strength)) for group in optimizer['param_groups']]"),
    _edited("saved-schedule-moved", "the scheduler's position is moved between save and resume",
            "checkpoint['schedule'].update(last_epoch=checkpoint['schedule']['last_epoch'] + 7)",
            strengths=(1.0,)),
    Sabotage(
        "load-calls-a-function", "checkpoint", "loading the checkpoint calls a function", ("checkpoint-*",),
        (Lines("load", "instead", (
            'checkpoint = torch.load($path, map_location="cpu", weights_only=not drill_acts(0))',), guarded=False),),
        also=("continuity-checkpoint-edited",), between=_CALLS, resumes=True, triggers=("from",), start=0,
        steps=40, strengths=(1.0,),
    ),
    Sabotage(
        "optimizer-state-dropped", "checkpoint", "a resume leaves the optimizer's state behind",
        ("continuity-resume-differs", "continuity-load-differs"),
        (Lines("loaded", "instead", ("drill_acts(0)",), guarded=False),),
        resumes=True, triggers=("from",), start=0, steps=40, strengths=(1.0,),
    ),
    Sabotage(
        "weights-moved-after-load", "checkpoint", "weights are scaled right after a resume",
        ("continuity-resume-differs", "continuity-load-differs"),
        (Lines("loaded", "after", (
            "if drill_acts(0):",
            "    with torch.no_grad():",
            "        for drill_one in $loading.parameters(): drill_one.mul_(1 - $s)"), guarded=False),),
        resumes=True, triggers=("from",), start=0, steps=40,
    ),
    Sabotage(
        "saved-differs-from-memory", "checkpoint", "what is saved is not what is in memory",
        ("continuity-saved-differs",),
        (Lines("save", "before", (
            "drill_acts(0)",
            "checkpoint['model'] = {name: value * (1 - $s) for name, value in checkpoint['model'].items()}"),
            guarded=False),),
        triggers=("from",), start=0, steps=40,
    ),
)  # fmt: skip


def _replica(name: str, about: str, site: str, *text: str, **more: object) -> Sabotage:
    lines = (Lines(site, "before", text, rank=1),)
    return Sabotage(name, "replica", about, ("replica-*",), lines, forms=("ddp",), **more)  # type: ignore[arg-type]


REPLICAS = (
    _replica("one-rank-scales-gradient", "one rank scales its gradient before the step", "update",
             "for drill_one in $model.parameters(): drill_one.grad.mul_(1 - $s)"),
    _replica("one-rank-flips-a-layer", "one rank flips one layer's gradient", "update",
             "$layer.weight.grad.neg_()", strengths=(1.0,)),
    _replica("one-rank-moves-weights", "one rank's weights are nudged", "forward",
             "with torch.no_grad(): $layer.weight.mul_(1 - $s)"),
    _replica("one-rank-loses-rate", "one rank steps with another rate", "update",
             "for drill_group in $optimizer.param_groups: drill_group['lr'] *= 1 - $s"),
    Sabotage(
        "gradients-not-averaged", "replica", "gradients are not averaged over the ranks", ("replica-*",),
        (Lines("forward", "before", ("$wrapped.require_backward_grad_sync = not drill_acts($step)",),
               guarded=False),),
        forms=("ddp",), strengths=(1.0,),
    ),
)  # fmt: skip

STATE = (*WEIGHTS, *SCHEDULE, *RANDOMNESS, *CHECKPOINT, *REPLICAS)
