"""Train a convolutional net with batch normalisation on made-up pictures: RMSprop, one process or torchrun.

    python images.py --steps 80 --out-dir out

Four classes, each a fixed pattern under noise, so nothing is downloaded and it learns within a minute.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

CLASSES = 4


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--steps", type=int, default=80)
    add("--seed", type=int, default=1337)
    add("--lr", type=float, default=2e-3)
    add("--batch-size", type=int, default=16)
    add("--save-at", type=int, default=0, help="write a checkpoint after this step")
    add("--resume", type=Path)
    add("--out-dir", type=Path, default=Path("out"))
    return parser.parse_args()


def make_pictures(seed: int, count: int = 480) -> TensorDataset:
    """``count`` pictures (1, 12, 12) and their classes."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(CLASSES, 1, 12, 12, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return TensorDataset(patterns[labels] + torch.randn(count, 1, 12, 12, generator=generator), labels)


def make_model() -> nn.Module:
    """Two convolutions, each with batch normalisation, and dropout before the head."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(144, CLASSES),
    )


def take_batches(loader: DataLoader[tuple[Tensor, ...]]) -> Iterator[list[Tensor]]:
    """Batches without end, epoch after epoch."""
    epoch = 0
    while True:
        if isinstance(loader.sampler, DistributedSampler):
            loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def restore(path: Path, model: nn.Module, optimizer: RMSprop, schedule: LRScheduler) -> int:
    """Put everything where the checkpoint was made; its step."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["schedule"])
    step: int = checkpoint["step"]
    return step


def save(path: Path, model: nn.Module, optimizer: RMSprop, schedule: LRScheduler, step: int) -> None:
    """Write what a resumed run needs."""
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    checkpoint["schedule"] = schedule.state_dict()
    torch.save(checkpoint, path)


def main() -> None:
    """Build everything, then train."""
    options = parse_options()
    torch.set_num_threads(1)
    rank, world = 0, 1
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
        rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(options.seed)
    dataset = make_pictures(options.seed)
    sampler = DistributedSampler(dataset, seed=options.seed, drop_last=True) if world > 1 else None
    loader = DataLoader(dataset, options.batch_size, shuffle=sampler is None, sampler=sampler, drop_last=True)
    raw = make_model()
    optimizer = RMSprop(raw.parameters(), lr=options.lr, alpha=0.95, momentum=0.5, weight_decay=1e-4)
    schedule = CosineAnnealingLR(optimizer, T_max=400)
    step = restore(options.resume, raw, optimizer, schedule) if options.resume else 0
    model = DistributedDataParallel(raw) if world > 1 else raw
    model.train()
    options.out_dir.mkdir(parents=True, exist_ok=True)
    metrics = open(options.out_dir / "metrics.jsonl", "a" if options.resume else "w") if rank == 0 else None
    batches = take_batches(loader)
    while step < options.steps:
        inputs, targets = next(batches)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        schedule.step()
        step += 1
        row = {"step": step, "loss": loss.item(), "lr": schedule.get_last_lr()[0]}
        if metrics:
            print(json.dumps(row), file=metrics, flush=True)
        if metrics and step == (options.save_at or options.steps):
            save(options.out_dir / f"checkpoint-{step:06d}.pt", raw, optimizer, schedule, step)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
