"""A home that has checked torch's code and all that the victims import: 12 s of work, done once for all.

``scripts/check.py`` starts this while a core is idle; without it, the first test that asks does the work.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import veracity
from tests.once import once_in

NAME = "knowledge"

_EVERYTHING = """\
import importlib
for name in ("torch", "torch.distributed.run", "numpy", "sklearn.datasets", "transformers.trainer"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        if name.startswith("torch"):
            raise
import torch
torch.manual_seed(1)
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = torch.utils.data.TensorDataset(torch.ones(4, 4))
for (batch,) in torch.utils.data.DataLoader(data, batch_size=2):
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()
"""


def look_at_everything(folder: Path) -> None:
    """A guarded run in a cold home, which must hold."""
    program = folder / "program.py"
    program.write_text(_EVERYTHING, encoding="utf-8")
    command = [sys.executable, "-m", "veracity.cli.main", "--home", str(folder / "home"), "--format", "json"]
    done = subprocess.run(
        [*command, "run", "--no-stacks", "--", sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(Path(veracity.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    assert json.loads(done.stdout)["verdict"] == "held", done.stderr


def warmed(knowledge: Path, home: Path) -> Path:
    """A new home that knows what ``knowledge`` does."""
    shutil.copytree(knowledge / "cache", home / "cache")
    shutil.copytree(knowledge / "sources", home / "sources", copy_function=os.link)
    return home


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is not None:
        once_in(Path(sys.argv[1]), NAME, look_at_everything)
