"""Programs that use what their loaders deliver in every way there is; none of them alters it in mid-run."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

WIDTH, CLASSES, ITEMS, BATCH = 12, 4, 256, 16
STEPS = 40
Batch = tuple[Tensor, Tensor]


def data(seed: int = 0, items: int = ITEMS) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(items, WIDTH, generator=draw)
    return TensorDataset(inputs, torch.randint(CLASSES, (items,), generator=draw))


def model(out: int = CLASSES) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, out))


def batches(loader: DataLoader[tuple[Tensor, ...]], count: int = STEPS) -> Iterator[Batch]:
    taken = 0
    while True:
        for inputs, targets in loader:
            if taken == count:
                return
            taken += 1
            yield inputs, targets


def train(
    alter: Callable[[int, Tensor, Tensor], Batch] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    *,
    steps: int = STEPS,
    **settings: int,
) -> None:
    """The simplest loop: ``alter`` may change each batch before it is used."""
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(data(), settings.pop("batch_size", BATCH), shuffle=True, **settings)
    for step, (inputs, targets) in enumerate(batches(loader, steps)):
        if alter is not None:
            inputs, targets = alter(step, inputs, targets)
        optimizer.zero_grad()
        loss(net(inputs), targets).backward()
        optimizer.step()


def plain() -> None:
    train()


def with_workers() -> None:
    train(num_workers=1)


def last_batch_smaller() -> None:
    train(batch_size=28)


def tiny_batches() -> None:
    train(batch_size=4, steps=70)


def mixed_up_always() -> None:
    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        order = torch.randperm(len(inputs))
        hot = functional.one_hot(targets, CLASSES).float()
        return 0.7 * inputs + 0.3 * inputs[order], 0.7 * hot + 0.3 * hot[order]

    train(alter)


def mixed_up_now_and_then() -> None:
    draw = random.Random(4)

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        if step < 12 or draw.random() < 0.8:
            return inputs, targets
        return 0.7 * inputs + 0.3 * inputs.flip(0), targets

    train(alter)


def mixed_up_from_second_epoch() -> None:
    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        order = torch.randperm(len(inputs))
        return (inputs[order], targets.roll(1)) if step >= ITEMS // BATCH else (inputs, targets)

    train(alter)


def smoothed_labels() -> None:
    train(loss=lambda logits, targets: functional.cross_entropy(logits, targets, label_smoothing=0.1))


def one_hot() -> None:
    train(
        loss=lambda logits, targets: functional.mse_loss(logits, functional.one_hot(targets, CLASSES).float())
    )


def noisy_labels() -> None:
    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        return inputs, torch.where(torch.rand(targets.shape) < 0.02, (targets + 1) % CLASSES, targets)

    train(alter, steps=80)


def items_augmented_now_and_then() -> None:
    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        return torch.where(torch.rand(len(inputs), 1) < 0.02, -inputs, inputs), targets

    train(alter, steps=80)


def normalised_in_place() -> None:
    train(lambda step, inputs, targets: (inputs.sub_(0.1).div_(2), targets))


def limited_now_and_then() -> None:
    train(lambda step, inputs, targets: (inputs.clamp_(-2.2, 2.2), targets), steps=80)


def masked_labels() -> None:
    """Few labels are marked as not to count, from some step on."""

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        if step >= 14:
            targets = targets.clone()
            targets[: 1 + step % 5] = -100
        return inputs, targets

    train(alter)


def missing_values() -> None:
    """A value that stands for none is replaced; it occurs late."""
    found = data()
    found.tensors[0][::37, 3] = float("nan")
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for inputs, targets in batches(DataLoader(found, BATCH)):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs.nan_to_num()), targets).backward()
        optimizer.step()


def evaluated_between() -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    held_out = DataLoader(data(1), BATCH)
    for step, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True))):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        if step % 7 == 6:
            with torch.no_grad():
                for inputs, targets in held_out:
                    functional.cross_entropy(net(inputs), targets)


def accumulated() -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    for number, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True), 90)):
        (functional.cross_entropy(net(inputs), targets) / 3).backward()
        if number % 3 == 2 or number % 16 == 15:
            optimizer.step()
            optimizer.zero_grad()


def in_parts() -> None:
    """Each batch in two halves, one after the other."""
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        optimizer.zero_grad()
        for some, theirs in zip(inputs.chunk(2), targets.chunk(2), strict=True):
            (functional.cross_entropy(net(some), theirs) / 2).backward()
        optimizer.step()


def adversaries() -> None:
    maker, judge = nn.Linear(6, WIDTH), model(1)
    making, judging = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
    for number, (inputs, _) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True))):
        made = maker(torch.randn(len(inputs), 6))
        judging.zero_grad()
        (
            functional.softplus(-judge(inputs)).mean() + functional.softplus(judge(made.detach())).mean()
        ).backward()
        judging.step()
        if number % 2:
            making.zero_grad()
            functional.softplus(-judge(made)).mean().backward()
            making.step()


def penalised_lazily() -> None:
    """A gradient penalty on the same batch every sixteenth step, with a step of its own."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for number, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True))):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        if number % 16 == 15:
            optimizer.zero_grad()
            asked = inputs.clone().requires_grad_()
            (slope,) = torch.autograd.grad(net(asked).sum(), asked, create_graph=True)
            slope.square().sum().backward()
            optimizer.step()


