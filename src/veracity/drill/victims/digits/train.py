"""Train a small convolutional net on scikit-learn's bundled handwritten digits.

    python train.py --steps 300 --out-dir out
    python train.py --resume out/checkpoint-000200.pt --steps 300 --out-dir out
    torchrun --nproc-per-node 2 train.py --steps 300 --out-dir out

Nothing is downloaded. Batch normalisation, SGD with momentum, a rate that falls in steps of whole epochs,
and a data order drawn from PyTorch's global generator. The same flags and seed on the same machine give
the same numbers, bit for bit, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

# --- options -------------------------------------------------------------------------------------


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a convolutional net on handwritten digits.")
    add = parser.add_argument
    add("--channels", type=int, default=32, help="of the first layer; the second has twice as many")
    add("--batch-size", type=int, default=32, help="images per step and process")
    add("--steps", type=int, default=300, help="train until this step")
    add("--seed", type=int, default=1337)
    add("--lr", type=float, default=0.05)
    add("--momentum", type=float, default=0.9)
    add("--nesterov", action="store_true")
    add("--weight-decay", type=float, default=5e-4)
    add("--lr-epochs", type=int, default=2, help="epochs between two falls of the rate")
    add("--lr-gamma", type=float, default=0.5, help="what the rate is multiplied by then")
    add("--workers", type=int, default=2, help="loader processes (0: load in this one)")
    add("--threads", type=int, default=0, help="CPU threads (0: PyTorch's own choice)")
    add("--out-dir", type=Path, default=Path("out"))
    add("--save-every", type=int, default=100, help="steps between checkpoints (0: only at the end)")
    add("--resume", type=Path, help="a checkpoint to go on from")
    add("--eval-every", type=int, default=100, help="steps between evaluations (0: none)")
    add("--log-every", type=int, default=10, help="steps between printed lines")
    return parser.parse_args(arguments)


# --- data ----------------------------------------------------------------------------------------


def read_digits() -> tuple[TensorDataset, TensorDataset]:
    """(training, held out): images (1, 8, 8) from 0 to 1 and their digits; every fifth is held out."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).div(16).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    numbers = torch.arange(len(labels))
    train, held_out = numbers % 5 != 0, numbers % 5 == 0
    return TensorDataset(images[train], labels[train]), TensorDataset(images[held_out], labels[held_out])


def make_loader(
    data: TensorDataset, options: argparse.Namespace, world: int
) -> DataLoader[tuple[Tensor, ...]]:
    """Shuffled; one process alone takes the order from PyTorch's global generator."""
    sampler: DistributedSampler[tuple[Tensor, ...]] | None = None
    if world > 1:
        sampler = DistributedSampler(data, seed=options.seed, drop_last=True)
    loader = DataLoader(
        data,
        batch_size=options.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        num_workers=options.workers,
        drop_last=True,
    )
    if not len(loader):
        sys.exit(f"{len(data)} images are too few for one batch; lower --batch-size")
    return loader


# --- model ---------------------------------------------------------------------------------------


class Net(nn.Module):
    """Two convolutions, each with batch normalisation, then one linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(channels)
        self.conv_2 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.norm_2 = nn.BatchNorm2d(2 * channels)
        self.head = nn.Linear(2 * channels * 2 * 2, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, 1, 8, 8) in, logits (batch, 10) out."""
        x = F.max_pool2d(F.relu(self.norm_1(self.conv_1(images))), 2)
        x = F.max_pool2d(F.relu(self.norm_2(self.conv_2(x))), 2)
        logits: Tensor = self.head(x.flatten(1))
        return logits


# --- what a run is made of, and its checkpoints --------------------------------------------------


def join_group() -> tuple[int, int]:
    """(rank, number of processes); torchrun tells by environment variables, without it there is one."""
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


@dataclass
class Training:
    """All that changes while training, which is also what a checkpoint holds.

    ``taken`` batches of ``epoch`` are done. ``epoch_rng`` is the generator's state before that epoch's order
    was drawn. ``rng`` is set by a resume: the state to go on with once those batches were passed over.
    """

    model: Net
    optimizer: SGD
    schedule: StepLR
    step: int = 0
    epoch: int = 0
    taken: int = 0
    epoch_rng: Tensor = field(default_factory=torch.get_rng_state)
    rng: Tensor | None = None


def save_checkpoint(path: Path, training: Training, options: argparse.Namespace, world: int) -> None:
    """Write everything a resumed run needs. Only data order uses the generator, so one state is enough."""
    checkpoint = {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "step": training.step,
        "epoch": training.epoch,
        "taken": training.taken,
        "epoch_rng": training.epoch_rng,
        "rng": torch.get_rng_state(),
        "options": {"batch_size": options.batch_size, "channels": options.channels, "seed": options.seed},
        "processes": world,
    }
    torch.save(checkpoint, path)


