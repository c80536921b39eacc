"""Clean programs that feed data or set rates in their own way."""

from __future__ import annotations

import math
import queue
import tempfile
import threading
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.optim import lr_scheduler as schedules
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    random_split,
)

from .settings import CLASSES, ITEMS, LONGER, WIDTH, Setting, data, setting, train

STEPS = 45 * LONGER


def mixed_up(seed: int) -> None:
    """Mixup, cutmix and smoothed labels, by turns, on the batch that the loader gave."""
    here = setting(seed)
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        other, share = torch.randperm(len(inputs)), float(torch.rand(()))
        wanted = F.one_hot(targets, CLASSES).to(inputs.dtype)
        if number % 2:
            inputs = share * inputs + (1 - share) * inputs[other]
        else:
            inputs = inputs.clone()
            inputs[:, : int(WIDTH * (1 - share))] = inputs[other, : int(WIDTH * (1 - share))]
        wanted = share * wanted + (1 - share) * wanted[other]
        here.optimizer.zero_grad()
        F.cross_entropy(here.model(inputs), 0.9 * wanted + 0.1 / CLASSES).backward()
        here.optimizer.step()


def augmented_in_place(seed: int) -> None:
    """The batch is changed where it lies: noise, flips, normalisation; stronger from the second epoch on."""
    here = setting(seed)
    for epoch in range(3):
        for inputs, targets in here.loader:
            inputs.sub_(inputs.mean()).div_(inputs.std() + 1e-6)
            if epoch:
                inputs.add_(0.1 * torch.randn_like(inputs))
            train(here, (inputs.to(here.dtype), targets))