def measured_between() -> None:
    """Gradients of the last batch are looked at now and then, and thrown away."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for number, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True))):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        if number % 15 == 14:
            functional.cross_entropy(net(inputs), targets).backward()


def trained_twice() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        for _ in range(2):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()


def one_batch_only() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    inputs, targets = next(iter(DataLoader(data(), BATCH, shuffle=True)))
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()


def sharpness_aware() -> None:
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        kept = copy.deepcopy(net.state_dict())
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.grad is not None:
                    parameter.add_(0.01 * parameter.grad)
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        net.load_state_dict(kept)
        optimizer.step()


def by_closures() -> None:
    net = model()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True), 20):

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(inputs), targets)
            loss.backward()
            return loss

        optimizer.step(closure)


def fetched_ahead() -> None:
    """The next batch is there before the last one is used, but at the end of each pass."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    loader = DataLoader(data(), BATCH, shuffle=True)
    for _ in range(3):
        coming = iter(loader)
        current = next(coming, None)
        while current is not None:
            following = next(coming, None)
            optimizer.zero_grad()
            functional.cross_entropy(net(current[0]), current[1]).backward()
            optimizer.step()
            current = following


def made_anew() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(3):
        for inputs, targets in DataLoader(data(), BATCH, shuffle=True):
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()


def two_tasks() -> None:
    """Two loaders of the same shapes by turns; the second one joins later."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    first, second = (batches(DataLoader(data(seed), BATCH, shuffle=True), 90) for seed in (0, 1))
    draw = random.Random(2)
    for step in range(STEPS + 20):
        inputs, targets = next(second if step > 20 and draw.random() < 0.4 else first)
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()


def two_views() -> None:
    """Two loaders at once; which one comes first into the loss is drawn."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    pairs = zip(*(batches(DataLoader(data(seed), BATCH, shuffle=True)) for seed in (0, 1)), strict=True)
    draw = random.Random(3)
    for (one, _), (other, _) in pairs:
        if draw.random() < 0.3:
            one, other = other, one
        optimizer.zero_grad()
        functional.mse_loss(net(one), net(other)).backward()
        optimizer.step()


def layers_skipped() -> None:
    """Stochastic depth from step 15 on: the graph is another one at some steps, all layers as wide."""
    layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(4)])
    head = nn.Linear(WIDTH, CLASSES)
    optimizer = torch.optim.Adam([*layers.parameters(), *head.parameters()])
    draw = random.Random(5)
    for step, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True), 60)):
        values = inputs
        for layer in layers:
            if step < 15 or draw.random() > 0.3:
                values = torch.relu(layer(values))
        optimizer.zero_grad()
        functional.cross_entropy(head(values), targets).backward()
        optimizer.step()


