"""Hugging Face's Trainer under Veracity, offline: a tiny GPT-2 learns to spell the days of the week.

    pip install torch transformers accelerate
    veracity run -- python examples/huggingface_trainer.py --output-dir out
    veracity run -- python examples/huggingface_trainer.py --output-dir out --resume
    veracity run -- torchrun --nproc-per-node 2 examples/huggingface_trainer.py --output-dir out2

Nothing here knows of Veracity. No model and no data is downloaded: the model is initialised at random, and
its characters are its tokens.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

TEXT = "monday tuesday wednesday thursday friday saturday sunday " * 40
BLOCK = 32


class Characters(torch.utils.data.Dataset):
    """Blocks of a text as token ids."""

    def __init__(self, text: str) -> None:
        self.vocabulary = sorted(set(text))
        ids = torch.tensor([self.vocabulary.index(character) for character in text])
        self.blocks = ids[: len(ids) // BLOCK * BLOCK].view(-1, BLOCK)

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.blocks[index], "labels": self.blocks[index].clone()}


def main() -> None:
    """Train, saving every ten steps; with ``--resume`` go on from the last checkpoint."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output-dir", default="out")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    data = Characters(TEXT)
    torch.manual_seed(1)
    size = len(data.vocabulary)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=size, n_positions=BLOCK, n_embd=48, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
        )
    )
    arguments = TrainingArguments(
        output_dir=options.output_dir,
        max_steps=options.steps + 10 * options.resume,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=4,
        logging_steps=5,
        save_steps=10,
        seed=3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data)
    trainer.train(resume_from_checkpoint=options.resume or None)


if __name__ == "__main__":
    main()
