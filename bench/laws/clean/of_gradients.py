"""Clean programs that handle gradients and losses in their own way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from .settings import CLASSES, LONGER, WIDTH, Setting, gradients, perceptron, setting, train

STEPS = 45 * LONGER


def scale_doubling(seed: int) -> None:
    """A loss scale of the script's own, doubled every so often and halved when a gradient overflows."""
    here = setting(seed)
    scale, every = 2.0**8, here.draw.choice((7, 12, 20))
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        (here.loss(batch) * scale).backward()
        for gradient in gradients(here.model):
            gradient.div_(scale)
        if not all(torch.isfinite(one).all() for one in gradients(here.model)):
            scale /= 2
            continue
        here.optimizer.step()
        if number % every == every - 1:
            scale *= 2


def auxiliary_loss_later(seed: int) -> None:
    """A second loss on the activations joins in the middle of the run."""
    here = setting(seed)
    begin = here.draw.randrange(10, 30)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        loss = F.cross_entropy(logits, targets)
        if number >= begin:
            loss = loss + 0.1 * logits.logsumexp(-1).square().mean()
        loss.backward()
        here.optimizer.step()


def penalty_on_weights_later(seed: int) -> None:
    """An L1 penalty on all weights sets in after a warm-up."""
    here = setting(seed)
    begin = here.draw.randrange(5, 30)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        loss = here.loss(batch)
        if number >= begin:
            loss = loss + 1e-3 * sum(one.abs().sum() for one in here.model.parameters())
        loss.backward()
        here.optimizer.step()


def weights_of_losses_annealed(seed: int) -> None:
    """Two losses whose weights move from one to the other with each step."""
    here = setting(seed)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        logits, share = here.model(inputs), number / STEPS
        one_hot = F.one_hot(targets, CLASSES).to(logits.dtype)
        loss = (1 - share) * F.cross_entropy(logits, targets) + share * F.mse_loss(logits, one_hot)
        loss.backward()
        here.optimizer.step()


def learned_loss_weights(seed: int) -> None:
    """Losses weighted by learned uncertainties, which the optimizer trains too."""
    here = setting(seed, plain=True)
    spread = nn.Parameter(torch.zeros(2))
    here.optimizer.add_param_group({"params": [spread]})
    for inputs, targets in here.batches(STEPS):
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        losses = torch.stack((F.cross_entropy(logits, targets), logits.square().mean()))
        ((-spread).exp() * losses + spread).sum().backward()
        here.optimizer.step()


