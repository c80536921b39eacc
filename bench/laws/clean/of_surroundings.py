"""Clean programs that log, save, wait, talk or switch modes in their own way."""

from __future__ import annotations

import csv
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .settings import CLASSES, LONGER, WIDTH, Normed, data, perceptron, setting, train

STEPS = 45 * LONGER


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def logging_smoothed(seed: int) -> None:
    """A smoothed loss every seventh step, and the perplexity, as JSON lines."""
    here = setting(seed)
    with _folder() as folder, (folder / "train.jsonl").open("w") as out:
        mean = 0.0
        for number, batch in enumerate(here.batches(STEPS)):
            loss = float(train(here, batch))
            mean = loss if not number else 0.95 * mean + 0.05 * loss
            if number % 7 == 0:
                line = {
                    "iter": number,
                    "smoothed": mean,
                    "ppl": 2.718281828**loss,
                    "loss_bits": loss / 0.6931,
                }
                out.write(json.dumps(line) + "\n")
                out.flush()


def logging_a_table(seed: int) -> None:
    """Rounded losses and rates in a CSV of names of its own, with the best so far."""
    here = setting(seed)
    with _folder() as folder, (folder / "history.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["batch", "train_nll", "lowest", "eta", "minutes"])
        best, started = 1e9, time.time()
        for number, batch in enumerate(here.batches(STEPS)):
            loss = float(train(here, batch))
            best = min(best, loss)
            spent = (time.time() - started) / 60
            table.writerow(
                [number, f"{loss:.3f}", f"{best:.3f}", here.optimizer.param_groups[0]["lr"], spent]
            )
            out.flush()


def logging_a_part_of_the_loss(seed: int) -> None:
    """The backward pass takes the loss with a penalty; what is logged as the loss is without it."""
    here = setting(seed)
    with _folder() as folder, (folder / "metrics.jsonl").open("w") as out:
        for number, batch in enumerate(here.batches(STEPS)):
            here.optimizer.zero_grad()
            loss = here.loss(batch)
            penalty = 1e-3 * sum(one.square().sum() for one in here.model.parameters())
            (loss + penalty).backward()
            here.optimizer.step()
            line = {"step": number, "loss": float(loss), "penalty": float(penalty)}
            out.write(json.dumps(line) + "\n")


def logging_means(seed: int) -> None:
    """The mean loss since the last line, weighted by items, every tenth step and at each epoch's end."""
    here = setting(seed)
    with _folder() as folder, (folder / "log.jsonl").open("w") as out:
        step = 0
        for epoch in range(3):
            summed, items = 0.0, 0
            for inputs, targets in here.loader:
                loss = float(train(here, (inputs.to(here.dtype), targets)))
                summed, items, step = summed + loss * len(inputs), items + len(inputs), step + 1
                if step % 10 == 0:
                    out.write(json.dumps({"step": step, "loss": summed / items}) + "\n")
            out.write(json.dumps({"epoch": epoch, "epoch_loss": summed / items}) + "\n")
            out.flush()


def logging_validation_as_loss(seed: int) -> None:
    """Training and validation losses under one name in one file, told apart by another field."""
    here = setting(seed)
    with _folder() as folder, (folder / "metrics.jsonl").open("w") as out:
        for number, batch in enumerate(here.batches(STEPS)):
            line = {"step": number, "split": "train", "loss": float(train(here, batch))}
            out.write(json.dumps(line) + "\n")
            if number % 6 == 5:
                here.model.eval()
                with torch.no_grad():
                    value = float(
                        here.loss((data(seed + 1).tensors[0].to(here.dtype), data(seed + 1).tensors[1]))
                    )
                here.model.train()
                out.write(json.dumps({"step": number, "split": "val", "loss": value}) + "\n")


def saving_each_step(seed: int) -> None:
    """A checkpoint at every step; the program deletes the older ones, and writes by renaming."""
    here = setting(seed)
    with _folder() as folder:
        for number, batch in enumerate(here.batches(20)):
            train(here, batch)
            state = {
                "model": here.model.state_dict(),
                "optimizer": here.optimizer.state_dict(),
                "step": number,
            }
            torch.save(state, folder / "new.tmp")
            os.replace(folder / "new.tmp", folder / f"step{number}.pt")
            for old in sorted(folder.glob("step*.pt"), key=lambda one: one.stat().st_mtime)[:-2]:
                old.unlink()


def saving_other_things(seed: int) -> None:
    """Half-precision copies, averages and parts of the model are saved too; the last is overwritten."""
    here = setting(seed, plain=True)
    mean = {name: value.clone() for name, value in here.model.state_dict().items()}
    with _folder() as folder:
        for number, batch in enumerate(here.batches(STEPS)):
            train(here, batch)
            for name, value in here.model.state_dict().items():
                if value.is_floating_point():
                    mean[name].lerp_(value, 0.1)
            if number % 9 == 8:
                torch.save(mean, folder / "ema.pt")
                torch.save({k: v.half() for k, v in here.model.state_dict().items()}, folder / "half.pt")
                torch.save(
                    {k: v.detach().cpu().clone() for k, v in here.model.state_dict().items()},
                    folder / "last.pt",
                )
                torch.save(here.optimizer.state_dict(), folder / "optimizer.pt")


def saving_in_a_thread(seed: int) -> None:
    """Checkpoints are copied and then written by a thread while training goes on."""
    here = setting(seed)
    with _folder() as folder:
        threads = []
        for number, batch in enumerate(here.batches(STEPS)):
            train(here, batch)
            if number % 10 == 9:
                kept = {name: value.clone() for name, value in here.model.state_dict().items()}
                thread = threading.Thread(target=torch.save, args=(kept, folder / f"{number}.pt"))
                thread.start()
                threads.append(thread)
        for thread in threads:
            thread.join()


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"loss 1.0\n")

    def log_message(self, *args: object) -> None:
        pass


