"""Clean programs that are trained by a library's loop: the Trainer of transformers, and accelerate.

Models are tiny and random, data are random tokens; nothing is fetched. Without the libraries there are no
such programs, and ``MISSING`` says why.
"""

from __future__ import annotations

import importlib.util
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from .settings import LONGER, data, perceptron

STEPS = 24 * LONGER
WORDS, LENGTH = 64, 12
_WANTED = [name for name in ("transformers", "accelerate") if importlib.util.find_spec(name) is None]
MISSING = f"not installed: {', '.join(_WANTED)}" if _WANTED else ""


class _Tokens(Dataset[dict[str, Tensor]]):
    """Random sequences; the label is the sequence itself, or a class."""

    def __init__(self, count: int, seed: int, *, classes: int) -> None:
        self.items = torch.randint(WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
        self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        tokens = self.items[at]
        labels = tokens.sum() % self.classes if self.classes else tokens.clone()
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels}


def _model(kind: str) -> Any:
    import transformers

    if kind == "bert":
        small = transformers.BertConfig(
            vocab_size=WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=48, num_labels=3,
        )  # fmt: skip
        return transformers.BertForSequenceClassification(small)
    tiny = transformers.GPT2Config(vocab_size=WORDS, n_positions=LENGTH, n_embd=24, n_layer=2, n_head=2)
    return transformers.GPT2LMHeadModel(tiny)


def _trainer(seed: int, folder: str, callbacks: tuple[Any, ...] = (), **options: Any) -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    draw = random.Random(seed)
    transformers.set_seed(seed)
    kind = draw.choice(("bert", "gpt2"))
    settings = {
        "per_device_train_batch_size": draw.choice((4, 8)), "max_steps": STEPS, "logging_steps": 2,
        "learning_rate": 1e-3, "save_strategy": "no", "report_to": [], "use_cpu": True, "seed": seed,
        "optim": draw.choice(("adamw_torch", "adamw_torch_fused", "sgd")), "disable_tqdm": True, **options,
    }  # fmt: skip
    classes = 3 if kind == "bert" else 0
    return transformers.Trainer(
        model=_model(kind),
        args=transformers.TrainingArguments(output_dir=folder, **settings),
        train_dataset=_Tokens(200, seed, classes=classes),
        eval_dataset=_Tokens(32, seed + 1, classes=classes),
        callbacks=list(callbacks),
    )


def _run(seed: int, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _trainer(seed, folder, **options).train()


def trainer_plain(seed: int) -> None:
    """The Trainer as it comes."""
    _run(seed)


def trainer_accumulating(seed: int) -> None:
    """Gradients of several batches, the norm clipped hard."""
    _run(seed, gradient_accumulation_steps=2 + seed % 3, max_grad_norm=0.1)


def trainer_scheduled(seed: int) -> None:
    """Warm-up, then one of its schedules; weight decay."""
    kinds = ("cosine", "polynomial", "constant_with_warmup", "cosine_with_restarts", "inverse_sqrt")
    _run(seed, lr_scheduler_type=kinds[seed % len(kinds)], warmup_steps=6, weight_decay=0.1)


def trainer_mixed(seed: int) -> None:
    """Autocast to bfloat16, and activations computed again in the backward pass."""
    _run(seed, bf16=True, gradient_checkpointing=seed % 2 == 0)


def trainer_resumed(seed: int) -> None:
    """Saves, and goes on from the checkpoint with a new Trainer."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 6}
        _trainer(seed, folder, **options, max_steps=12).train()
        _trainer(seed, folder, **options).train(resume_from_checkpoint=True)


def trainer_evaluated(seed: int) -> None:
    """An evaluation every few steps; the best model is loaded at the end."""
    often: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 4,
    }
    _run(seed, **often, save_total_limit=2, load_best_model_at_end=True)


def trainer_stopped_early(seed: int) -> None:
    """A callback that ends the training when the evaluation gets no better."""
    import transformers

    often: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "steps",
        "save_steps": 3,
    }
    stopping = transformers.EarlyStoppingCallback(2)
    _run(seed, callbacks=(stopping,), **often, load_best_model_at_end=True, metric_for_best_model="eval_loss")


def accelerated(seed: int) -> None:
    """The loop of accelerate: accumulation, clipping, a schedule, saved and loaded state."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)  # another program of this process may have set its precision
    draw = random.Random(seed)
    torch.manual_seed(seed)
    every = draw.choice((1, 2))
    helper = Accelerator(
        cpu=True, gradient_accumulation_steps=every, mixed_precision=draw.choice(("no", "bf16"))
    )
    model = perceptron()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    loader = DataLoader(data(seed), 16, shuffle=True)
    model, optimizer, loader, schedule = helper.prepare(model, optimizer, loader, schedule)
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(3):
            _epoch(helper, model, optimizer, schedule, loader)
            if epoch == 1:
                helper.save_state(str(Path(folder) / "state"))
                helper.load_state(str(Path(folder) / "state"))


def _epoch(helper: Any, model: nn.Module, optimizer: Any, schedule: Any, loader: Any) -> None:
    model.train()
    for inputs, targets in loader:
        with helper.accumulate(model):
            helper.backward(F.cross_entropy(model(inputs), targets))
            if helper.sync_gradients:
                helper.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


PROGRAMS = () if MISSING else (
    trainer_plain, trainer_accumulating, trainer_scheduled, trainer_mixed, trainer_resumed,
    trainer_evaluated, trainer_stopped_early, accelerated,
)  # fmt: skip
