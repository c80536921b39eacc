"""Programs that look like tampering and are not.

Each does one legitimate thing that moves weights, gradients, rates, data or randomness in an unusual way. All
train for ``STEPS`` steps or a little less.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedules
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, WeightedRandomSampler

from . import of_gradients, of_loops, of_losses, of_surroundings, of_trainers, of_weights, trainers
from .settings import CLASSES, ITEMS, LONGER, WIDTH, Setting, data, perceptron, setting, train

STEPS = 30 * LONGER


def plain(seed: int) -> None:
    """Any optimizer and dtype in the simplest loop."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        train(here, batch)


def averaged(seed: int) -> None:
    """An exponential moving average kept beside, swapped in for an evaluation and out again."""
    here = setting(seed, plain=True)
    shadow = copy.deepcopy(here.model)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        with torch.no_grad():
            for kept, now in zip(shadow.parameters(), here.model.parameters(), strict=True):
                kept.lerp_(now, 0.1)
        if number % 10 == 9:
            _evaluate(shadow, here)


def averaged_by_torch(seed: int) -> None:
    """Stochastic weight averaging as torch has it, with its schedule and its pass over the data."""
    here = setting(seed, plain=True)
    mean = AveragedModel(here.model)
    schedule = SWALR(here.optimizer, swa_lr=1e-3, anneal_epochs=3)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number > 10 and number % 3 == 0:
            mean.update_parameters(here.model)
            schedule.step()
    update_bn(here.loader, mean)


def freezing(seed: int) -> None:
    """Half of the tensors are frozen for a while and thawed again."""
    here = setting(seed)
    chosen = list(here.model.parameters())[::2]
    for number, batch in enumerate(here.batches(STEPS)):
        for parameter in chosen:
            parameter.requires_grad_(not 8 <= number < 18)
        train(here, batch)


def accumulating(seed: int) -> None:
    """Gradients of several batches are summed before a step."""
    here = setting(seed)
    every = here.draw.choice((2, 3, 4))
    here.optimizer.zero_grad()
    for number, batch in enumerate(here.batches(2 * STEPS)):
        (here.loss(batch) / every).backward()
        if (number + 1) % every == 0:
            here.optimizer.step()
            here.optimizer.zero_grad()


def rate_set_by_hand(seed: int) -> None:
    """The script sets the rate itself from its first step on, and starts the fall anew half-way."""
    here = setting(seed, plain=True)
    for number, batch in enumerate(here.batches(STEPS)):
        for group in here.optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - (number % 15) / 15)
        train(here, batch)


def restarting(seed: int) -> None:
    """Cosine annealing with warm restarts: the rate jumps up again."""
    here = setting(seed, plain=True)
    schedule = schedules.CosineAnnealingWarmRestarts(here.optimizer, T_0=7, T_mult=2)
    _scheduled(here, schedule)


def one_cycle(seed: int) -> None:
    """Rate and momentum both move within one cycle."""
    here = setting(seed, plain=True)
    try:
        schedule = schedules.OneCycleLR(here.optimizer, max_lr=5e-3, total_steps=STEPS + 5)
    except ValueError:  # plain SGD has no momentum to cycle
        schedule = schedules.OneCycleLR(here.optimizer, 5e-3, STEPS + 5, cycle_momentum=False)
    _scheduled(here, schedule)


def by_formula(seed: int) -> None:
    """The rate is a formula of the program's own."""
    here = setting(seed)
    wave = here.draw.choice((3, 5, 8))
    _scheduled(here, schedules.LambdaLR(here.optimizer, lambda step: 0.5 + (step % wave) / wave))


def on_plateau(seed: int) -> None:
    """The rate falls when the loss does not."""
    here = setting(seed, plain=True)
    schedule = schedules.ReduceLROnPlateau(here.optimizer, patience=2, factor=0.5)
    for batch in here.batches(STEPS):
        schedule.step(float(train(here, batch)))


