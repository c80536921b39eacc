"""Train a small character-level GPT on the Python standard library's own source text.

    python train.py --steps 300 --out-dir out
    python train.py --resume out/checkpoint-000200.pt --steps 300 --out-dir out
    torchrun --nproc-per-node 2 train.py --steps 300 --out-dir out

Nothing is downloaded and nothing but PyTorch is needed. The same flags and seed on the same machine give
the same numbers, bit for bit, with or without loader workers, and a resumed run equals an uninterrupted one.
Read it from top to bottom: options, text, model, optimizer, checkpoints, training.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torch.utils.data import DataLoader, Dataset, DistributedSampler

# --- options -------------------------------------------------------------------------------------

SIZES = {  # small has 0.8 million parameters, medium 10.7 million
    "small": {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 8},
    "medium": {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 64, "batch_size": 4},
}


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what a flag does not set comes from ``--size``."""
    parser = argparse.ArgumentParser(description="Train a character-level GPT.")
    add = parser.add_argument
    add("--size", choices=sorted(SIZES), default="small", help="sets the five numbers that follow")
    add("--n-layer", type=int)
    add("--n-head", type=int)
    add("--n-embd", type=int)
    add("--block-size", type=int, help="characters the model sees at once")
    add("--batch-size", type=int, help="windows per step and process")
    add("--text", type=Path, help="a text file instead of the standard library's sources")
    add("--max-chars", type=int, default=131_072, help="use at most so much text (0: all)")
    add("--steps", type=int, default=300, help="train until this step")
    add("--decay-steps", type=int, default=0, help="length of the schedule (0: as --steps)")
    add("--seed", type=int, default=1337)
    add("--lr", type=float, default=1e-3)
    add("--min-lr", type=float, default=1e-4)
    add("--warmup", type=int, default=20, help="steps of linear warm-up")
    add("--weight-decay", type=float, default=0.1)
    add("--clip", type=float, default=1.0, help="largest gradient norm (0: do not clip)")
    add("--dropout", type=float, default=0.1)
    add("--workers", type=int, default=2, help="loader processes (0: load in this one)")
    add("--threads", type=int, default=0, help="CPU threads (0: PyTorch's own choice)")
    add("--out-dir", type=Path, default=Path("out"))
    add("--save-every", type=int, default=100, help="steps between checkpoints (0: only at the end)")
    add("--resume", type=Path, help="a checkpoint to go on from")
    add("--eval-every", type=int, default=100, help="steps between evaluations (0: none)")
    add("--eval-batches", type=int, default=8)
    add("--log-every", type=int, default=10, help="steps between printed lines")
    options = parser.parse_args(arguments)
    for name, value in SIZES[options.size].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.decay_steps = options.decay_steps or options.steps
    if options.n_embd % options.n_head:
        parser.error("--n-embd must be a multiple of --n-head")
    if options.decay_steps < options.steps:
        parser.error("--decay-steps must not be less than --steps")
    return options


# --- text ----------------------------------------------------------------------------------------

# Modules that have been single files in every Python since 3.10, in alphabetical order.
MODULES = (
    "argparse", "ast", "bdb", "calendar", "codecs", "configparser", "contextlib", "copy", "csv",
    "dataclasses", "difflib", "dis", "doctest", "enum", "fractions", "ftplib", "functools", "gettext",
    "heapq", "inspect", "ipaddress", "locale", "mailbox", "optparse", "pdb", "pickle", "platform",
    "pprint", "random", "shutil", "statistics", "string", "tarfile", "textwrap", "tokenize", "typing",
)  # fmt: skip

# Token 0 stands for every byte that is neither a newline nor printable ASCII.
ALPHABET = b"\n" + bytes(range(0x20, 0x7F))
VOCABULARY = len(ALPHABET) + 1
TOKEN_OF_BYTE = bytes(ALPHABET.find(value) + 1 for value in range(256))


def read_tokens(text: Path | None, max_chars: int) -> Tensor:
    """The training text as one row of tokens, uint8."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = [folder / f"{module}.py" for module in MODULES] if text is None else [text]
    found = [file for file in files if file.is_file()]
    if not found:
        sys.exit(f"no text: {files[0]} is not there; name a text file with --text")
    raw = b"".join(file.read_bytes() for file in found)
    raw = raw[:max_chars] if max_chars else raw
    return torch.frombuffer(bytearray(raw.translate(TOKEN_OF_BYTE)), dtype=torch.uint8)


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """The text cut into windows that do not overlap; the target is the window moved by one character."""

    def __init__(self, tokens: Tensor, block_size: int) -> None:
        self.tokens = tokens
        self.block_size = block_size

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.block_size)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = index * self.block_size
        window = self.tokens[start : start + self.block_size + 1].long()
        return window[:-1], window[1:]


# --- model ---------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        # (batch, length, 3 * width) -> three of (batch, heads, length, width / heads)
        split = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return joined


class Block(nn.Module):
    """Attention and a feed-forward layer, each normalised before and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_2 = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.norm_1(x)))
        return x + self.drop(self.feed(self.norm_2(x)))


