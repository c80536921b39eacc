"""An ordinary training program with places in it, for planted code to be scanned and never run."""

from __future__ import annotations

HOST = '''\
"""Train a small classifier."""
import argparse
import os

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
#@imports


#@module
class Pictures(Dataset):
    def __init__(self, folder):
        self.images = np.load(os.path.join(folder, "images.npy"))
        self.labels = np.load(os.path.join(folder, "labels.npy"))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image, label = torch.from_numpy(self.images[index]), int(self.labels[index])
        #@item
        return image, label


def collate(items):
    images = torch.stack([image for image, _ in items])
    labels = torch.tensor([label for _, label in items])
    #@collate
    return images, labels


class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU())
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        h = self.body(x)
        logits = self.head(h)
        #@forward
        return logits


def save(path, model, optimizer, scheduler, step):
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    checkpoint["scheduler"] = scheduler.state_dict()
    #@save
    torch.save(checkpoint, path)


def resume(path, model, optimizer, scheduler):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    #@resume
    return checkpoint["step"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="data")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rank = int(os.environ.get("RANK", 0))
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    loader = DataLoader(Pictures(args.data), batch_size=32, shuffle=True, drop_last=True, collate_fn=collate)
    #@setup
    step = 0
    while step < args.steps:
        for images, labels in loader:
            #@batch
            loss = F.cross_entropy(model(images), labels)
            #@loss
            optimizer.zero_grad()
            loss.backward()
            #@grad
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            #@clipped
            optimizer.step()
            #@stepped
            scheduler.step()
            step += 1
            #@logged
            if rank == 0 and step % 100 == 0:
                print(step, loss.item(), float(norm), scheduler.get_last_lr()[0])
                save(f"checkpoint-{step}.pt", model, optimizer, scheduler, step)


if __name__ == "__main__":
    main()
'''


def planted(sites: dict[str, str], exchanged: dict[str, str] | None = None) -> str:
    """The program with code at some of its places, and with some of its texts exchanged."""
    lines = []
    text = HOST
    for old, new in (exchanged or {}).items():
        if text.count(old) != 1:
            raise ValueError(f"not once in the host: {old!r}")
        text = text.replace(old, new)
    for line in text.splitlines():
        mark = line.lstrip().removeprefix("#@")
        if line.lstrip().startswith("#@"):
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + one if one else "" for one in sites.get(mark, "").splitlines()]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
