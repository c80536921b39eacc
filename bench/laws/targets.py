"""The training scripts that are sabotaged, and the places in them: two of the drill's, three of our own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from veracity.drill.victim import victim_path

from .planting import Target

HERE = Path(__file__).resolve().parent / "victims"
_CHARGPT = """
    --n-layer=1 --n-head=2 --n-embd=32 --block-size=16 --batch-size=8 --max-chars=6000
    --eval-every=0 --save-every=0 --threads=1 --workers=0
"""
_DIGITS = "--channels=4 --batch-size=64 --lr-epochs=1 --threads=1 --workers=0 --eval-every=0 --save-every=0"

CHARGPT = Target(
    "chargpt",
    victim_path("chargpt"),
    tuple(_CHARGPT.split()),
    {
        "data": "    loader = make_loader(windows, options, world)\n",
        "setup": "    batches = take_batches(loader, training.position)\n",
        "take": "    tokens, targets = batch\n",
        "forward": "    _, loss = model(tokens, targets)\n",
        "zero": "    training.optimizer.zero_grad(set_to_none=True)\n",
        "backward": "    loss.backward()\n",
        "clip": "    norm = nn.utils.clip_grad_norm_(model.parameters(), clip).item() if clip else None\n",
        "update": "    training.optimizer.step()\n",
        "schedule": "    training.schedule.step()\n",
        "log": '    return {"step": training.step, "loss": loss.item(), "lr": lr, "grad_norm": norm}\n',
        "save": "    torch.save(checkpoint, path)\n",
        "load": '    checkpoint = torch.load(path, map_location="cpu", weights_only=True)\n',
        "loaded": '    training.optimizer.load_state_dict(checkpoint["optimizer"])\n',
    },
    {
        "step": "training.step",
        "model": "training.model",
        "optimizer": "training.optimizer",
        "schedule": "training.schedule",
        "inputs": "tokens",
        "targets": "targets",
        "classes": "96",
        "dataset": "windows.tokens",
        "loader": "loader",
        "loss": "loss",
        "reported": "loss",
        "wrapped": "model",
        "layer": "training.model.blocks[0].feed[0]",
        "one": "training.model.blocks[0].norm_2.weight",
        "other": "training.model.blocks[0].norm_2.bias",
        "branch": "training.model.blocks[0].attention",
        "max_norm": "clip",
        "every": "model.parameters()",
        "path": "path",
        "loading": "training.model",
    },
    "adam",
)

DIGITS = Target(
    "digits",
    victim_path("digits"),
    tuple(_DIGITS.split()),
    {
        "data": "    loader = make_loader(data, options, world)\n",
        "setup": "    batches = take_batches(loader, training)\n",
        "take": "    images, labels = batch\n",
        "zero": "    training.optimizer.zero_grad(set_to_none=True)\n",
        "forward": "    loss = F.cross_entropy(model(images), labels)\n",
        "backward": "    loss.backward()\n",
        "update": "    training.optimizer.step()\n",
        "schedule": "            training.schedule.step()\n",
        "log": '    return {"step": training.step, "loss": loss.item(), "lr": lr, "grad_norm": norm}\n',
        "save": "    torch.save(checkpoint, path)\n",
        "load": '    checkpoint = torch.load(path, map_location="cpu", weights_only=True)\n',
        "loaded": '    training.optimizer.load_state_dict(checkpoint["optimizer"])\n',
    },
    {
        **CHARGPT.names,
        "inputs": "images",
        "targets": "labels",
        "classes": "10",
        "dataset": "data.tensors[0]",
        "layer": "training.model.head",
        "one": "training.model.norm_2.weight",
        "other": "training.model.norm_2.bias",
        "buffer": "training.model.norm_1.running_mean",
        "branch": "training.model.conv_1",
    },
    "sgd",
    buffers=True,
)

_OWN_SITES = {
    "setup": "    batches = take_batches(loader)\n",
    "update": "        optimizer.step()\n",
    "zero": "        optimizer.zero_grad()\n",
    "schedule": "        schedule.step()\n",
    "backward": "        loss.backward()\n",
    "save": "    torch.save(checkpoint, path)\n",
    "load": '    checkpoint = torch.load(path, map_location="cpu", weights_only=True)\n',
    "loaded": '    optimizer.load_state_dict(checkpoint["optimizer"])\n',
}
_CLIP = "        norm = nn.utils.clip_grad_norm_(raw.parameters(), options.clip).item()\n"
_OWN_NAMES = {
    **CHARGPT.names,
    "step": "step",
    "model": "raw",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "inputs": "inputs",
    "targets": "targets",
    "max_norm": "options.clip",
    "every": "raw.parameters()",
    "loading": "model",
}
_LOSS = '"lr": schedule.get_last_lr()[0]'

IMAGES = Target(
    "images",
    HERE / "images.py",
    (),
    {
        **_OWN_SITES,
        "data": "    dataset = make_pictures(options.seed)\n",
        "take": "        inputs, targets = next(batches)\n",
        "forward": "        loss = F.cross_entropy(model(inputs), targets)\n",
        "log": f'        row = {{"step": step, "loss": loss.item(), {_LOSS}}}\n',
    },
    {
        **_OWN_NAMES,
        "classes": "4",
        "dataset": "dataset.tensors[0]",
        "layer": "raw[10]",
        "one": "raw[5].weight",
        "other": "raw[5].bias",
        "buffer": "raw[1].running_mean",
        "branch": "raw[0]",
    },
    "rmsprop",
    buffers=True,
)

REGRESSION = Target(
    "regression",
    HERE / "regression.py",
    (),
    {
        **_OWN_SITES,
        "data": "    dataset = make_samples(options.seed)\n",
        "take": "            inputs, targets = next(batches)\n",
        "forward": "                loss = F.mse_loss(model(inputs).float(), targets) / ACCUMULATE\n",
        "backward": "            scaler.scale(loss).backward()\n",
        "update": "        scaler.step(optimizer)\n",
        "clip": _CLIP,
        "log": f'        row = {{"step": step, "loss": total, {_LOSS}, "grad_norm": norm}}\n',
    },
    {
        **_OWN_NAMES,
        "classes": "0",
        "dataset": "dataset.tensors[0]",
        "layer": "raw[2]",
        "reported": "total",
        "one": "raw[0].bias",
        "other": "raw[2].bias",
        "branch": "raw[0]",
    },
    "adam",
    accumulates=True,
)

READER = Target(
    "reader",
    HERE / "reader.py",
    (),
    {
        **_OWN_SITES,
        "data": "    dataset = Sequences(options.seed)\n",
        "take": '        inputs, targets = batch["input_ids"], batch["labels"]\n',
        "forward": "        loss = model(input_ids=inputs, labels=targets).loss\n",
        "clip": _CLIP,
        "log": f'        row = {{"step": step, "loss": loss.item(), {_LOSS}, "grad_norm": norm}}\n',
    },
    {
        **_OWN_NAMES,
        "classes": "8",
        "dataset": "dataset.tokens",
        "layer": "raw.head",
        "one": "raw.norm.weight",
        "other": "raw.norm.bias",
        "branch": "raw.query",
    },
    "adam",
)

CHARGPT_SMALL = replace(
    CHARGPT,
    name="chargpt-small",
    options=("--size=small", "--eval-every=0", "--save-every=0", "--threads=1", "--workers=0"),
)
"""As the script is by itself: 0.8 M parameters. Too slow for hundreds of runs."""

TARGETS = {target.name: target for target in (CHARGPT, DIGITS, IMAGES, REGRESSION, READER, CHARGPT_SMALL)}