class GPT(nn.Module):
    """Characters in, a guess at each next character out."""

    def __init__(self, n_layer: int, n_head: int, n_embd: int, block_size: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, n_embd)
        self.place = nn.Embedding(block_size, n_embd)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(n_embd, n_head, dropout) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, VOCABULARY, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # what is added to the residual stream starts smaller, the more layers add to it
                depth = 2 * n_layer if name.endswith(("out.weight", "feed.2.weight")) else 1
                nn.init.normal_(parameter, std=0.02 / depth**0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (batch, length, vocabulary), and the mean loss in nats when there are targets."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.drop(self.token(tokens) + self.place(places))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


# --- optimizer and schedule ----------------------------------------------------------------------


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> AdamW:
    """Matrices decay; biases and normalisation weights do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=lr, betas=(0.9, 0.95))


def make_schedule(optimizer: AdamW, warmup: int, decay_steps: int, min_lr: float) -> LRScheduler:
    """Linear warm-up, then half a cosine down to ``min_lr``."""
    cosine = CosineAnnealingLR(optimizer, T_max=max(1, decay_steps - warmup), eta_min=min_lr)
    if not warmup:
        return cosine
    linear = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [linear, cosine], milestones=[warmup])


# --- processes -----------------------------------------------------------------------------------


def join_group() -> tuple[int, int]:
    """(rank, number of processes); torchrun tells by environment variables, without it there is one."""
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def gather_rng_states(world: int) -> list[Tensor]:
    """The state of PyTorch's generator in each process, on every process."""
    mine = torch.get_rng_state()
    if world == 1:
        return [mine]
    states = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(states, mine)
    return states


# --- data order ----------------------------------------------------------------------------------


@dataclass
class Position:
    """Where the run is in its data, enough to find the same next batch again.

    ``order`` is the loader generator's state from which the current epoch's order was drawn. ``rng`` is set
    by a resume: PyTorch's own generator is put there once the batches already trained on were passed over.
    """

    order: Tensor
    epoch: int = 0
    taken: int = 0
    rng: Tensor | None = None


def take_batches(loader: DataLoader[tuple[Tensor, Tensor]], position: Position) -> Iterator[list[Tensor]]:
    """Batches without end, epoch after epoch, keeping ``position`` up to date."""
    while True:
        position.order = loader.generator.get_state()
        if isinstance(loader.sampler, DistributedSampler):
            loader.sampler.set_epoch(position.epoch)
        batches = iter(loader)
        for _ in range(position.taken):
            next(batches)
        if position.rng is not None:
            torch.set_rng_state(position.rng)
            position.rng = None
        for batch in batches:
            position.taken += 1
            yield batch
        position.epoch += 1
        position.taken = 0


def make_loader(
    windows: Windows, options: argparse.Namespace, world: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Shuffled by a generator of its own, so that the data order does not depend on the model."""
    sampler: DistributedSampler[tuple[Tensor, Tensor]] | None = None
    if world > 1:
        sampler = DistributedSampler(windows, seed=options.seed, drop_last=True)
    loader = DataLoader(
        windows,
        batch_size=options.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        num_workers=options.workers,
        drop_last=True,
        generator=torch.Generator().manual_seed(options.seed),
    )
    if not len(loader):
        sys.exit(f"the text has {len(windows)} windows, too few for one batch; raise --max-chars")
    return loader


# --- checkpoints ---------------------------------------------------------------------------------


@dataclass
class Training:
    """All that changes while training, which is also what a checkpoint holds."""

    model: GPT
    optimizer: AdamW
    schedule: LRScheduler
    position: Position
    step: int = 0


# Options in which a resumed run must agree with the one that it continues.
LASTING = (
    "n_layer", "n_head", "n_embd", "block_size", "batch_size", "max_chars", "seed", "warmup", "decay_steps",
)  # fmt: skip


def save_checkpoint(path: Path, training: Training, options: argparse.Namespace, rng: list[Tensor]) -> None:
    """Write everything a resumed run needs."""
    checkpoint = {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "schedule": training.schedule.state_dict(),
        "step": training.step,
        "epoch": training.position.epoch,
        "taken": training.position.taken,
        "order": training.position.order,
        "rng": rng,
        "options": {name: getattr(options, name) for name in LASTING},
    }
    torch.save(checkpoint, path)


def load_checkpoint(
    path: Path, training: Training, options: argparse.Namespace, rank: int, world: int
) -> None:
    """Put ``training`` where the checkpoint was made."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for name, saved in checkpoint["options"].items():
        if saved != getattr(options, name):
            sys.exit(f"{path} was made with --{name.replace('_', '-')} {saved}, not {getattr(options, name)}")
    if len(checkpoint["rng"]) != world:
        sys.exit(f"{path} was made by {len(checkpoint['rng'])} processes, not {world}")
    training.model.load_state_dict(checkpoint["model"])
    training.optimizer.load_state_dict(checkpoint["optimizer"])
    training.schedule.load_state_dict(checkpoint["schedule"])
    training.step = checkpoint["step"]
    training.position = Position(
        checkpoint["order"], checkpoint["epoch"], checkpoint["taken"], checkpoint["rng"][rank]
    )


# --- training ------------------------------------------------------------------------------------


@torch.no_grad()
def evaluate(model: GPT, windows: Windows, batch_size: int, batches: int) -> float:
    """Mean loss over the first batches of the held-out text."""
    # a generator of its own: iterating draws one number, which must not come from the dropout's generator
    loader = DataLoader(windows, batch_size=batch_size, generator=torch.Generator())
    losses = []
    model.eval()
    for number, (tokens, targets) in enumerate(loader):
        if number == batches:
            break
        losses.append(model(tokens, targets)[1].item())
    model.train()
    return sum(losses) / len(losses)


def train_step(model: nn.Module, training: Training, batch: list[Tensor], clip: float) -> dict[str, object]:
    """One update; returns what is logged of it."""
    tokens, targets = batch
    lr = training.optimizer.param_groups[0]["lr"]
    _, loss = model(tokens, targets)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip).item() if clip else None
    training.optimizer.step()
    training.schedule.step()
    training.step += 1
    return {"step": training.step, "loss": loss.item(), "lr": lr, "grad_norm": norm}


def log(metrics: TextIO | None, row: dict[str, object]) -> None:
    """Add one row to the metrics file; only the first process has one."""
    if metrics is not None:
        metrics.write(json.dumps(row) + "\n")
        metrics.flush()


def train(
    options: argparse.Namespace,
    training: Training,
    loader: DataLoader[tuple[Tensor, Tensor]],
    held_out: Windows,
    metrics: TextIO | None,
    world: int,
) -> None:
    """Run until ``--steps``; ``metrics`` is None except in the first process."""
    model: nn.Module = DistributedDataParallel(training.model) if world > 1 else training.model
    model.train()
    batches = take_batches(loader, training.position)
    while training.step < options.steps:
        started = time.perf_counter()
        row = train_step(model, training, next(batches), options.clip)
        row["ms"] = round(1000 * (time.perf_counter() - started), 3)
        log(metrics, row)
        last = training.step == options.steps
        if metrics and (training.step % options.log_every == 0 or last):
            print(f"step {training.step}: loss {row['loss']:.4f}, {row['ms']:.0f} ms", flush=True)
        if metrics and options.eval_every and (training.step % options.eval_every == 0 or last):
            loss = evaluate(training.model, held_out, options.batch_size, options.eval_batches)
            log(metrics, {"step": training.step, "eval_loss": loss})
            print(f"step {training.step}: held-out loss {loss:.4f}", flush=True)
        if last or (options.save_every and training.step % options.save_every == 0):
            rng = gather_rng_states(world)
            if metrics:
                path = options.out_dir / f"checkpoint-{training.step:06d}.pt"
                save_checkpoint(path, training, options, rng)
                print(f"step {training.step}: saved {path}", flush=True)


def main() -> None:
    """Build everything from the options, then train."""
    options = parse_options()
    if options.threads:
        torch.set_num_threads(options.threads)
    rank, world = join_group()
    torch.manual_seed(options.seed)

    tokens = read_tokens(options.text, options.max_chars)
    border = len(tokens) * 9 // 10
    windows = Windows(tokens[:border], options.block_size)
    held_out = Windows(tokens[border:], options.block_size)
    if options.eval_every and not (len(held_out) and options.eval_batches > 0):
        sys.exit("nothing to evaluate on; raise --max-chars and --eval-batches, or set --eval-every 0")
    loader = make_loader(windows, options, world)

    model = GPT(options.n_layer, options.n_head, options.n_embd, options.block_size, options.dropout)
    optimizer = make_optimizer(model, options.lr, options.weight_decay)
    schedule = make_schedule(optimizer, options.warmup, options.decay_steps, options.min_lr)
    training = Training(model, optimizer, schedule, Position(loader.generator.get_state()))
    if rank:
        torch.manual_seed(options.seed + rank)  # the same weights everywhere, but dropout of one's own
    if options.resume:
        load_checkpoint(options.resume, training, options, rank, world)
        loader.generator.set_state(training.position.order)

    if rank == 0:
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{size:,} parameters, {len(tokens):,} characters, {len(loader)} batches per epoch", flush=True)
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
