"""Clean programs that write into weights or optimizer state in their own way, or have several models."""

from __future__ import annotations

import copy
import tempfile
from collections import deque
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from .settings import CLASSES, LONGER, WIDTH, perceptron, setting, train

STEPS = 45 * LONGER


def looking_ahead(seed: int) -> None:
    """Slow weights: every few steps the fast ones go back to a point between both."""
    here = setting(seed)
    slow = [one.detach().clone() for one in here.model.parameters()]
    every = here.draw.choice((5, 6, 8))
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % every == every - 1:
            with torch.no_grad():
                for kept, fast in zip(slow, here.model.parameters(), strict=True):
                    kept.lerp_(fast, 0.5)
                    fast.copy_(kept)


def deep_q(seed: int) -> None:
    """Q-learning from a replay buffer, with a target net that is copied over every few steps."""
    torch.manual_seed(seed)
    online = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3))
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), 1e-3)
    buffer: deque[tuple[Tensor, int, float, Tensor]] = deque(maxlen=200)
    state = torch.randn(4)
    for number in range(120):
        with torch.no_grad():
            explore = float(torch.rand(())) < 0.3
            action = int(torch.randint(3, ())) if explore else int(online(state).argmax())
        following = torch.tanh(state.roll(action) + 0.1 * torch.randn(4))
        buffer.append((state, action, float(following.sum()), following))
        state = following
        if len(buffer) < 32:
            continue
        picked = [buffer[int(at)] for at in torch.randint(len(buffer), (16,))]
        states, nexts = torch.stack([one[0] for one in picked]), torch.stack([one[3] for one in picked])
        actions, rewards = torch.tensor([one[1] for one in picked]), torch.tensor([one[2] for one in picked])
        with torch.no_grad():
            best = online(nexts).argmax(1, keepdim=True)
            wanted = rewards + 0.9 * target(nexts).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(online(states).gather(1, actions[:, None]).squeeze(1), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(online.parameters(), 1.0)
        optimizer.step()
        if number % 20 == 0:
            target.load_state_dict(online.state_dict())


def actor_and_critic(seed: int) -> None:
    """Two nets, two optimizers, a loss of one through the other, and targets that follow slowly."""
    torch.manual_seed(seed)
    actor = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2), nn.Tanh())
    critic = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 1))
    targets = copy.deepcopy(actor), copy.deepcopy(critic)
    acting, judging = torch.optim.Adam(actor.parameters(), 1e-3), torch.optim.Adam(critic.parameters(), 1e-3)
    for _ in range(STEPS):
        states, actions, nexts = torch.randn(16, 4), torch.rand(16, 2) * 2 - 1, torch.randn(16, 4)
        with torch.no_grad():
            later = targets[1](torch.cat((nexts, targets[0](nexts)), 1))
            wanted = states.sum(1, keepdim=True) + 0.9 * later
        judging.zero_grad()
        F.mse_loss(critic(torch.cat((states, actions), 1)), wanted).backward()
        judging.step()
        acting.zero_grad()
        (-critic(torch.cat((states, actor(states)), 1)).mean()).backward()
        acting.step()
        with torch.no_grad():
            for net, slow in zip((actor, critic), targets, strict=True):
                for now, kept in zip(net.parameters(), slow.parameters(), strict=True):
                    kept.mul_(0.95).add_(now, alpha=0.05)


def policy_gradient(seed: int) -> None:
    """REINFORCE with a baseline: no loader, episodes of different length, a loss per episode."""
    torch.manual_seed(seed)
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    baseline = 0.0
    for _ in range(STEPS):
        state, logs, rewards = torch.randn(4), [], []
        for _ in range(int(torch.randint(2, 9, ()))):
            choice = torch.distributions.Categorical(logits=policy(state))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            state = torch.tanh(state + (action.float() - 0.5) + 0.1 * torch.randn(4))
            rewards.append(float(state[0]))
        outcome = sum(rewards)
        baseline = 0.9 * baseline + 0.1 * outcome
        optimizer.zero_grad()
        (-(outcome - baseline) * torch.stack(logs).sum()).backward()
        optimizer.step()