def serving_metrics(seed: int) -> None:
    """A metrics server on this machine that is asked during training."""
    here = setting(seed)
    server = HTTPServer(("127.0.0.1", 0), _Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 15 == 14:
            with socket.create_connection(("127.0.0.1", server.server_port)) as asking:
                asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
                asking.recv(1000)
    server.shutdown()
    server.server_close()


def starting_others(seed: int) -> None:
    """Other programs are started between steps, one is killed when it is needed no more; files are read."""
    here = setting(seed)
    with _folder() as folder, subprocess.Popen(["sleep", "600"]) as helper:
        (folder / "notes.txt").write_text("rate 0.1\n")
        for number, batch in enumerate(here.batches(STEPS)):
            train(here, batch)
            if number in (3, 21):
                subprocess.run([sys.executable, "-c", "print(1)"], check=True, capture_output=True)
                subprocess.run(["uname", "-a"], check=True, capture_output=True)
            (folder / "notes.txt").read_text()
        helper.kill()


def sleeping(seed: int) -> None:
    """A slow first step, and waits between steps, as rate limits make them."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(30)):
        time.sleep(1.0 if number == 0 else 0.02 if number % 5 else 0.2)
        train(here, batch)


def leaving_early(seed: int) -> None:
    """Early stopping that ends by ``sys.exit(0)``."""
    here = setting(seed)
    best, patience = 1e9, 0
    for batch in here.batches(STEPS):
        loss = float(train(here, batch))
        best, patience = (loss, 0) if loss < best else (best, patience + 1)
        if patience > 6:
            sys.exit(0)


def generating(seed: int) -> None:
    """In the middle of training samples are drawn from the model in evaluation mode."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 8 == 7:
            here.model.eval()
            with torch.inference_mode():
                drawn = here.model(torch.randn(4, WIDTH, dtype=here.dtype))
                torch.multinomial(drawn.float().softmax(-1), 1)
            here.model.train()


def generating_inside(seed: int) -> None:
    """The same between the forward and the backward pass of one step, in a fork of the generator."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(STEPS)):
        here.optimizer.zero_grad()
        loss = here.loss(batch)
        if number % 8 == 7:
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(0)
                here.model.eval()
                here.model(batch[0][:2])
                here.model.train()
        loss.backward()
        here.optimizer.step()


def dropout_scheduled(seed: int) -> None:
    """Dropout grows from nothing during the run, or ends before it."""
    here = setting(seed, plain=True)
    here.model = perceptron()
    here.optimizer = torch.optim.AdamW(here.model.parameters(), 1e-3)
    for number, batch in enumerate(here.batches(STEPS)):
        share = number / STEPS
        here.model[2].p = 0.3 * (share if seed % 2 else max(0.0, 1 - 2 * share))
        train(here, batch)


class _Deep(nn.Module):
    """Residual blocks that are passed over by chance, the later the more often."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(WIDTH, 16), nn.Linear(16, CLASSES)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for depth, block in enumerate(self.blocks):
            if not self.training or float(torch.rand(())) > 0.1 * depth:
                x = x + torch.relu(block(x))
        logits: Tensor = self.head(x)
        return logits


def stochastic_depth(seed: int) -> None:
    """Blocks whose parameters have no gradient in some steps, chosen by torch's or Python's generator."""
    here = setting(seed, plain=True)
    here.model = _Deep()
    here.optimizer = torch.optim.AdamW(here.model.parameters(), 1e-3)
    for batch in here.batches(STEPS):
        train(here, batch)


def statistics_frozen(seed: int) -> None:
    """Batch normalisation is put into evaluation mode in mid-run; its momentum is lowered before."""
    here = setting(seed, plain=True)
    here.model = Normed()
    here.optimizer = torch.optim.SGD(here.model.parameters(), 0.05, momentum=0.9)
    for number, batch in enumerate(here.batches(STEPS)):
        here.model.norm.momentum = 0.1 / (1 + number / 10)
        if number >= 25:
            here.model.norm.eval()
        train(here, batch)


def statistics_renewed(seed: int) -> None:
    """Running statistics are reset and computed again before each evaluation."""
    here = setting(seed, plain=True)
    here.model = Normed()
    here.optimizer = torch.optim.SGD(here.model.parameters(), 0.05, momentum=0.9)
    for number, batch in enumerate(here.batches(STEPS)):
        train(here, batch)
        if number % 12 == 11:
            here.model.norm.reset_running_stats()
            with torch.no_grad():
                for inputs, _ in DataLoader(data(seed), 32):
                    here.model(inputs)
            here.model.eval()
            here.model(batch[0])
            here.model.train()


def seeding_each_epoch(seed: int) -> None:
    """Every generator is seeded at the beginning of each epoch with a number made of it."""
    here = setting(seed)
    for epoch in range(4):
        torch.manual_seed(seed + epoch)
        random.seed(seed + epoch)
        for inputs, targets in DataLoader(data(seed), 24, shuffle=True):
            train(here, (inputs.to(here.dtype), targets))


def seeding_each_step(seed: int) -> None:
    """A seed for each step, so that any of them can be made again."""
    here = setting(seed)
    for number, batch in enumerate(here.batches(STEPS)):
        torch.manual_seed(1000 * seed + number)
        train(here, batch)


def switches_turned(seed: int) -> None:
    """Threads, deterministic algorithms and autocast change in the middle."""
    here = setting(seed, plain=True)
    for number, batch in enumerate(here.batches(STEPS)):
        torch.set_num_threads(1 + number % 2)
        torch.use_deterministic_algorithms(15 <= number < 30)
        mixed = torch.autocast("cpu", torch.bfloat16) if number % 10 < 5 else nullcontext()
        here.optimizer.zero_grad()
        with mixed:
            logits = here.model(batch[0])
        F.cross_entropy(logits.float(), batch[1]).backward()
        here.optimizer.step()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)


def watching_by_hooks(seed: int) -> None:
    """Hooks that only write down what they see, put on in the middle and taken off again."""
    here = setting(seed)
    seen: list[float] = []
    handles: list[torch.utils.hooks.RemovableHandle] = []
    for number, batch in enumerate(here.batches(STEPS)):
        if number == 12:
            for module in here.model.modules():
                if isinstance(module, nn.Linear):
                    handles.append(
                        module.register_forward_hook(
                            lambda _, given, out: seen.append(float(out.detach().mean()))
                        )
                    )
            for parameter in here.model.parameters():
                handles.append(parameter.register_hook(lambda gradient: seen.append(float(gradient.norm()))))
        if number == 30:
            for handle in handles:
                handle.remove()
        train(here, batch)


PROGRAMS = (
    logging_smoothed, logging_a_table, logging_a_part_of_the_loss, logging_means,
    logging_validation_as_loss, saving_each_step, saving_other_things, saving_in_a_thread,
    serving_metrics, starting_others, sleeping, leaving_early, generating, generating_inside,
    dropout_scheduled, stochastic_depth, statistics_frozen, statistics_renewed, seeding_each_epoch,
    seeding_each_step, switches_turned, watching_by_hooks,
)  # fmt: skip