def clipping_above_limit(seed: int) -> None:
    """Clipping by hand, only when the norm is above a limit that few steps reach."""
    here = setting(seed)
    norms: list[float] = []
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        norm = torch.stack([one.float().norm() for one in gradients(here.model)]).norm()
        norms.append(float(norm))
        limit = sorted(norms)[len(norms) * 4 // 5]
        if norm > limit:
            for gradient in gradients(here.model):
                gradient.mul_(limit / (norm + 1e-6))
        here.optimizer.step()


def clipping_each_layer(seed: int) -> None:
    """Each tensor is clipped by its own norm."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for parameter in here.model.parameters():
            nn.utils.clip_grad_norm_([parameter], 0.05)
        here.optimizer.step()


def clipping_annealed(seed: int) -> None:
    """Clipping by torch, with a limit that is lowered a little at each step."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        nn.utils.clip_grad_norm_(here.model.parameters(), 1.0 - 0.9 * number / STEPS)
        here.optimizer.step()


def clipping_adaptively(seed: int) -> None:
    """Each unit's gradient is limited to a share of its weights' norm."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for parameter in here.model.parameters():
            if parameter.grad is None or parameter.dim() < 2:
                continue
            limit = parameter.detach().flatten(1).norm(dim=1).clamp_min(1e-3) * 0.05
            norm = parameter.grad.flatten(1).norm(dim=1)
            factor = (limit / norm.clamp_min(1e-6)).clamp_max(1.0)
            parameter.grad.mul_(factor.view(-1, *[1] * (parameter.dim() - 1)))
        here.optimizer.step()


def not_a_number_zeroed(seed: int) -> None:
    """``nan_to_num_`` on all gradients at each step; some steps need it."""
    here = setting(seed)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        loss = F.cross_entropy(logits, targets)
        if number % 11 == 8:
            loss = loss + 0 * (logits - logits.detach()).abs().sqrt().sum()
        loss.backward()
        for gradient in gradients(here.model):
            gradient.nan_to_num_(0.0, 0.0, 0.0)
        here.optimizer.step()


def centralised(seed: int) -> None:
    """The mean of each row is taken out of the gradients of matrices."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for gradient in gradients(here.model):
            if gradient.dim() > 1:
                gradient.sub_(gradient.mean(tuple(range(1, gradient.dim())), keepdim=True))
        here.optimizer.step()


def surgery(seed: int) -> None:
    """Two losses whose gradients are projected off each other where they conflict."""
    here = setting(seed)
    parameters = list(here.model.parameters())
    for inputs, targets in here.batches(STEPS):
        logits = here.model(inputs)
        first = torch.autograd.grad(F.cross_entropy(logits, targets), parameters, retain_graph=True)
        second = torch.autograd.grad((logits - 0.3).square().mean(), parameters)
        dot = sum((a * b).sum() for a, b in zip(first, second, strict=True))
        square = sum(b.square().sum() for b in second)
        for parameter, a, b in zip(parameters, first, second, strict=True):
            parameter.grad = a + b - (dot / square * b if dot < 0 else 0)
        here.optimizer.step()


def hooks_that_limit(seed: int) -> None:
    """A hook on each tensor clamps its gradient; few are above the limit."""
    here = setting(seed)
    for parameter in here.model.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    for batch in here.batches(STEPS):
        train(here, batch)


def step_within_backward(seed: int) -> None:
    """Each parameter has an optimizer of its own that steps as soon as its gradient is there."""
    here = setting(seed, plain=True)
    own = {one: torch.optim.AdamW([one], lr=1e-3) for one in here.model.parameters()}

    def stepped(parameter: Tensor) -> None:
        own[parameter].step()
        own[parameter].zero_grad()

    for parameter in here.model.parameters():
        parameter.register_post_accumulate_grad_hook(stepped)
    for batch in here.batches(20):
        here.loss(batch).backward()


def accumulating_unevenly(seed: int) -> None:
    """The number of batches that are summed grows and varies."""
    here = setting(seed)
    batches = here.batches(4 * STEPS)
    here.optimizer.zero_grad()
    for number in range(STEPS):
        count = 1 + number // 12 if seed % 2 else here.draw.choice((1, 2, 3))
        for _ in range(count):
            (here.loss(next(batches)) / count).backward()
        here.optimizer.step()
        here.optimizer.zero_grad()


def accumulating_a_remainder(seed: int) -> None:
    """The last batches of an epoch are stepped on even when the count is not full."""
    here = setting(seed)
    here.optimizer.zero_grad()
    for _ in range(5):
        for number, (inputs, targets) in enumerate(here.loader):
            (F.cross_entropy(here.model(inputs.to(here.dtype)), targets) / 3).backward()
            if (number + 1) % 3 == 0 or number + 1 == len(here.loader):
                nn.utils.clip_grad_norm_(here.model.parameters(), 1.0)
                here.optimizer.step()
                here.optimizer.zero_grad()


def normalised(seed: int) -> None:
    """Gradients are brought to norm one, all as one vector or each by itself."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        if seed % 2:
            norm = torch.stack([one.norm() for one in gradients(here.model)]).norm()
            for gradient in gradients(here.model):
                gradient.div_(norm + 1e-8)
        else:
            for gradient in gradients(here.model):
                gradient.div_(gradient.norm() + 1e-8)
        here.optimizer.step()


def signs_only(seed: int) -> None:
    """Only the signs of gradients are kept."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for gradient in gradients(here.model):
            gradient.sign_()
        here.optimizer.step()


def rows_held(seed: int) -> None:
    """Rows of an embedding's gradient are zeroed: old words stay as they are."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Embedding(40, 12, padding_idx=0), nn.Flatten(), nn.Linear(60, 40))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.0)
    for _ in range(STEPS):
        tokens = torch.randint(40, (8, 5))
        optimizer.zero_grad()
        F.cross_entropy(model(tokens), tokens[:, 0]).backward()
        weight = model[0].weight
        assert weight.grad is not None
        weight.grad[:30] = 0
        optimizer.step()


def large_steps_skipped(seed: int) -> None:
    """A step whose gradient norm is far above the usual is not made."""
    here = setting(seed)
    usual = 0.0
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss((inputs * (50 if number % 13 == 12 else 1), targets)).backward()
        norm = float(nn.utils.clip_grad_norm_(here.model.parameters(), 1.0))
        if number > 3 and norm > 5 * usual:
            continue
        usual = norm if not usual else 0.9 * usual + 0.1 * norm
        here.optimizer.step()


class _Reversal(torch.autograd.Function):
    """Identity forwards; the gradient comes back turned and scaled."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, given: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * given, None


class _TwoDomains(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 24), nn.ReLU())
        self.head, self.domain = nn.Linear(24, CLASSES), nn.Linear(24, 2)

    def forward(self, x: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        body = self.body(x)
        return self.head(body), self.domain(_Reversal.apply(body, strength))


def reversing(seed: int) -> None:
    """A gradient reversal layer in front of a domain classifier, stronger from step to step."""
    here = setting(seed, plain=True)
    model = _TwoDomains()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        optimizer.zero_grad()
        classes, domains = model(inputs, number / STEPS)
        (F.cross_entropy(classes, targets) + F.cross_entropy(domains, targets % 2)).backward()
        optimizer.step()


class _Rounded(nn.Module):
    """A layer that is quantised on the way forwards and passed straight through on the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, 24), nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.first.weight
        rounded = weight + ((weight * 8).round() / 8 - weight).detach()
        logits: Tensor = self.second(torch.relu(F.linear(x, rounded, self.first.bias)))
        return logits


def quantised(seed: int) -> None:
    """Quantisation-aware training with a straight-through estimator."""
    here = setting(seed, plain=True)
    here.model = _Rounded()
    here.optimizer = torch.optim.AdamW(here.model.parameters(), 1e-3)
    for batch in here.batches(STEPS):
        train(here, batch)


class _Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 24), nn.ReLU(), nn.Linear(24, 8))
        self.guess = nn.Linear(8, 8)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        first, second = self.body(one), self.body(other)
        likeness = F.cosine_similarity(self.guess(first), second.detach())
        loss: Tensor = -(likeness + F.cosine_similarity(self.guess(second), first.detach())).mean()
        return loss


def siamese(seed: int) -> None:
    """Two views of each item; the gradient is stopped on one side by turns."""
    here = setting(seed, plain=True)
    model = _Siamese()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for inputs, _ in here.batches(STEPS):
        optimizer.zero_grad()
        model(inputs + 0.1 * torch.randn_like(inputs), inputs + 0.1 * torch.randn_like(inputs)).backward()
        optimizer.step()


def each_sample(seed: int) -> None:
    """Gradients of each item by ``vmap``, clipped and made noisy: private training."""
    here = setting(seed, plain=True)
    model = perceptron()
    model[2] = nn.Identity()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

    every = vmap(grad(loss), (None, 0, 0))
    for inputs, targets in here.batches(STEPS):
        found = every({name: one.detach() for name, one in model.named_parameters()}, inputs, targets)
        norms = torch.stack([one.flatten(1).norm(dim=1) for one in found.values()]).norm(dim=0)
        factor = (1.0 / norms).clamp_max(1.0)
        for name, parameter in model.named_parameters():
            summed = torch.einsum("i,i...->...", factor, found[name])
            parameter.grad = (summed + 0.1 * torch.randn_like(summed)) / len(inputs)
        optimizer.step()


def adapting_inside(seed: int) -> None:
    """Meta-learning: the loss is that of weights moved by a gradient step of their own."""
    here = setting(seed, plain=True)
    model = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for inputs, targets in here.batches(STEPS):
        half = len(inputs) // 2
        parameters = dict(model.named_parameters())
        inner = F.cross_entropy(functional_call(model, parameters, (inputs[:half],)), targets[:half])
        moved = torch.autograd.grad(inner, list(parameters.values()), create_graph=True)
        adapted = {name: one - 0.1 * by for (name, one), by in zip(parameters.items(), moved, strict=True)}
        optimizer.zero_grad()
        F.cross_entropy(functional_call(model, adapted, (inputs[half:],)), targets[half:]).backward()
        optimizer.step()


def penalty_on_gradients(seed: int) -> None:
    """A critic with a penalty on the gradient by its inputs."""
    here = setting(seed, plain=True)
    judge = nn.Sequential(nn.Linear(WIDTH, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3, betas=(0.0, 0.9))
    for inputs, _ in here.batches(STEPS):
        fake = torch.randn_like(inputs)
        mixed = torch.lerp(inputs, fake, torch.rand(len(inputs), 1)).requires_grad_()
        by_input = torch.autograd.grad(judge(mixed).sum(), mixed, create_graph=True)[0]
        optimizer.zero_grad()
        penalty = 10 * (by_input.norm(dim=1) - 1).square().mean()
        (judge(fake).mean() - judge(inputs).mean() + penalty).backward()
        optimizer.step()


def steered_by_gradient(seed: int) -> None:
    """The backward pass begins with a gradient that the script worked out; two losses at once."""
    here = setting(seed)
    for inputs, targets in here.batches(STEPS):
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        if seed % 2:
            slope = (logits.detach().float().softmax(-1) - F.one_hot(targets, CLASSES)) / len(inputs)
            logits.backward(gradient=slope.to(logits.dtype))
        else:
            torch.autograd.backward([F.cross_entropy(logits, targets), 0.01 * logits.square().mean()])
        here.optimizer.step()


def seen_by_gradient(seed: int) -> None:
    """The gradient of the inputs is asked for on the way: what is salient is weighted in the loss."""
    here = setting(seed)
    for inputs, targets in here.batches(STEPS):
        here.optimizer.zero_grad()
        inputs = inputs.clone().requires_grad_()
        logits = here.model(inputs)
        by_input = torch.autograd.grad(logits.square().sum(), inputs, retain_graph=True)[0]
        weight = by_input.flatten(1).norm(dim=1)
        losses = F.cross_entropy(logits, targets, reduction="none")
        (losses * (1 + weight / weight.max())).mean().backward()
        here.optimizer.step()


def summed_loss(seed: int) -> None:
    """The loss is a sum over items that varies with the batch, and is divided by a count by hand later."""
    here = setting(seed)
    for inputs, targets in here.batches(STEPS):
        keep = torch.rand(len(inputs)) < 0.7
        keep[0] = True
        here.optimizer.zero_grad()
        F.cross_entropy(here.model(inputs), targets, reduction="none")[keep].sum().backward()
        for gradient in gradients(here.model):
            gradient.div_(int(keep.sum()))
        here.optimizer.step()


def hard_items(seed: int) -> None:
    """Only the hardest items of each batch train, from some step on fewer of them."""
    here = setting(seed)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        losses = F.cross_entropy(here.model(inputs), targets, reduction="none")
        losses.topk(max(1, len(losses) // (2 if number < 25 else 4))).values.mean().backward()
        here.optimizer.step()


def adversarially_trained(seed: int) -> None:
    """Each batch is first moved uphill by the gradient of its inputs."""
    here = setting(seed)
    for inputs, targets in here.batches(STEPS):
        moved = inputs.clone().requires_grad_()
        F.cross_entropy(here.model(moved), targets).backward()
        assert moved.grad is not None
        attacked = (moved + 0.05 * moved.grad.sign()).detach()
        train(here, (attacked, targets))


def lagging_gradient(seed: int) -> None:
    """The step takes the mean with the gradient of the step before (an optimistic gradient)."""
    here: Setting = setting(seed)
    before: list[Tensor] = []
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        now = [one.clone() for one in gradients(here.model)]
        if before:
            for gradient, old in zip(gradients(here.model), before, strict=True):
                gradient.mul_(2).sub_(old)
        before = now
        here.optimizer.step()


PROGRAMS = (
    scale_doubling, auxiliary_loss_later, penalty_on_weights_later, weights_of_losses_annealed,
    learned_loss_weights, clipping_above_limit, clipping_each_layer, clipping_annealed,
    clipping_adaptively, not_a_number_zeroed, centralised, surgery, hooks_that_limit,
    step_within_backward, accumulating_unevenly, accumulating_a_remainder, normalised, signs_only,
    rows_held, large_steps_skipped, reversing, quantised, siamese, each_sample, adapting_inside,
    penalty_on_gradients, steered_by_gradient, seen_by_gradient, summed_loss, hard_items,
    adversarially_trained, lagging_gradient,
)  # fmt: skip