def critic_clamped(seed: int) -> None:
    """A critic's weights are clamped after each of its steps."""
    here = setting(seed, plain=True)
    maker = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, WIDTH))
    critic = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, 1))
    making, judging = (
        torch.optim.RMSprop(maker.parameters(), 5e-4),
        torch.optim.RMSprop(critic.parameters(), 5e-4),
    )
    for number, (inputs, _) in enumerate(here.batches(STEPS)):
        judging.zero_grad()
        (critic(maker(torch.randn(len(inputs), 6)).detach()).mean() - critic(inputs).mean()).backward()
        judging.step()
        for parameter in critic.parameters():
            parameter.data.clamp_(-0.05, 0.05)
        if number % 5 == 4:
            making.zero_grad()
            (-critic(maker(torch.randn(len(inputs), 6))).mean()).backward()
            making.step()


def norms_limited(seed: int) -> None:
    """Rows that have grown too long are shortened after the step."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        train(here, batch)
        with torch.no_grad():
            for parameter in here.model.parameters():
                if parameter.dim() == 2:
                    parameter.copy_(torch.renorm(parameter, 2, 0, 0.8))


def decayed_by_hand(seed: int) -> None:
    """Weight decay by the script, before or after the step."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        if seed % 2:
            for parameter in here.model.parameters():
                parameter.data.mul_(1 - 1e-3)
        train(here, batch)
        if not seed % 2:
            for parameter in here.model.parameters():
                parameter.data.mul_(1 - 1e-3)


def reparametrised(seed: int) -> None:
    """Weight norm, spectral norm or orthogonal weights, by torch's parametrisations."""
    here = setting(seed, plain=True)
    chosen = here.draw.choice(
        (parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal)
    )
    model = nn.Sequential(chosen(nn.Linear(WIDTH, 24)), nn.ReLU(), nn.Linear(24, CLASSES))
    here.model, here.optimizer = model, torch.optim.AdamW(model.parameters(), 1e-3)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 10 == 9:
            with parametrize.cached(), torch.no_grad():
                model(batch[0])


def normalised_the_old_way(seed: int) -> None:
    """Spectral norm and weight norm as hooks, as older programs have them."""
    here = setting(seed, plain=True)
    old = nn.utils.spectral_norm if seed % 2 else nn.utils.weight_norm
    here.model = nn.Sequential(old(nn.Linear(WIDTH, 24)), nn.ReLU(), nn.Linear(24, CLASSES))
    here.optimizer = torch.optim.SGD(here.model.parameters(), 0.05, momentum=0.9)
    for batch in here.batches(STEPS):
        train(here, batch)


def pruned(seed: int) -> None:
    """Weights are pruned in the middle by torch's own masks, and more of them later."""
    here = setting(seed, plain=True)
    here.model = perceptron()
    here.optimizer = torch.optim.SGD(here.model.parameters(), 0.05, momentum=0.9)
    layer = here.model[0]
    for number, batch in enumerate(here.batches(STEPS)):
        if number in (12, 24):
            prune.l1_unstructured(layer, "weight", 0.3)
        train(here, batch)


def masked(seed: int) -> None:
    """A lottery ticket: the smallest weights of all tensors are set to zero and held there."""
    here = setting(seed)
    masks: list[Tensor] = []
    parameters = list(here.model.parameters())
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number == 14:
            masks = [(one.abs() > one.abs().median()).to(one.dtype) for one in parameters]
        with torch.no_grad():
            for parameter, mask in zip(parameters, masks, strict=False):
                parameter.mul_(mask)


