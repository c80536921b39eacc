"""Files that torch writes, made in one process and once per session: importing torch takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.once import once

PROGRAM = """
import sys, torch
from typing import Dict, List
from torch.package import PackageExporter

folder = sys.argv[1]
torch.save({"w": torch.arange(1000.0), "n": 3}, f"{folder}/saved.pt")
torch.serialization.set_crc32_options(False)
torch.save({"w": torch.arange(1000.0)}, f"{folder}/unsummed.pt")
torch.serialization.set_crc32_options(True)

kinds = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16,
         torch.int32, torch.int64, torch.bool, torch.complex64, torch.complex128]
made = {str(one): torch.ones(7, dtype=one) for one in kinds}
made |= {"view": made["torch.float32"][2:4], "many": [torch.ones(1) for _ in range(100)], "n": 3}
torch.save(made, f"{folder}/legacy.pt", _use_new_zipfile_serialization=False)


class Acts(torch.nn.Module):
    def forward(self, x):
        torch.manual_seed(7)
        y = torch.from_file("inert", True, 10)
        torch.save(x, "inert")
        return x + y


class Honest(torch.nn.Module):
    numbers: List[int]
    names: Dict[str, int]

    def __init__(self):
        super().__init__()
        self.numbers, self.names, self.inner = [1, 2], {"a": 1}, torch.nn.Linear(2, 2)

    def forward(self, x):
        print("torch.save(x)")
        return torch.nn.functional.dropout(self.inner(x) + self.numbers[0] + self.names["a"], 0.5)


for one in (Acts, Honest):
    scripted = torch.jit.script(one())
    scripted.save(f"{folder}/{one.__name__}.pt")
    scripted._save_for_lite_interpreter(f"{folder}/{one.__name__}.ptl")
with PackageExporter(f"{folder}/package.pt") as package:
    package.save_pickle("resources", "model.pkl", {"w": torch.ones(3)})
torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)), f"{folder}/exported.pt2")
"""


def torch_files(factory: pytest.TempPathFactory) -> Path:
    """A folder with files of each kind."""
    return once(factory, "torch-files", _make)


def _make(folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAM)  # torch compiles scripts from their source
    subprocess.run([sys.executable, "-W", "ignore", folder / "program.py", folder], check=True)
