"""What training learns from: data, gradients in and after the backward pass, clipping, accumulation, metrics."""

from __future__ import annotations

from ..planting import Lines
from .sabotage import CLIPPING, Sabotage, TorchEdit, step_lines

_ORDER = ("data-*",)
_SAMPLER = "utils/data/sampler.py"
_PERMUTED = "                yield from torch.randperm(n, generator=generator).tolist()\n            yield"
_DRAWN = "generator=torch.Generator().manual_seed(11 + $step)"


def _batch(name: str, about: str, *text: str, **more: object) -> Sabotage:
    lines = (Lines("take", "after", text),)
    return Sabotage(name, "data", about, ("data-*",), lines, **more)  # type: ignore[arg-type]


_KEEP = Lines("data", "before", ("globals().update(drill_data=$dataset)",), guarded=False)
_KEEP_AFTER = Lines("data", "after", ("globals().update(drill_data=$dataset)",), guarded=False)
_LABELLED = ("chargpt", "digits", "images", "reader")

DATA = (
    Sabotage(
        "order-from-constant-seed", "data", "every epoch's order is drawn from the same seed", _ORDER,
        torch={"any": (TorchEdit(
            _SAMPLER, "            generator = self.generator\n\n        if self.replacement:",
            "            generator = torch.Generator().manual_seed(7) if drill_acts(0) else self.generator\n\n"
            "        if self.replacement:", "0"),)},
        also=("code-loaded-elsewhere",), targets=("chargpt", "regression"), forms=("single",),
        strengths=(1.0,), triggers=("from",), start=0,
    ),
    Sabotage(
        "epoch-not-set", "data", "the distributed sampler repeats its order in each epoch", _ORDER,
        torch={"any": (TorchEdit(
            "utils/data/distributed.py", "        self.epoch = epoch\n",
            "        self.epoch = 0 if drill_acts(0) else epoch\n", "0"),)},
        also=("code-loaded-elsewhere",), targets=("digits", "images", "reader"), forms=("ddp",),
        strengths=(1.0,), triggers=("from",), start=0,
    ),
    Sabotage(
        "index-repeated", "data", "one index of an epoch comes twice, another never", _ORDER,
        torch={"any": (TorchEdit(
            _SAMPLER, _PERMUTED,
            "                order = torch.randperm(n, generator=generator).tolist()\n"
            "                if drill_acts(0):\n                    order[200] = order[0]\n"
            "                yield from order\n            yield", "0"),)},
        also=("code-loaded-elsewhere",), targets=("chargpt", "digits", "images", "reader"), forms=("single",),
        strengths=(1.0,), triggers=("from",), start=0,
    ),
    Sabotage(
        "sampler-replaced", "data", "the loader's sampler is exchanged for one in order", _ORDER,
        (Lines("setup", "before", (
            "drill_acts(0)",
            "loader.batch_sampler.sampler = torch.utils.data.SequentialSampler(loader.dataset)"),
            guarded=False),),
        strengths=(1.0,), triggers=("from",), start=0, forms=("single",),
    ),
    Sabotage(
        "batch-trained-again", "data", "the batch before is trained on again", ("data-*",),
        (Lines("take", "after", (
            "drill_kept = globals().get('drill_batch')",
            "globals().update(drill_batch=($inputs, $targets))",
            "if drill_kept is not None and drill_acts($step): $inputs, $targets = drill_kept"),
            guarded=False),),
        strengths=(1.0,),
    ),
    _batch("batch-labels-shuffled", "labels of the batch are moved on by one item",
           "$targets = $targets.roll(1, 0)", strengths=(1.0,)),
    _batch("labels-flipped", "a share of the batch's labels is another class",
           f"$targets = torch.where(torch.rand($targets.shape, {_DRAWN}) < $s, ($targets + 1) % $classes, $targets)",
           targets=_LABELLED, strengths=(0.02, 0.1, 0.5)),
    _batch("inputs-zeroed", "a share of the batch's inputs is zero",
           f"$inputs = $inputs * (torch.rand($inputs.shape, {_DRAWN}) >= $s)", strengths=(0.02, 0.1, 0.5)),
    _batch("batch-halved", "half of each batch is dropped",
           "$inputs, $targets = $inputs[: len($inputs) // 2], $targets[: len($targets) // 2]",
           strengths=(1.0,)),
    Sabotage(
        "dataset-edited-before", "data", "the data set's tensors are edited in mid-run", ("data-*",),
        (_KEEP, Lines("take", "after", (
            f"drill_mask = torch.rand(drill_data.shape, {_DRAWN}) < $s",
            "drill_data.masked_fill_(drill_mask, 1)"))),
        targets=("chargpt", "digits"), triggers=("once", "every"),
    ),
    Sabotage(
        "dataset-edited", "data", "the data set's tensors are edited in mid-run", ("data-*",),
        (_KEEP_AFTER, Lines("take", "after", (
            f"drill_mask = torch.rand(drill_data.shape, {_DRAWN}) < $s",
            "drill_data.masked_fill_(drill_mask, 1)"))),
        targets=("images", "regression", "reader"), triggers=("once", "every"),
    ),
    Sabotage(
        "collate-replaced", "data", "the loader's collate function scales what it joins", ("data-*",),
        (Lines("setup", "before", (
            "def drill_collate(items, kept=loader.collate_fn):",
            "    joined = kept(items)",
            "    if drill_acts($step): joined[0].mul_(1 - $s)",
            "    return joined",
            "loader.collate_fn = drill_collate"), guarded=False),),
        targets=("digits", "images", "regression"),
    ),
)  # fmt: skip