def scaled(seed: int) -> None:
    """GradScaler skips steps whose gradients overflow; some are made to."""
    here = setting(seed, plain=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(here.model(batch[0]).float(), batch[1])
        scaler.scale(loss * (float("inf") if number % 9 == 8 else 1.0)).backward()
        scaler.unscale_(here.optimizer)
        nn.utils.clip_grad_norm_(here.model.parameters(), 1.0)
        scaler.step(here.optimizer)
        scaler.update()


def scaled_by_hand(seed: int) -> None:
    """The loss is scaled up and the gradients are scaled down again by the script."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        (here.loss(batch) * 128).backward()
        for parameter in here.model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(128)
        here.optimizer.step()


def noisy(seed: int) -> None:
    """Noise is added to gradients, as annealed Langevin dynamics and private training do."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for parameter in here.model.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(torch.randn_like(parameter.grad), alpha=0.01 / (1 + number))
        here.optimizer.step()


def clipped(seed: int) -> None:
    """Clipping by norm and by value, by turns, and a layer-wise normalisation by a hook."""
    here = setting(seed)
    first = next(here.model.parameters())
    first.register_hook(lambda gradient: gradient / (1 + gradient.norm()))
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        if number % 2:
            nn.utils.clip_grad_norm_(here.model.parameters(), 0.5)
        else:
            nn.utils.clip_grad_value_(here.model.parameters(), 0.1)
        here.optimizer.step()


def evaluating(seed: int) -> None:
    """An evaluation with another loader, other mode and a fixed seed between the steps."""
    here = setting(seed)
    held_out = DataLoader(data(seed + 1), 32)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 7 == 6:
            state = torch.get_rng_state()
            here.model.eval()
            with torch.no_grad():
                for inputs, targets in held_out:
                    F.cross_entropy(here.model(inputs.to(here.dtype)), targets).item()
            here.model.train()
            torch.set_rng_state(state)


def adversaries(seed: int) -> None:
    """Two models and two optimizers that train against each other, one of them twice as often."""
    here = setting(seed, plain=True)
    maker = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, WIDTH))
    judge = nn.Sequential(nn.Linear(WIDTH, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    making = torch.optim.Adam(maker.parameters(), 2e-3, betas=(0.5, 0.99))
    judging = torch.optim.Adam(judge.parameters(), 2e-3, betas=(0.5, 0.99))
    for number, (inputs, _) in enumerate(here.batches(STEPS)):
        made = maker(torch.randn(len(inputs), 6))
        judging.zero_grad()
        loss = F.softplus(-judge(inputs)).mean() + F.softplus(judge(made.detach())).mean()
        loss.backward()
        judging.step()
        if number % 2:
            making.zero_grad()
            F.softplus(-judge(made)).mean().backward()
            making.step()


def tied(seed: int) -> None:
    """An embedding and a head share one tensor."""
    torch.manual_seed(seed)
    embed, head = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
    head.weight = embed.weight
    optimizer = torch.optim.AdamW([*embed.parameters()], lr=1e-3)
    for _ in range(STEPS):
        tokens = torch.randint(20, (8, 5))
        optimizer.zero_grad()
        F.cross_entropy(head(embed(tokens)).flatten(0, 1), tokens.roll(1, 1).flatten()).backward()
        optimizer.step()


def resuming(seed: int) -> None:
    """Saves all state, builds everything anew and goes on from the file."""
    here = setting(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        for batch in here.batches(STEPS // 2):
            train(here, batch)
        torch.save({"model": here.model.state_dict(), "optimizer": here.optimizer.state_dict()}, path)
        again = setting(seed)
        kept = torch.load(path, weights_only=True)
        again.model.load_state_dict(kept["model"])
        again.optimizer.load_state_dict(kept["optimizer"])
        for batch in again.batches(STEPS // 2):
            train(again, batch)


def fine_tuning(seed: int) -> None:
    """A saved model's body goes on with a new head, at another rate and with a fresh optimizer."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(perceptron().state_dict(), path)
        kept = torch.load(path, weights_only=True)
        model = perceptron()
        model[3] = nn.Linear(24, CLASSES + 2)
        model.load_state_dict(
            {name: value for name, value in kept.items() if not name.startswith("3.")}, strict=False
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
        for inputs, targets in DataLoader(data(seed), 16, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()


def rewinding(seed: int) -> None:
    """Goes back to the best weights of the run from memory, as early stopping with patience does."""
    here = setting(seed, plain=True)
    best = copy.deepcopy(here.model.state_dict())
    state = copy.deepcopy(here.optimizer.state_dict())
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number == 12:
            best, state = copy.deepcopy(here.model.state_dict()), copy.deepcopy(here.optimizer.state_dict())
        if number == 20:
            here.model.load_state_dict(best)
            here.optimizer.load_state_dict(state)


def retained(seed: int) -> None:
    """Two backward passes over one graph, the second one for a penalty."""
    here = setting(seed, plain=True)
    for inputs, targets in here.batches(STEPS):
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        F.cross_entropy(logits, targets).backward(retain_graph=True)
        (1e-3 * logits.square().mean()).backward()
        here.optimizer.step()


def by_functional_gradient(seed: int) -> None:
    """Gradients come from ``autograd.grad`` and are put in place by the script."""
    here = setting(seed)
    parameters = list(here.model.parameters())
    for batch in here.batches(STEPS):
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(here.loss(batch), parameters), strict=True
        ):
            parameter.grad = gradient
        here.optimizer.step()


def closures(seed: int) -> None:
    """L-BFGS evaluates the loss many times within a step."""
    here = setting(seed, plain=True)
    optimizer = torch.optim.LBFGS(here.model.parameters(), lr=0.1, max_iter=4)
    for batch in here.batches(10):

        def closure(batch: tuple[Tensor, Tensor] = batch) -> Tensor:
            optimizer.zero_grad()
            loss = here.loss(batch)
            loss.backward()
            return loss

        optimizer.step(closure)


def closure_of_first_order(seed: int) -> None:
    """A first-order optimizer given a closure."""
    here = setting(seed)
    for batch in here.batches(STEPS):

        def closure(batch: tuple[Tensor, Tensor] = batch) -> float:
            here.optimizer.zero_grad()
            loss = here.loss(batch)
            loss.backward()
            return float(loss)

        here.optimizer.step(closure)


def recomputing(seed: int) -> None:
    """Activation checkpointing runs parts of the forward pass again within the backward pass."""
    here = setting(seed, plain=True)
    for inputs, targets in here.batches(STEPS):
        here.optimizer.zero_grad()
        inputs.requires_grad_()
        logits = checkpoint(here.model, inputs, use_reentrant=False)
        F.cross_entropy(logits, targets).backward()
        here.optimizer.step()


def sharpness_aware(seed: int) -> None:
    """Weights are moved uphill for a second gradient and put back before the step."""
    here = setting(seed, plain=True)
    for batch in here.batches(STEPS):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        kept = [parameter.detach().clone() for parameter in here.model.parameters()]
        with torch.no_grad():
            for parameter in here.model.parameters():
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=0.01)
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        with torch.no_grad():
            for parameter, old in zip(here.model.parameters(), kept, strict=True):
                parameter.copy_(old)
        here.optimizer.step()


def with_workers(seed: int) -> None:
    """Two loader processes."""
    here = setting(seed, workers=2)
    for batch in here.batches(STEPS // 2):
        train(here, batch)


class _Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = data(self.seed).tensors
        yield from zip(inputs, targets, strict=True)


def streaming(seed: int) -> None:
    """An iterable data set: there are no indices."""
    here = setting(seed)
    here.loader = DataLoader(_Stream(seed), 16)
    for batch in here.batches(STEPS):
        train(here, batch)


def sampled(seed: int) -> None:
    """Samplers that repeat items by design."""
    here = setting(seed)
    weights = torch.rand(ITEMS) + 0.1
    drawn = here.draw.choice(("weighted", "replaced"))
    sampler = (
        WeightedRandomSampler(weights.tolist(), ITEMS)
        if drawn == "weighted"
        else RandomSampler(range(ITEMS), replacement=True, num_samples=ITEMS)
    )
    here.loader = DataLoader(data(seed), 16, sampler=sampler)
    for batch in here.batches(STEPS):
        train(here, batch)


def stopping_short(seed: int) -> None:
    """Epochs that are left in the middle, and loaders built anew."""
    here = setting(seed)
    for epoch in range(4):
        loader = DataLoader(data(seed), 16, shuffle=True)
        for number, (inputs, targets) in enumerate(loader):
            if number == 5 + epoch:
                break
            train(here, (inputs.to(here.dtype), targets))


def growing(seed: int) -> None:
    """Parameters join the optimizer in mid-run."""
    here = setting(seed, plain=True)
    extra = nn.Linear(CLASSES, CLASSES)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        if number == 10:
            here.optimizer.add_param_group({"params": list(extra.parameters())})
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        F.cross_entropy(extra(logits) if number >= 10 else logits, targets).backward()
        here.optimizer.step()


def bursts_of_nan(seed: int) -> None:
    """A loss that is not a number is passed over by the script; one gets through."""
    here = setting(seed, plain=True)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        loss = here.loss(batch) * (float("nan") if number % 10 == 5 else 1.0)
        if not torch.isfinite(loss) and number < 25:
            continue
        loss.backward()
        here.optimizer.step()


def sparse(seed: int) -> None:
    """Sparse gradients of an embedding."""
    torch.manual_seed(seed)
    embed, head = nn.Embedding(40, 8, sparse=True), nn.Linear(8, CLASSES)
    first, second = torch.optim.SparseAdam(embed.parameters(), 1e-2), torch.optim.SGD(head.parameters(), 0.1)
    for _ in range(STEPS):
        tokens, targets = torch.randint(40, (8,)), torch.randint(CLASSES, (8,))
        first.zero_grad()
        second.zero_grad()
        F.cross_entropy(head(embed(tokens)), targets).backward()
        first.step()
        second.step()


def compiled(seed: int) -> None:
    """A compiled model, without a C++ compiler's help."""
    here = setting(seed, plain=True)
    here.model = torch.compile(here.model, backend="aot_eager")
    for batch in here.batches(STEPS):
        train(here, batch)


def several_in_a_row(seed: int) -> None:
    """A small search: one training after another in one process, each with the same seed for its data."""
    for number in range(3):
        here = setting(seed + number)
        torch.manual_seed(5)
        for batch in here.batches(STEPS // 3):
            train(here, batch)


def writing(seed: int) -> None:
    """One row is held at zero throughout, and an average of single layers is put in now and then."""
    here = setting(seed, plain=True)
    held, *others = here.model.parameters()
    with torch.no_grad():
        held[0].zero_()
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        if held.grad is not None:
            held.grad[0] = 0
        here.optimizer.step()
        with torch.no_grad():
            held[0].zero_()
            if number in (13, 19):
                kept = [one.clone() for one in others]
                for one in others:
                    one.copy_(one * 0.9)
                here.model(batch[0])
                for one, value in zip(others, kept, strict=True):
                    one.copy_(value)


def clipped_by_a_hook(seed: int) -> None:
    """A hook before each step that bounds the norm of all gradients itself, at the few where it is large."""
    here = setting(seed)
    norms: list[float] = []

    @torch.no_grad()
    def bound(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        gradients = [one.grad for one in here.model.parameters() if one.grad is not None]
        norms.append(float(torch.stack([one.float().norm() for one in gradients]).norm()))
        limit = 2 * max(norms[:10])
        if norms[-1] > limit:
            for gradient in gradients:
                gradient.mul_(limit / norms[-1])

    here.optimizer.register_step_pre_hook(bound)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        (here.loss(batch) * (20 if number in (12, 23) else 1)).backward()
        here.optimizer.step()


LOOKALIKES: Mapping[str, Callable[[int], None]] = {
    program.__name__.replace("_", "-"): program
    for program in (
        plain, averaged, averaged_by_torch, freezing, accumulating, rate_set_by_hand, restarting,
        one_cycle, by_formula, on_plateau, scaled, scaled_by_hand, noisy, clipped, evaluating,
        adversaries, tied, resuming, fine_tuning, rewinding, retained, by_functional_gradient,
        closures, closure_of_first_order, recomputing, sharpness_aware, with_workers, streaming,
        writing, clipped_by_a_hook, sampled, stopping_short, growing, bursts_of_nan, sparse, compiled,
        several_in_a_row, *of_gradients.PROGRAMS, *of_loops.PROGRAMS, *of_losses.PROGRAMS,
        *of_surroundings.PROGRAMS, *of_trainers.PROGRAMS, *of_weights.PROGRAMS, *trainers.PROGRAMS,
    )
}  # fmt: skip


def _scheduled(here: Setting, schedule: schedules.LRScheduler) -> None:
    for batch in here.batches(STEPS):
        train(here, batch)
        schedule.step()


def _evaluate(model: nn.Module, here: Setting) -> None:
    model.eval()
    with torch.no_grad():
        for batch in here.batches(2):
            model(batch[0])