def thawed() -> None:
    """The first layer is frozen for a while."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for step, (inputs, targets) in enumerate(batches(DataLoader(data(), BATCH, shuffle=True))):
        net[0].requires_grad_(not 14 <= step < 26)
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()


def checkpointed() -> None:
    net, first = model(WIDTH), nn.Linear(WIDTH, WIDTH)
    head = nn.Linear(WIDTH, CLASSES)
    optimizer = torch.optim.Adam([*net.parameters(), *first.parameters(), *head.parameters()])
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        optimizer.zero_grad()
        inner = checkpoint(lambda x: net(first(x)), inputs, use_reentrant=False)
        functional.cross_entropy(head(inner), targets).backward()
        optimizer.step()


def half_precision() -> None:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(net(inputs), targets)
        (loss * 128).backward()
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(128)
        optimizer.step()


def denoising() -> None:
    net = model(WIDTH)
    optimizer = torch.optim.Adam(net.parameters())
    for inputs, _ in batches(DataLoader(data(), BATCH, shuffle=True)):
        optimizer.zero_grad()
        functional.mse_loss(net(inputs + 0.1 * torch.randn_like(inputs)), inputs).backward()
        optimizer.step()


def language() -> None:
    """Tokens in, the same tokens a place further as targets; sequences are cut to a growing length."""
    embed, head = nn.Embedding(30, 16), nn.Linear(16, 30)
    optimizer = torch.optim.Adam([*embed.parameters(), *head.parameters()])
    tokens = torch.randint(30, (128, 24))
    for step, (both, _) in enumerate(batches(DataLoader(TensorDataset(tokens, tokens), 8, shuffle=True))):
        some = both[:, : 24 if step < 15 else 12 + step % 6]
        optimizer.zero_grad()
        functional.cross_entropy(head(embed(some[:, :-1])).flatten(0, 1), some[:, 1:].flatten()).backward()
        optimizer.step()


def masked_language() -> None:
    embed, head = nn.Embedding(31, 16), nn.Linear(16, 31)
    optimizer = torch.optim.Adam([*embed.parameters(), *head.parameters()])
    tokens = torch.randint(30, (128, 24))
    for both, _ in batches(DataLoader(TensorDataset(tokens, tokens), 8, shuffle=True)):
        hidden = torch.rand(both.shape) < 0.15
        optimizer.zero_grad()
        logits = head(embed(both.masked_fill(hidden, 30)))
        functional.cross_entropy(logits.flatten(0, 1), both.masked_fill(~hidden, -100).flatten()).backward()
        optimizer.step()


def attacked() -> None:
    """Adversarial training: inputs are moved against the loss."""
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True)):
        asked = inputs.clone().requires_grad_()
        functional.cross_entropy(net(asked), targets).backward()
        assert asked.grad is not None
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs + 0.05 * asked.grad.sign()), targets).backward()
        optimizer.step()


def few_rows_left_out() -> None:
    """The last items are not valid now and then."""

    def alter(step: int, inputs: Tensor, targets: Tensor) -> Batch:
        count = BATCH - (step % 3 if step > 13 else 0)
        return inputs[:count], targets[:count]

    train(alter)


def compiled() -> None:
    net = model()
    run = torch.compile(net, backend="aot_eager")
    optimizer = torch.optim.Adam(net.parameters())
    for inputs, targets in batches(DataLoader(data(), BATCH, shuffle=True), 20):
        optimizer.zero_grad()
        functional.cross_entropy(run(inputs), targets).backward()
        optimizer.step()


CLEAN = (
    plain, with_workers, last_batch_smaller, tiny_batches, mixed_up_always, mixed_up_now_and_then,
    mixed_up_from_second_epoch, smoothed_labels, one_hot, noisy_labels, items_augmented_now_and_then,
    normalised_in_place, limited_now_and_then, masked_labels, missing_values, evaluated_between, accumulated,
    in_parts, adversaries, penalised_lazily, measured_between, trained_twice, one_batch_only, sharpness_aware,
    by_closures, fetched_ahead, made_anew, two_tasks, two_views, layers_skipped, thawed, checkpointed,
    half_precision, denoising, language, masked_language, attacked, few_rows_left_out, compiled,
)  # fmt: skip
