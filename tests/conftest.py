"""What all tests share: one thread for torch, how many examples are drawn, and a home that knows torch."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import veracity
from tests.examples import PROFILES
from tests.once import once

# Two workers with two threads each wait for one another at every operation; one thread each does not.
# Read by torch when it is imported, so before any test module is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A worker comes to need torch, with what an optimizer imports: twice as quick before anything is traced.
if "PYTEST_XDIST_WORKER" in os.environ:
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("torch._dynamo")

# How long an example takes says how busy the machine is, nothing about the code.
for _name, _examples in PROFILES.items():
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile("ci")  # --hypothesis-profile comes later and wins

pytest_plugins = ["tests.tracing"]


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later looks at what is alive.

    A guard looks through everything for modules and schedulers when it meets an optimizer. That is a million
    objects in a process that imported all tests, and the collector goes through them as well.
    """
    gc.collect()
    gc.freeze()


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


def _look_at_everything(folder: Path) -> None:
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


@pytest.fixture(scope="session")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has checked torch's code and all that the victims import; to be copied, not used."""
    pytest.importorskip("torch")
    return once(tmp_path_factory, "knowledge", _look_at_everything) / "home"


@pytest.fixture
def warm_home(knowledge: Path, tmp_path: Path) -> Path:
    """A home without runs, of this test alone, that need not check torch's code anew."""
    home = tmp_path / "home"
    shutil.copytree(knowledge / "cache", home / "cache")
    shutil.copytree(knowledge / "sources", home / "sources", copy_function=os.link)
    return home
