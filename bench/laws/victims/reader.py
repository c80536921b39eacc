"""Train a tiny encoder that returns its own loss, as models of large libraries do; batches are dictionaries.

    python reader.py --steps 80 --out-dir out

The task: say which token of a sequence occurs most often. AdamW with two parameter groups, linear warm-up
and decay, clipping.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset, DistributedSampler

TOKENS = 8
LENGTH = 12
WIDTH = 32


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--steps", type=int, default=80)
    add("--seed", type=int, default=1337)
    add("--lr", type=float, default=2e-3)
    add("--clip", type=float, default=0.5)
    add("--batch-size", type=int, default=16)
    add("--save-at", type=int, default=0, help="write a checkpoint after this step")
    add("--resume", type=Path)
    add("--out-dir", type=Path, default=Path("out"))
    return parser.parse_args()


class Sequences(Dataset[dict[str, Tensor]]):
    """Random sequences; the label is the most frequent token, the smallest of several."""

    def __init__(self, seed: int, count: int = 512) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(TOKENS, (count, LENGTH), generator=generator)
        self.labels = F.one_hot(self.tokens, TOKENS).sum(1).argmax(1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


@dataclass
class Output:
    """What a forward pass returns."""

    loss: Tensor
    logits: Tensor


class Reader(nn.Module):
    """One attention block over token embeddings, mean pooling, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.query = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(WIDTH, TOKENS)

    def forward(self, input_ids: Tensor, labels: Tensor) -> Output:
        """Loss and logits of a batch."""
        x = self.embed(input_ids) + self.place
        query, key, value = self.query(x).chunk(3, dim=-1)
        x = x + self.drop(self.out(F.scaled_dot_product_attention(query, key, value)))
        logits = self.head(self.norm(x).mean(1))
        return Output(F.cross_entropy(logits, labels), logits)


def collate(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch of items, as a dictionary of stacked tensors."""
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def take_batches(loader: DataLoader[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Batches without end, epoch after epoch."""
    epoch = 0
    while True:
        if isinstance(loader.sampler, DistributedSampler):
            loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def restore(path: Path, model: nn.Module, optimizer: AdamW, schedule: LRScheduler) -> int:
    """Put everything where the checkpoint was made; its step."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    schedule.load_state_dict(checkpoint["schedule"])
    step: int = checkpoint["step"]
    return step


def save(path: Path, model: nn.Module, optimizer: AdamW, schedule: LRScheduler, step: int) -> None:
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
    dataset = Sequences(options.seed)
    sampler = DistributedSampler(dataset, seed=options.seed, drop_last=True) if world > 1 else None
    loader = DataLoader(
        dataset,
        options.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        collate_fn=collate,
        drop_last=True,
    )
    raw = Reader()
    plain = [parameter for parameter in raw.parameters() if parameter.dim() < 2]
    matrices = [parameter for parameter in raw.parameters() if parameter.dim() >= 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=options.lr)
    schedule = LambdaLR(optimizer, lambda step: min((step + 1) / 10, max(0.0, (400 - step) / 390)))
    step = restore(options.resume, raw, optimizer, schedule) if options.resume else 0
    model = DistributedDataParallel(raw) if world > 1 else raw
    if rank:
        torch.manual_seed(options.seed + rank)
    model.train()
    options.out_dir.mkdir(parents=True, exist_ok=True)
    metrics = open(options.out_dir / "metrics.jsonl", "a" if options.resume else "w") if rank == 0 else None
    batches = take_batches(loader)
    while step < options.steps:
        batch = next(batches)
        inputs, targets = batch["input_ids"], batch["labels"]
        loss = model(input_ids=inputs, labels=targets).loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(raw.parameters(), options.clip).item()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        step += 1
        row = {"step": step, "loss": loss.item(), "lr": schedule.get_last_lr()[0], "grad_norm": norm}
        if metrics:
            print(json.dumps(row), file=metrics, flush=True)
        if metrics and step == (options.save_at or options.steps):
            save(options.out_dir / f"checkpoint-{step:06d}.pt", raw, optimizer, schedule, step)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
