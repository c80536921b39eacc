"""Harmless files with odd corners, by the libraries themselves: arrays, tensors, HDF5, sharded checkpoints."""

from __future__ import annotations

import enum
from pathlib import Path

from .group import Group


def _arrays(folder: Path, scratch: Path) -> None:
    import numpy as np

    np.save(folder / "strings.npy", np.array(["cos\nsystem\n", "__reduce__"]))
    np.save(folder / "objects.npy", np.array([{"a": 1}, "os.system", None], dtype=object), allow_pickle=True)
    np.save(folder / "fields.npy", np.zeros(3, dtype=[("os", "<f4"), ("system", "<i8", (2,))]))
    np.save(folder / "times.npy", np.array(["2026-11-01"], dtype="datetime64[s]"))
    np.savez_compressed(folder / "many.npz", a=np.ones(3), b=np.zeros(2))
    np.ma.array([1, 2], mask=[0, 1]).dump(folder / "masked.pkl")


def _hdf5(folder: Path, scratch: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File(folder / "links.h5", "w") as file:
        file["a/weights"] = np.ones(4)
        file["b"] = h5py.SoftLink("/a/weights")
        file["c"] = file["a/weights"]
        file.attrs["note"] = "an ExternalLink to /etc/passwd would look like this"
    with h5py.File(folder / "virtual.h5", "w") as file:
        for name in "xy":
            file[name] = np.ones(4)
        layout = h5py.VirtualLayout((2, 4), "f8")
        for at, name in enumerate("xy"):
            layout[at] = h5py.VirtualSource(".", name, (4,))
        file.create_virtual_dataset("both", layout)
    with h5py.File(folder / "parts.h5", "w") as file:
        file["part"] = h5py.ExternalLink("part-1.h5", "/weights")
        file.create_dataset("raw", (4,), "f4", external=[("raw.bin", 0, 16)])
    with h5py.File(folder / "latest.h5", "w", libver="latest") as file:
        for number in range(40):
            file.create_dataset(f"layer{number}", data=np.ones((4, 4)), chunks=True, compression="gzip")
        file["names"] = np.array([b"/dev/null", b"../../x.h5"])


class Colour(enum.Enum):
    """Scripted below."""

    RED = 1
    BLUE = 2


def _torch(folder: Path, scratch: Path) -> None:
    import torch

    linear = torch.nn.Linear(3, 2)
    torch.save({"os.system": torch.ones(2), "__class__": 1, "eval": {"__import__": 0.5}}, folder / "named.pt")
    held = torch.frombuffer(bytearray(b"cos\nsystem\n(S'true'\ntR."), dtype=torch.uint8)
    torch.save({"bytes": held}, folder / "bytes-of-a-pickle.pt")
    torch.save(linear.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save([held[3:9], held[::2], held.expand(2, -1)], folder / "views.pt")
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    whole = {
        "model": linear.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save({**whole, "rng": torch.get_rng_state(), "step": 3}, folder / "resume.pt")
    torch.save(torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), folder / "quantized.pt")
    torch.save(torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (4,)), folder / "sparse.pt")
    torch.save(torch.nn.Sequential(linear, torch.nn.Dropout(0.1)), folder / "module.pt")


def _scripted(folder: Path, scratch: Path) -> None:
    import torch

    class Chooses(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.colour = Colour.RED

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if self.colour == Colour.RED else x

    torch.jit.script(Chooses()).save(folder / "with-enum.pt")
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(folder / "traced.pt")


def _sharded(folder: Path, scratch: Path) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    state = {"model": torch.nn.Linear(4, 4).state_dict(), "step": torch.tensor(3), "note": "epoch 3"}
    dcp.save(state, checkpoint_id=str(folder / "step-3"), no_dist=True)


GROUPS = (
    Group("like-arrays", "numpy", _arrays),
    Group("like-hdf5", "h5py", _hdf5),
    Group("like-torch", "torch", _torch),
    Group("like-torchscript", "torch", _scripted),
    Group("like-sharded", "torch.distributed.checkpoint", _sharded),
)