def units_revived(seed: int) -> None:
    """Units that do nothing are initialised again, with their moments, every so often."""
    here = setting(seed, plain=True)
    model = nn.Sequential(nn.Linear(WIDTH, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    here.model, here.optimizer = model, torch.optim.Adam(model.parameters(), 1e-3)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 8 == 7:
            with torch.no_grad():
                idle = model[0](batch[0]).amax(0).topk(3, largest=False).indices
                model[0].weight[idle] = 0.1 * torch.randn(3, WIDTH)
                model[0].bias[idle] = 0
                for value in here.optimizer.state[model[0].weight].values():
                    if value.dim() == 2:
                        value[idle] = 0


def momentum_forgotten(seed: int) -> None:
    """The optimizer's state is cleared as a new cycle of the rate begins."""
    here = setting(seed, plain=True)
    here.optimizer = torch.optim.Adam(here.model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(here.optimizer, 15)
    for number, batch in enumerate(here.batches(STEPS)):
        if number and number % 15 == 0:
            here.optimizer.state.clear()
        train(here, batch)
        schedule.step()


def thawing_in_turn(seed: int) -> None:
    """Only the head at first; from the last to the first the layers are added to the optimizer."""
    here = setting(seed, plain=True)
    every = list(here.model.parameters())
    for parameter in every[:-2]:
        parameter.requires_grad_(False)
    here.optimizer = torch.optim.AdamW(every[-2:], 1e-3)
    waiting = every[:-2]
    for number, batch in enumerate(here.batches(STEPS)):
        if number % 8 == 7 and waiting:
            parameter = waiting.pop()
            parameter.requires_grad_(True)
            here.optimizer.add_param_group({"params": [parameter], "lr": 1e-4})
        train(here, batch)


def distilled(seed: int) -> None:
    """A teacher in evaluation mode, a student that learns from both."""
    here = setting(seed)
    teacher = copy.deepcopy(here.model).eval().requires_grad_(False)
    for inputs, targets in here.batches(STEPS):
        with torch.no_grad():
            wanted = (teacher(inputs).float() / 2).softmax(-1)
        here.optimizer.zero_grad()
        logits = here.model(inputs)
        soft = F.kl_div((logits.float() / 2).log_softmax(-1), wanted, reduction="batchmean")
        (0.5 * F.cross_entropy(logits, targets) + 2 * soft).backward()
        here.optimizer.step()


def teacher_that_follows(seed: int) -> None:
    """A mean teacher with dropout of its own whose agreement counts more and more."""
    here = setting(seed, plain=True)
    teacher = copy.deepcopy(here.model)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        logits = here.model(inputs + 0.05 * torch.randn_like(inputs))
        with torch.no_grad():
            wanted = teacher(inputs + 0.05 * torch.randn_like(inputs))
        (F.cross_entropy(logits, targets) + min(1, number / 20) * F.mse_loss(logits, wanted)).backward()
        here.optimizer.step()
        with torch.no_grad():
            for kept, now in zip(teacher.parameters(), here.model.parameters(), strict=True):
                kept.mul_(0.9).add_(now, alpha=0.1)
            for kept, now in zip(teacher.buffers(), here.model.buffers(), strict=True):
                kept.copy_(now)


def averaged_files(seed: int) -> None:
    """Checkpoints of some steps are averaged, loaded, and trained on."""
    here = setting(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number, batch in enumerate(here.batches(STEPS)):
            train(here, batch)
            if number in (15, 20, 25):
                torch.save(here.model.state_dict(), Path(folder) / f"{number}.pt")
            if number == 30:
                found = [torch.load(path, weights_only=True) for path in sorted(Path(folder).iterdir())]
                mean = {
                    name: sum(one[name].float() for one in found).div(len(found)).to(value.dtype)
                    for name, value in found[0].items()
                }
                here.model.load_state_dict(mean)


def federated(seed: int) -> None:
    """Three clients train by turns from the same weights, which are then averaged."""
    here = setting(seed, plain=True)
    common = here.model
    for _ in range(4):
        found = []
        for _ in range(3):
            client = copy.deepcopy(common)
            optimizer = torch.optim.SGD(client.parameters(), 0.05)
            for inputs, targets in here.batches(4):
                optimizer.zero_grad()
                F.cross_entropy(client(inputs), targets).backward()
                optimizer.step()
            found.append(client.state_dict())
        common.load_state_dict(
            {name: sum(one[name].float() for one in found) / 3 for name in found[0]}, strict=True
        )


def population(seed: int) -> None:
    """Population-based training: the worst member takes over weights, state and rate of the best."""
    members = [setting(seed + number, plain=True) for number in range(1)]
    members += [copy.deepcopy(members[0]) for _ in range(2)]
    rows = [iter(one.batches(STEPS)) for one in members]
    for number in range(30):
        losses = [float(train(one, next(row))) for one, row in zip(members, rows, strict=True)]
        if number % 10 == 9:
            best, worst = losses.index(min(losses)), losses.index(max(losses))
            members[worst].model.load_state_dict(members[best].model.state_dict())
            members[worst].optimizer.load_state_dict(copy.deepcopy(members[best].optimizer.state_dict()))
            for group in members[worst].optimizer.param_groups:
                group["lr"] *= 1.2


def meta_by_interpolation(seed: int) -> None:
    """Reptile: an inner training from the common weights, then a part of the way towards its end."""
    here = setting(seed, plain=True)
    for _ in range(6):
        old = copy.deepcopy(here.model.state_dict())
        inner = torch.optim.SGD(here.model.parameters(), 0.05)
        for inputs, targets in here.batches(5):
            inner.zero_grad()
            F.cross_entropy(here.model(inputs), targets).backward()
            inner.step()
        new = here.model.state_dict()
        here.model.load_state_dict(
            {k: old[k] + 0.5 * (new[k] - old[k]) if old[k].is_floating_point() else new[k] for k in old}
        )


def weights_shaken(seed: int) -> None:
    """Noise is put on the weights for the forward pass and taken off again before the step."""
    here = setting(seed)
    for batch in here.batches(STEPS):
        kept = [one.detach().clone() for one in here.model.parameters()]
        with torch.no_grad():
            for parameter in here.model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        with torch.no_grad():
            for parameter, old in zip(here.model.parameters(), kept, strict=True):
                parameter.copy_(old)
        here.optimizer.step()


def binary(seed: int) -> None:
    """The forward pass is made with the signs of the weights, the step with the weights behind them."""
    here = setting(seed, plain=True)
    for batch in here.batches(STEPS):
        matrices = [one for one in here.model.parameters() if one.dim() > 1]
        kept = [one.data.clone() for one in matrices]
        for parameter in matrices:
            parameter.data.sign_().mul_(0.1)
        here.optimizer.zero_grad()
        here.loss(batch).backward()
        for parameter, old in zip(matrices, kept, strict=True):
            parameter.data.copy_(old)
        here.optimizer.step()


class _Codebook(nn.Module):
    """A vector-quantised autoencoder whose code book is a moving average, kept as buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(WIDTH, 6), nn.Linear(6, WIDTH)
        self.register_buffer("book", torch.randn(8, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encode(x)
        nearest = torch.cdist(code, self.book).argmin(1)
        found = self.book[nearest]
        if self.training:
            with torch.no_grad():
                for one in nearest.unique():
                    self.book[one] = 0.9 * self.book[one] + 0.1 * code[nearest == one].mean(0)
        commitment = F.mse_loss(code, found.detach())
        return self.decode(code + (found - code).detach()), commitment


def vector_quantised(seed: int) -> None:
    """A code book that follows what it is used for; gradients pass straight through it."""
    here = setting(seed, plain=True)
    model = _Codebook()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for inputs, _ in here.batches(STEPS):
        optimizer.zero_grad()
        made, commitment = model(inputs)
        (F.mse_loss(made, inputs) + 0.25 * commitment).backward()
        optimizer.step()


class _Adapted(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, base.in_features) * 0.1)
        self.up = nn.Parameter(torch.zeros(base.out_features, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + x @ self.down.T @ self.up.T
        return out


def adapters_merged(seed: int) -> None:
    """Low-rank adapters beside frozen weights, merged into them now and then and begun anew."""
    here = setting(seed, plain=True)
    model = nn.Sequential(_Adapted(nn.Linear(WIDTH, 24)), nn.ReLU(), nn.Linear(24, CLASSES))
    here.model = model
    here.optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], 1e-3)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 9 == 8:
            with torch.no_grad():
                model[0].base.weight += model[0].up @ model[0].down
                model[0].up.zero_()
                model[0].down.normal_(std=0.1)
            for parameter in (model[0].up, model[0].down):
                here.optimizer.state.pop(parameter, None)


class _Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 6)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, CLASSES) for _ in range(6))
        self.balance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate(x).softmax(-1)
        value, chosen = share.max(-1)
        self.balance = share.mean(0).square().sum() * 6
        out = torch.zeros(len(x), CLASSES)
        for number in chosen.unique().tolist():
            at = (chosen == number).nonzero().squeeze(1)
            out = out.index_add(0, at, value[at, None] * self.experts[number](x[at]))
        return out


def experts(seed: int) -> None:
    """Experts that no item goes to have no gradient; a loss for balance is kept as an attribute."""
    here = setting(seed, plain=True)
    model = _Experts()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for inputs, targets in here.batches(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs[:3]), targets[:3])
        assert model.balance is not None
        (loss + 0.01 * model.balance).backward()
        optimizer.step()


class _Weighted(torch.optim.Optimizer):
    """An optimizer that exists nowhere else: sign of momentum, trust ratio by layer."""

    def __init__(self, parameters: object, lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "beta": 0.9})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["beta"])
                trust = parameter.norm().clamp_min(0.1) / momentum.norm().clamp_min(1e-3)
                parameter.add_(momentum, alpha=-group["lr"] * float(trust.clamp_max(10)))


class _SignedAdam(torch.optim.AdamW):
    """AdamW whose step does something before and after the parent's."""

    def step(self, closure: object = None) -> object:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.clamp_(-1, 1)
        result = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(0.9999)
        return result


def own_optimizer(seed: int) -> None:
    """An optimizer of the program's own."""
    here = setting(seed)
    kind = _Weighted if seed % 2 else _SignedAdam
    here.optimizer = kind(here.model.parameters(), lr=1e-3)
    for batch in here.batches(STEPS):
        train(here, batch)


def switching_optimizers(seed: int) -> None:
    """Adam first, SGD for the rest; both objects stay alive."""
    here = setting(seed, plain=True)
    later = torch.optim.SGD(here.model.parameters(), 0.01, momentum=0.9)
    for number, batch in enumerate(here.batches(STEPS)):
        if number == 20:
            here.optimizer = later
        train(here, batch)


def two_optimizers(seed: int) -> None:
    """One optimizer for the body and one for the head, at different paces; decay for matrices only."""
    here = setting(seed, plain=True)
    every = list(here.model.parameters())
    first = torch.optim.AdamW(
        [
            {"params": [one for one in every[:-2] if one.dim() > 1], "weight_decay": 0.1},
            {"params": [one for one in every[:-2] if one.dim() < 2], "weight_decay": 0.0},
        ],
        1e-3,
    )
    second = torch.optim.SGD(every[-2:], 0.05)
    for number, batch in enumerate(here.batches(STEPS)):
        here.loss(batch).backward()
        second.step()
        second.zero_grad()
        if number % 2:
            first.step()
            first.zero_grad()


PROGRAMS = (
    looking_ahead, deep_q, actor_and_critic, policy_gradient, critic_clamped, norms_limited,
    decayed_by_hand, reparametrised, normalised_the_old_way, pruned, masked,
    units_revived, momentum_forgotten, thawing_in_turn, distilled, teacher_that_follows,
    averaged_files, federated, population, meta_by_interpolation, weights_shaken, binary,
    vector_quantised, adapters_merged, experts, own_optimizer, switching_optimizers, two_optimizers,
)  # fmt: skip
