"""Fit a perceptron to a noisy function: Adam, bfloat16 autocast, GradScaler, two micro-batches a step.

python regression.py --steps 80 --out-dir out
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
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

ACCUMULATE = 2
WARM_UP = 10


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--steps", type=int, default=80)
    add("--seed", type=int, default=1337)
    add("--lr", type=float, default=2e-3)
    add("--clip", type=float, default=0.5)
    add("--batch-size", type=int, default=16, help="samples per micro-batch and process")
    add("--save-at", type=int, default=0, help="write a checkpoint after this step")
    add("--resume", type=Path)
    add("--out-dir", type=Path, default=Path("out"))
    return parser.parse_args()


def make_samples(seed: int, count: int = 1024) -> TensorDataset:
    """``count`` points (8) and the value of a smooth function there, under noise."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 8, generator=generator)
    weights = torch.randn(8, 1, generator=generator)
    noise = 0.1 * torch.randn(count, 1, generator=generator)
    return TensorDataset(points, torch.sin(points @ weights) + noise)


def make_model() -> nn.Module:
    """Three layers."""
    return nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))


def take_batches(loader: DataLoader[tuple[Tensor, ...]]) -> Iterator[list[Tensor]]:
    """Batches without end, epoch after epoch."""
    epoch = 0
    while True:
        if isinstance(loader.sampler, DistributedSampler):
            loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def warm(step: int) -> float:
    """Linear warm-up, then the inverse square root."""
    return (step + 1) / WARM_UP if step < WARM_UP else (WARM_UP / (step + 1)) ** 0.5


def restore(path: Path, model: nn.Module, optimizer: Adam, schedule: LRScheduler) -> int:
    """Put everything where the checkpoint was made; its step."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["schedule"])
    step: int = checkpoint["step"]
    return step


def save(path: Path, model: nn.Module, optimizer: Adam, schedule: LRScheduler, step: int) -> None:
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
    dataset = make_samples(options.seed)
    sampler = DistributedSampler(dataset, seed=options.seed, drop_last=True) if world > 1 else None
    loader = DataLoader(
        dataset,
        options.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        drop_last=True,
        generator=torch.Generator().manual_seed(options.seed),
    )
    raw = make_model()
    optimizer = Adam(raw.parameters(), lr=options.lr, betas=(0.9, 0.99))
    schedule = LambdaLR(optimizer, warm)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    step = restore(options.resume, raw, optimizer, schedule) if options.resume else 0
    model = DistributedDataParallel(raw) if world > 1 else raw
    options.out_dir.mkdir(parents=True, exist_ok=True)
    metrics = open(options.out_dir / "metrics.jsonl", "a" if options.resume else "w") if rank == 0 else None
    batches = take_batches(loader)
    while step < options.steps:
        total = 0.0
        optimizer.zero_grad()
        for _ in range(ACCUMULATE):
            inputs, targets = next(batches)
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.mse_loss(model(inputs).float(), targets) / ACCUMULATE
            scaler.scale(loss).backward()
            total += loss.item()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(raw.parameters(), options.clip).item()
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        step += 1
        row = {"step": step, "loss": total, "lr": schedule.get_last_lr()[0], "grad_norm": norm}
        if metrics:
            print(json.dumps(row), file=metrics, flush=True)
        if metrics and step == (options.save_at or options.steps):
            save(options.out_dir / f"checkpoint-{step:06d}.pt", raw, optimizer, schedule, step)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
