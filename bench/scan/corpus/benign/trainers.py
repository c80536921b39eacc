"""Checkpoints that the trainers people use leave behind, of models with random weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .group import Group
from .torchfiles import networks

if TYPE_CHECKING:
    import torch


def _rows(words: int = 20) -> list[dict[str, torch.Tensor]]:
    import torch

    return [{"input_ids": torch.arange(8) % words, "labels": torch.arange(8) % words} for _ in range(8)]


def _transformers(folder: Path, scratch: Path) -> None:
    import transformers as t

    os.environ["WANDB_DISABLED"] = "true"
    small = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 20,
    }
    makers: dict[str, Callable[[], t.PreTrainedModel]] = {
        "bert": lambda: t.BertForMaskedLM(t.BertConfig(**small)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**small)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20)),
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**{**small, "image_size": 8, "patch_size": 4})),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=20)),
    }  # fmt: skip
    for name, make in makers.items():
        model = make()
        model.save_pretrained(folder / name)
        import torch

        torch.save(model.state_dict(), folder / name / "pytorch_model.bin")
    for name, kind in (("adamw", "adamw_torch"), ("adafactor", "adafactor"), ("sgd", "sgd")):
        arguments = t.TrainingArguments(
            output_dir=str(scratch / name), max_steps=2, save_steps=2, per_device_train_batch_size=4, optim=kind,
            use_cpu=True, report_to=[], logging_steps=1, disable_tqdm=True,
        )  # fmt: skip
        trainer = t.Trainer(model=makers["gpt2"](), args=arguments, train_dataset=_rows())
        trainer.train()
        trainer.save_model(str(folder / f"trainer-{name}" / "final"))
        shutil.copytree(scratch / name / "checkpoint-2", folder / f"trainer-{name}" / "checkpoint-2")


def _accelerate(folder: Path, scratch: Path) -> None:
    import accelerate
    import torch

    for word, safe in (("safe", True), ("pickled", False)):
        accelerator = accelerate.Accelerator(cpu=True)
        network = networks()["perceptron"]
        optimizer = torch.optim.AdamW(network.parameters())
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        data = torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=2, shuffle=True)
        network, optimizer, schedule, data = accelerator.prepare(network, optimizer, schedule, data)
        accelerator.backward(network(next(iter(data))).sum())
        optimizer.step()
        schedule.step()
        accelerator.save_state(str(folder / word), safe_serialization=safe)
        accelerator.free_memory()


def _lightning(folder: Path, scratch: Path) -> None:
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self, lr: float = 0.1, name: str = "small") -> None:
            super().__init__()
            self.save_hyperparameters()
            self.network = networks()["perceptron"]

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            loss = self.network(batch).square().sum()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> object:
            optimizer = torch.optim.Adam(self.parameters(), self.hparams["lr"])
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

    for word, weights_only in (("full", False), ("weights", True)):
        keeps = ModelCheckpoint(folder / word, save_last=True, monitor="loss", save_weights_only=weights_only)
        trainer = lightning.Trainer(
            max_epochs=2, accelerator="cpu", callbacks=[keeps, EarlyStopping("loss", check_on_train_epoch_end=True)],
            default_root_dir=scratch, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(8, 4), batch_size=4))
    for path in sorted(scratch.rglob("hparams.yaml")):
        shutil.copyfile(path, folder / "hparams.yaml")


def _peft(folder: Path, scratch: Path) -> None:
    import peft
    import transformers as t

    model = t.GPT2LMHeadModel(t.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20))
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM"))
    tuned.save_pretrained(str(folder / "safe"))
    tuned.save_pretrained(str(folder / "pickled"), safe_serialization=False)


GROUPS = (
    Group("transformers", "transformers", _transformers),
    Group("accelerate", "accelerate", _accelerate),
    Group("lightning", "lightning", _lightning),
    Group("peft", "peft", _peft),
)