def load_checkpoint(path: Path, training: Training, options: argparse.Namespace, world: int) -> None:
    """Put ``training`` where the checkpoint was made."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for name, saved in checkpoint["options"].items():
        if saved != getattr(options, name):
            sys.exit(f"{path} was made with --{name.replace('_', '-')} {saved}, not {getattr(options, name)}")
    if checkpoint["processes"] != world:
        sys.exit(f"{path} was made by {checkpoint['processes']} processes, not {world}")
    training.model.load_state_dict(checkpoint["model"])
    training.optimizer.load_state_dict(checkpoint["optimizer"])
    training.schedule.load_state_dict(checkpoint["schedule"])
    training.step, training.epoch, training.taken = (checkpoint[name] for name in ("step", "epoch", "taken"))
    training.rng = checkpoint["rng"]
    torch.set_rng_state(checkpoint["epoch_rng"])


# --- training ------------------------------------------------------------------------------------


def take_batches(loader: DataLoader[tuple[Tensor, ...]], training: Training) -> Iterator[list[Tensor]]:
    """Batches without end, epoch after epoch, keeping ``training`` up to date."""
    while True:
        training.epoch_rng = torch.get_rng_state()
        if isinstance(loader.sampler, DistributedSampler):
            loader.sampler.set_epoch(training.epoch)
        batches = iter(loader)
        for _ in range(training.taken):
            next(batches)
        if training.rng is not None:
            torch.set_rng_state(training.rng)
            training.rng = None
        for batch in batches:
            training.taken += 1
            yield batch
        training.epoch += 1
        training.taken = 0


def train_step(model: nn.Module, training: Training, batch: list[Tensor]) -> dict[str, object]:
    """One update; returns what is logged of it."""
    images, labels = batch
    lr = training.optimizer.param_groups[0]["lr"]
    training.optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm().item()
    training.optimizer.step()
    training.step += 1
    return {"step": training.step, "loss": loss.item(), "lr": lr, "grad_norm": norm}


@torch.no_grad()
def evaluate(model: Net, held_out: TensorDataset) -> dict[str, object]:
    """Loss and share of right answers on the held-out images."""
    images, labels = held_out.tensors
    model.eval()
    logits = model(images)
    model.train()
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return {"eval_loss": F.cross_entropy(logits, labels).item(), "eval_accuracy": accuracy}


def log(metrics: TextIO | None, row: dict[str, object]) -> None:
    """Add one row to the metrics file; only the first process has one."""
    if metrics is not None:
        metrics.write(json.dumps(row) + "\n")
        metrics.flush()


def train(
    options: argparse.Namespace,
    training: Training,
    loader: DataLoader[tuple[Tensor, ...]],
    held_out: TensorDataset,
    metrics: TextIO | None,
    world: int,
) -> None:
    """Run until ``--steps``; ``metrics`` is None except in the first process."""
    model: nn.Module = DistributedDataParallel(training.model) if world > 1 else training.model
    model.train()
    batches = take_batches(loader, training)
    while training.step < options.steps:
        started = time.perf_counter()
        row = train_step(model, training, next(batches))
        if training.taken == len(loader):
            training.schedule.step()
        row["ms"] = round(1000 * (time.perf_counter() - started), 3)
        log(metrics, row)
        if metrics is None:
            continue
        last = training.step == options.steps
        if training.step % options.log_every == 0 or last:
            print(f"step {training.step}: loss {row['loss']:.4f}, {row['ms']:.0f} ms", flush=True)
        if options.eval_every and (training.step % options.eval_every == 0 or last):
            result = evaluate(training.model, held_out)
            log(metrics, {"step": training.step, **result})
            print(f"step {training.step}: held-out accuracy {result['eval_accuracy']:.1%}", flush=True)
        if last or (options.save_every and training.step % options.save_every == 0):
            path = options.out_dir / f"checkpoint-{training.step:06d}.pt"
            save_checkpoint(path, training, options, world)
            print(f"step {training.step}: saved {path}", flush=True)


def main() -> None:
    """Build everything from the options, then train."""
    options = parse_options()
    if options.threads:
        torch.set_num_threads(options.threads)
    rank, world = join_group()
    torch.manual_seed(options.seed)

    data, held_out = read_digits()
    loader = make_loader(data, options, world)
    model = Net(options.channels)
    optimizer = SGD(
        model.parameters(),
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
    )
    schedule = StepLR(optimizer, step_size=options.lr_epochs, gamma=options.lr_gamma)
    training = Training(model, optimizer, schedule)
    if options.resume:
        load_checkpoint(options.resume, training, options, world)

    if rank == 0:
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{size:,} parameters, {len(data):,} images, {len(loader)} batches per epoch", flush=True)
        options.out_dir.mkdir(parents=True, exist_ok=True)
        with open(options.out_dir / "metrics.jsonl", "a" if options.resume else "w") as metrics:
            train(options, training, loader, held_out, metrics, world)
    else:
        train(options, training, loader, held_out, None, world)
    if world > 1:
        dist.barrier()  # nobody leaves while another still saves, or while a transfer is being taken down
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