class _Curriculum(Sampler[int]):
    """Easy items first; more of them with every epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return ITEMS * (2 + self.epoch) // 6

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        yield from torch.randperm(len(self), generator=generator).tolist()


def curriculum(seed: int) -> None:
    """A sampler that has more items with every epoch."""
    here = setting(seed)
    sampler = _Curriculum()
    loader = DataLoader(data(seed), 16, sampler=sampler)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            train(here, (inputs.to(here.dtype), targets))


def batches_growing(seed: int) -> None:
    """Larger batches and a larger rate from epoch to epoch."""
    here = setting(seed, plain=True)
    for epoch, size in enumerate((8, 16, 32)):
        for group in here.optimizer.param_groups:
            group["lr"] *= 1.4 if epoch else 1.0
        for batch in DataLoader(data(seed), size, shuffle=True):
            train(here, batch)


class _Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.cells, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, CLASSES)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
        logits: Tensor = self.head(self.cells(packed)[1][0][-1])
        return logits


def packed(seed: int) -> None:
    """Sequences of different lengths, padded in the loader and packed in the model."""
    torch.manual_seed(seed)
    items = [(torch.randint(1, 20, (2 + number % 9,)), number % CLASSES) for number in range(160)]

    def collate(batch: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
        rows = [one for one, _ in batch]
        lengths = torch.tensor([len(row) for row in rows])
        return pad_sequence(rows, batch_first=True), lengths, torch.tensor([target for _, target in batch])

    model = _Packed()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(3):
        for tokens, lengths, targets in DataLoader(items, 8, shuffle=True, collate_fn=collate):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens, lengths), targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()


def truncated_through_time(seed: int) -> None:
    """A recurrent net whose hidden state goes on from step to step, detached."""
    torch.manual_seed(seed)
    embed, cells, head = nn.Embedding(20, 8), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 20)
    optimizer = torch.optim.SGD([*embed.parameters(), *cells.parameters(), *head.parameters()], 0.5)
    text, hidden = torch.randint(20, (4, 8 * STEPS + 1)), torch.zeros(1, 4, 16)
    for number in range(STEPS):
        piece = text[:, 8 * number : 8 * number + 9]
        out, hidden = cells(embed(piece[:, :-1]), hidden.detach())
        optimizer.zero_grad()
        F.cross_entropy(head(out).flatten(0, 1), piece[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(cells.parameters(), 0.25)
        optimizer.step()


def resuming_within_an_epoch(seed: int) -> None:
    """Stops in the middle of an epoch, loads all, and passes over the batches that it has had."""
    here = setting(seed, plain=True)

    def loader() -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(data(seed), 16, shuffle=True, generator=torch.Generator().manual_seed(seed))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.pt"
        for batch in islice(loader(), 9):
            train(here, batch)
        state = {"model": here.model.state_dict(), "optimizer": here.optimizer.state_dict(), "done": 9}
        torch.save(state, path)
        again = setting(seed, plain=True)
        kept = torch.load(path, weights_only=True)
        again.model.load_state_dict(kept["model"])
        again.optimizer.load_state_dict(kept["optimizer"])
        for number, batch in enumerate(loader()):
            if number >= kept["done"]:
                train(again, batch)


def without_loader(seed: int) -> None:
    """Random pieces of one long text, as small language models are trained; the rate by a formula."""
    torch.manual_seed(seed)
    text = torch.randint(30, (5000,))
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 30))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    for number in range(STEPS):
        rate = 1e-3 * min(1.0, (number + 1) / 8)
        if number >= 8:
            rate = 1e-4 + 0.45e-3 * (1 + math.cos(math.pi * (number - 8) / (STEPS - 8)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        for micro in range(2):
            at = torch.randint(len(text) - 9, (8,))
            x = torch.stack([text[i : i + 8] for i in at])
            y = torch.stack([text[i + 1 : i + 9] for i in at])
            (F.cross_entropy(model(x).flatten(0, 1), y.flatten()) / 2).backward()
            del micro
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def fetched_ahead(seed: int) -> None:
    """A thread takes batches from the loader and hands them over by a queue."""
    here = setting(seed)
    ready: queue.Queue[tuple[Tensor, Tensor] | None] = queue.Queue(4)

    def fetch() -> None:
        for _ in range(3):
            for inputs, targets in here.loader:
                ready.put((inputs.to(here.dtype), targets))
        ready.put(None)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    while (batch := ready.get()) is not None:
        train(here, batch)
    thread.join()


def crossed_over(seed: int) -> None:
    """Cross-validation: three folds, each with a model of its own, over subsets of one data set."""
    whole = data(seed)
    for fold in range(3):
        here = setting(seed + fold)
        kept = [at for at in range(ITEMS) if at % 3 != fold]
        for inputs, targets in DataLoader(Subset(whole, kept), 16, shuffle=True):
            train(here, (inputs.to(here.dtype), targets))
        here.model.eval()
        with torch.no_grad():
            for inputs, _ in DataLoader(Subset(whole, list(range(fold, ITEMS, 3))), 64):
                here.model(inputs.to(here.dtype))


def evaluated_often(seed: int) -> None:
    """Every few steps an evaluation with a loader of its own, and one over the training data."""
    here = setting(seed)
    part, held_out = random_split(data(seed), (200, 56), torch.Generator().manual_seed(seed))
    loader = DataLoader(part, 16, shuffle=True)
    for epoch in range(3):
        for number, (inputs, targets) in enumerate(loader):
            train(here, (inputs.to(here.dtype), targets))
            if number % 4 == 3:
                here.model.eval()
                with torch.no_grad():
                    for other in (DataLoader(held_out, 28), islice(loader, 2 + epoch)):
                        for inputs, _ in other:
                            here.model(inputs.to(here.dtype))
                here.model.train()


def two_streams(seed: int) -> None:
    """Labelled and unlabelled data side by side, the shorter one repeated; pseudo-labels that are sure."""
    here = setting(seed, plain=True)
    first = DataLoader(Subset(data(seed), range(64)), 8, shuffle=True)
    second = DataLoader(Subset(data(seed), range(64, ITEMS)), 16, shuffle=True)
    for (inputs, targets), (more, _) in islice(zip(cycle(first), chain(second, second, second)), STEPS):
        with torch.no_grad():
            sure, guessed = here.model(more).softmax(-1).max(-1)
        here.optimizer.zero_grad()
        loss = F.cross_entropy(here.model(inputs), targets)
        if bool((sure > 0.5).any()):
            loss = loss + F.cross_entropy(here.model(more[sure > 0.5]), guessed[sure > 0.5])
        loss.backward()
        here.optimizer.step()


def one_batch_again(seed: int) -> None:
    """The same batch over and over: can the model learn it by heart?"""
    here = setting(seed)
    batch = next(here.batches(1))
    for _ in range(STEPS):
        train(here, batch)


def data_added(seed: int) -> None:
    """Active learning: after each round some more items are labelled and join the data set."""
    here = setting(seed)
    inputs, targets = data(seed).tensors
    for round_ in range(4):
        size = 64 + 32 * round_
        part: Dataset[tuple[Tensor, ...]] = TensorDataset(inputs[:size], targets[:size])
        if round_ == 3:
            part = ConcatDataset([part, TensorDataset(inputs[-32:], targets[-32:])])
        for x, y in DataLoader(part, 16, shuffle=True):
            train(here, (x.to(here.dtype), y))


class _Growing(Dataset[tuple[Tensor, Tensor]]):
    """Items with noise of their own at each reading, kept in a list that grows."""

    def __init__(self, seed: int) -> None:
        self.items = list(zip(*data(seed).tensors, strict=True))[:96]
        self.strength = 0.0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        inputs, target = self.items[at]
        return inputs + self.strength * torch.randn_like(inputs), target


def data_set_changing(seed: int) -> None:
    """The data set gets stronger noise and more items between epochs."""
    here = setting(seed)
    items = _Growing(seed)
    for epoch in range(4):
        items.strength = 0.05 * epoch
        for inputs, targets in DataLoader(items, 12, shuffle=True):
            train(here, (inputs.to(here.dtype), targets))
        items.items += items.items[:12]


def replayed(seed: int) -> None:
    """Continual learning: two tasks one after the other, with some items of the first kept and mixed in."""
    here = setting(seed)
    first, second = data(seed), data(seed + 1)
    for inputs, targets in DataLoader(first, 16, shuffle=True):
        train(here, (inputs.to(here.dtype), targets))
    kept = first.tensors[0][:48], first.tensors[1][:48]
    for inputs, targets in DataLoader(second, 12, shuffle=True):
        at = torch.randint(48, (4,))
        both = torch.cat((inputs, kept[0][at])), torch.cat((targets, kept[1][at]))
        train(here, (both[0].to(here.dtype), both[1]))


def contrasted(seed: int) -> None:
    """Contrastive learning with a queue of keys from an encoder that follows slowly."""
    here = setting(seed, plain=True)
    encode = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, 8))
    follow = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, 8)).requires_grad_(False)
    follow.load_state_dict(encode.state_dict())
    keys = F.normalize(torch.randn(64, 8), dim=1)
    optimizer = torch.optim.SGD(encode.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    for inputs, _ in here.batches(STEPS):
        asked = F.normalize(encode(inputs + 0.1 * torch.randn_like(inputs)), dim=1)
        with torch.no_grad():
            for slow, now in zip(follow.parameters(), encode.parameters(), strict=True):
                slow.mul_(0.9).add_(now, alpha=0.1)
            found = F.normalize(follow(inputs + 0.1 * torch.randn_like(inputs)), dim=1)
        logits = torch.cat(((asked * found).sum(1, keepdim=True), asked @ keys.T), 1) / 0.2
        optimizer.zero_grad()
        F.cross_entropy(logits, torch.zeros(len(inputs), dtype=torch.long)).backward()
        optimizer.step()
        keys = torch.cat((keys[len(inputs) :], found))


def denoised(seed: int) -> None:
    """Diffusion: noise of a drawn strength is to be told from a noisy input."""
    here = setting(seed, plain=True)
    model = nn.Sequential(nn.Linear(WIDTH + 1, 32), nn.SiLU(), nn.Linear(32, WIDTH))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for inputs, _ in here.batches(STEPS):
        time, noise = torch.rand(len(inputs), 1), torch.randn_like(inputs)
        noisy = (1 - time).sqrt() * inputs + time.sqrt() * noise
        optimizer.zero_grad()
        weight = 1 / (0.1 + time)
        (weight * (model(torch.cat((noisy, time), 1)) - noise).square()).mean().backward()
        optimizer.step()


class _Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(WIDTH, 8), nn.Linear(4, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = self.encode(x).chunk(2, 1)
        drawn = mean + torch.randn_like(mean) * (spread / 2).exp()
        return self.decode(drawn), mean, spread


def variational(seed: int) -> None:
    """An autoencoder whose divergence counts more from step to step."""
    here = setting(seed, plain=True)
    model = _Variational()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for number, (inputs, _) in enumerate(here.batches(STEPS)):
        made, mean, spread = model(inputs)
        divergence = -0.5 * (1 + spread - mean.square() - spread.exp()).mean()
        optimizer.zero_grad()
        (F.mse_loss(made, inputs) + min(1.0, number / 30) * divergence).backward()
        optimizer.step()


# --- rates -----------------------------------------------------------------------------------------


def chained(seed: int) -> None:
    """Warm-up, then cosine, then constant, one schedule after another, stepped each step."""
    here = setting(seed, plain=True)
    parts = [
        schedules.LinearLR(here.optimizer, 0.1, total_iters=8),
        schedules.CosineAnnealingLR(here.optimizer, 25),
        schedules.ConstantLR(here.optimizer, 0.3, 100),
    ]
    schedule: schedules.LRScheduler = schedules.SequentialLR(here.optimizer, parts, [8, 33])
    if seed % 2:
        schedule = schedules.ChainedScheduler(
            [
                schedules.LinearLR(here.optimizer, 0.2, total_iters=9),
                schedules.ExponentialLR(here.optimizer, 0.97),
            ]
        )
    for batch in here.batches(STEPS):
        train(here, batch)
        schedule.step()


def each_epoch(seed: int) -> None:
    """A schedule that is stepped at the end of each epoch, in epochs of different length."""
    here = setting(seed)
    schedule = schedules.MultiStepLR(here.optimizer, [1, 3], 0.3)
    for epoch in range(5):
        for batch in here.batches(6 + 3 * (epoch % 2)):
            train(here, batch)
        schedule.step()


def swept(seed: int) -> None:
    """The rate is found by a sweep; then weights, optimizer and rate are set back and training begins."""
    here = setting(seed, plain=True)
    kept = {name: value.clone() for name, value in here.model.state_dict().items()}
    state = here.optimizer.state_dict()
    found: list[tuple[float, float]] = []
    for number, batch in enumerate(here.batches(20)):
        rate = 1e-5 * 10 ** (number / 5)
        for group in here.optimizer.param_groups:
            group["lr"] = rate
        found.append((float(train(here, batch)), rate))
    here.model.load_state_dict(kept)
    here.optimizer.load_state_dict(state)
    for group in here.optimizer.param_groups:
        group["lr"] = min(found)[1] / 10
    schedule = schedules.OneCycleLR(here.optimizer, 1e-3, total_steps=STEPS, cycle_momentum=False)
    for batch in here.batches(STEPS - 5):
        train(here, batch)
        schedule.step()


def lowered_when_stuck(seed: int) -> None:
    """The rate is halved by the script when the mean loss does not fall, and the best weights come back."""
    here = setting(seed, plain=True)
    best, kept, recent = 1e9, here.model.state_dict(), []
    for number, batch in enumerate(here.batches(STEPS)):
        recent.append(float(train(here, batch)))
        if number % 9 == 8:
            mean, recent = sum(recent) / len(recent), []
            if mean < best:
                best, kept = mean, {name: value.clone() for name, value in here.model.state_dict().items()}
            else:
                here.model.load_state_dict(kept)
                for group in here.optimizer.param_groups:
                    group["lr"] *= 0.5


def decay_scheduled(seed: int) -> None:
    """Weight decay and momentum follow formulas of the script, beside the rate."""
    here = setting(seed, plain=True)
    here.optimizer = torch.optim.AdamW(here.model.parameters(), 1e-3)
    for number, batch in enumerate(here.batches(STEPS)):
        share = number / STEPS
        for group in here.optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (number + 1) / 5) * (1 + math.cos(math.pi * share)) / 2
            group["weight_decay"] = 0.04 + 0.36 * (1 - math.cos(math.pi * share)) / 2
            group["betas"] = (0.95 - 0.1 * share, 0.999)
        train(here, batch)


def layerwise_rates(seed: int) -> None:
    """Each tensor has a rate of its own, all of them under one schedule; a group joins later."""
    here = setting(seed, plain=True)
    every = list(here.model.parameters())
    here.optimizer = torch.optim.AdamW(
        [{"params": [one], "lr": 1e-3 * 0.8**depth} for depth, one in enumerate(reversed(every))], 1e-3
    )
    schedule = schedules.LambdaLR(here.optimizer, lambda step: min(1.0, (step + 1) / 10))
    extra = nn.Parameter(torch.ones(()))
    for number, (inputs, targets) in enumerate(here.batches(STEPS)):
        if number == 20:
            here.optimizer.add_param_group({"params": [extra], "lr": 1e-4, "initial_lr": 1e-4})
            schedule = schedules.LambdaLR(here.optimizer, lambda step: 0.99**step)
        here.optimizer.zero_grad()
        F.cross_entropy(here.model(inputs) * (extra if number >= 20 else 1), targets).backward()
        here.optimizer.step()
        schedule.step()


def schedule_of_its_own(seed: int) -> None:
    """A schedule class of the program: square root of steps with cool-down, set back by a restart."""

    class Cooling(schedules.LRScheduler):
        def get_lr(self) -> list[float]:
            at = self.last_epoch % 22
            return [base * min((at + 1) / 5, (5 / (at + 1)) ** 0.5) for base in self.base_lrs]

    here = setting(seed)
    _stepped(here, Cooling(here.optimizer))


def _stepped(here: Setting, schedule: schedules.LRScheduler) -> None:
    for batch in here.batches(STEPS):
        train(here, batch)
        schedule.step()


def sampled_anew(seed: int) -> None:
    """A new sampler with a new number of items for every epoch."""
    here = setting(seed)
    for epoch in range(4):
        sampler = RandomSampler(data(seed), num_samples=100 + 30 * epoch)
        for inputs, targets in DataLoader(data(seed), 16, sampler=sampler, drop_last=True):
            train(here, (inputs.to(here.dtype), targets))


PROGRAMS = (
    mixed_up, augmented_in_place, curriculum, batches_growing, packed, truncated_through_time,
    resuming_within_an_epoch, without_loader, fetched_ahead, crossed_over, evaluated_often, two_streams,
    one_batch_again, data_added, data_set_changing, replayed, contrasted, denoised, variational, chained,
    each_epoch, swept, lowered_when_stuck, decay_scheduled, layerwise_rates, schedule_of_its_own,
    sampled_anew,
)  # fmt: skip