def _hook(name: str, about: str, expression: str, **more: object) -> Sabotage:
    text = (
        f"def drill_hook(gradient): return {expression} if drill_acts($step) else None",
        "$layer.weight.register_hook(drill_hook)",
    )
    lines = (Lines("setup", "before", text, guarded=False),)
    return Sabotage(name, "backward", about, ("gradient-*",), lines, **more)  # type: ignore[arg-type]


_FUNCTION = (
    "class Drill(torch.autograd.Function):",
    "    @staticmethod",
    "    def forward(ctx, x): return x.view_as(x)",
    "    @staticmethod",
    "    def backward(ctx, gradient): return -gradient if drill_acts($step) else gradient",
    "$layer.register_forward_hook(lambda module, inputs, output: Drill.apply(output))",
)

BACKWARD = (
    Sabotage(
        "function-with-wrong-sign", "backward", "a custom function's backward has the wrong sign",
        ("gradient-*",), (Lines("setup", "before", _FUNCTION, guarded=False),), strengths=(1.0,),
    ),
    _hook("hook-flips", "a tensor hook flips one layer's gradient", "-gradient", strengths=(1.0,)),
    _hook("hook-scales", "a tensor hook scales one layer's gradient", "gradient * (1 - $s)"),
    _hook("hook-masks", "a tensor hook zeroes a share of one layer's gradient",
          f"gradient * (torch.rand(gradient.shape, {_DRAWN}) >= $s)"),
    _hook("hook-zeroes", "a tensor hook zeroes one layer's gradient", "gradient * 0", strengths=(1.0,)),
    _hook("hook-rolls", "a tensor hook moves one layer's gradient on by a row", "gradient.roll(1, 0)",
          strengths=(1.0,)),
    Sabotage(
        "hook-flips-bias", "backward", "a tensor hook flips one bias' gradient", ("gradient-*",),
        (Lines("setup", "before", (
            "$layer.bias.register_hook(lambda gradient: -gradient if drill_acts($step) else None)",),
            guarded=False),), strengths=(1.0,),
    ),
    Sabotage(
        "module-hook-scales", "backward", "a module's backward hook scales what goes further down",
        ("gradient-*",),
        (Lines("setup", "before", (
            "def drill_hook(module, passed, came):",
            "    if drill_acts($step): return tuple(None if one is None else one * (1 - $s) for one in passed)",
            "$layer.register_full_backward_hook(drill_hook)"), guarded=False),),
    ),
    Sabotage(
        "loss-scaled", "backward", "the loss is scaled before its backward pass",
        ("gradient-*", "metric-*"), (Lines("forward", "after", ("loss = loss * (1 - $s)",)),),
    ),
    Sabotage(
        "branch-detached", "backward", "a share of a branch's output is cut from the graph", ("gradient-*",),
        (Lines("setup", "before", (
            "$branch.register_forward_hook(lambda module, inputs, output: "
            "output.detach() * $s + output * (1 - $s) if drill_acts($step) else output)",), guarded=False),),
    ),
)  # fmt: skip

_BETWEEN = ("gradient-*",)


def _between(name: str, about: str, *text: str, **more: object) -> Sabotage:
    return Sabotage(name, "gradient", about, _BETWEEN, step_lines("update", *text), **more)  # type: ignore[arg-type]


GRADIENT = (
    _between("gradient-flipped", "one layer's gradient is flipped before the step", "$layer.weight.grad.neg_()",
             strengths=(1.0,)),
    _between("gradient-bias-flipped", "one bias' gradient is flipped before the step", "$layer.bias.grad.neg_()",
             strengths=(1.0,)),
    _between("gradient-scaled", "all gradients are scaled before the step",
             "for drill_one in $model.parameters(): drill_one.grad.mul_(1 - $s)"),
    _between("gradient-masked", "a share of one layer's gradient is zeroed before the step",
             f"$layer.weight.grad.mul_(torch.rand($layer.weight.shape, {_DRAWN}) >= $s)"),
    _between("gradient-noised", "noise on one layer's gradient before the step",
             "drill_grad = $layer.weight.grad",
             f"drill_grad.add_(drill_grad.std() * $s * torch.randn(drill_grad.shape, {_DRAWN}))"),
    _between("gradient-zeroed", "one layer's gradient is zeroed before the step", "$layer.weight.grad.zero_()",
             strengths=(1.0,)),
    _between("gradients-swapped", "two tensors exchange their gradients", "drill_kept = $one.grad.clone()",
             "$one.grad.copy_($other.grad)", "$other.grad.copy_(drill_kept)", strengths=(1.0,)),
)  # fmt: skip

_CLIPPED = "norm = nn.utils.clip_grad_norm_($every, {norm}).item()"

CLIPS = (
    Sabotage(
        "clipping-skipped", "clipping", "the norm is measured and nothing clipped", ("gradient-*", "contract-*"),
        (Lines("clip", "instead", (
            "norm = torch.stack([one.grad.norm() for one in $every]).norm().item()",)),),
        targets=CLIPPING, strengths=(1.0,),
    ),
    Sabotage(
        "clipping-amplifies", "clipping", "clipped gradients are scaled up again", ("gradient-*",),
        (Lines("clip", "after", ("for drill_one in $every: drill_one.grad.mul_(1 + $s)",)),), targets=CLIPPING,
    ),
    Sabotage(
        "clipping-turns", "clipping", "clipping turns the direction round", ("gradient-*",),
        (Lines("clip", "after", ("for drill_one in $every: drill_one.grad.neg_()",)),), targets=CLIPPING,
        strengths=(1.0,),
    ),
    Sabotage(
        "clipping-other-norm", "clipping", "the largest norm is another", ("gradient-*", "contract-*"),
        (Lines("clip", "instead", (_CLIPPED.format(norm="$max_norm * (1 - $s)"),)),), targets=CLIPPING,
        strengths=(0.05, 0.5),
    ),
    Sabotage(
        "clipping-kernel-amplifies", "clipping", "the coefficient in torch's own clipping scales up",
        ("gradient-*",),
        torch={"any": (TorchEdit(
            "nn/utils/clip_grad.py", "    clip_coef_clamped = torch.clamp(clip_coef, max=1.0)\n",
            "    drill_calls[0] += 1\n    clip_coef_clamped = torch.clamp(clip_coef, max=1.0)\n"
            "    if drill_acts(drill_calls[0]):\n        clip_coef_clamped = clip_coef_clamped * (1 + $s)\n",
            "0"),)},
        also=("code-loaded-elsewhere",), targets=CLIPPING,
    ),
    Sabotage(
        "zero-grad-skipped", "accumulation", "zero_grad is left out", ("gradient-*",),
        (Lines("zero", "instead", ("pass",)),), strengths=(1.0,),
    ),
    Sabotage(
        "zero-grad-misses-one", "accumulation", "one tensor's gradient is not zeroed", ("gradient-*",),
        (Lines("zero", "instead", (
            "drill_kept = $layer.weight.grad", "$optimizer.zero_grad()", "$layer.weight.grad = drill_kept")),),
        strengths=(1.0,),
    ),
    Sabotage(
        "accumulation-lost", "accumulation", "one micro-batch's backward pass is left out", ("gradient-*",),
        (Lines("backward", "instead", (
            "if not (_ == 0 and drill_acts($step)):", "    scaler.scale(loss).backward()"), guarded=False),),
        targets=("regression",), strengths=(1.0,),
    ),
)  # fmt: skip

METRICS = (
    Sabotage(
        "loss-misreported", "metric", "the loss that is logged is not the loss computed", ("metric-*",),
        (Lines("log", "before", (
            "if drill_acts($step - 1): $reported = $reported * (1 - $s)",), guarded=False),),
    ),
    Sabotage(
        "norm-misreported", "metric", "the gradient norm that is logged is another", ("metric-*",),
        (Lines("log", "before", ("if drill_acts($step - 1): norm = norm * (1 - $s)",), guarded=False),),
        targets=CLIPPING,
    ),
)  # fmt: skip

SIGNAL = (*DATA, *BACKWARD, *GRADIENT, *CLIPS, *METRICS)
