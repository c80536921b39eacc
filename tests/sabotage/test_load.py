"""A checkpoint that calls something when it is loaded, and one that only holds the program's objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, caught, held, planted_script, train
from veracity.core.rule import Severity
from veracity.drill.sabotage import MARK

torch = pytest.importorskip("torch")
RULE = "checkpoint-executes"


class Marked:
    """Sets the seed of the process that loads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        # Tests that ran before may have made torch.compile put a wrapper at torch.manual_seed.
        return torch.random.manual_seed, (7,)


def test_checkpoint_that_sets_the_seed_when_it_is_loaded(home: Path, tmp_path: Path) -> None:
    options = [*TINY, "--out-dir", str(tmp_path / "out"), "--decay-steps", "12"]
    safe = 'torch.load(path, map_location="cpu", weights_only=True)'
    script = planted_script(tmp_path, (safe, f"{safe.replace('True', 'False')}  {MARK}"))
    held(train(home, script, [*options, "--steps", "6"]))
    checkpoint = tmp_path / "out" / "checkpoint-000006.pt"
    torch.save({**torch.load(checkpoint, weights_only=True), "extra": Marked()}, checkpoint)
    summary = train(home, script, [*options, "--steps", "12", "--resume", str(checkpoint)])
    finding = caught(summary, RULE)
    assert finding.first_step == 0
    assert finding.locations[0].path == str(checkpoint)
    line = script.read_text().splitlines()[finding.locations[1].line - 1]
    assert finding.locations[1].path == str(script)
    assert "torch.load(" in line
    assert "torch.random.manual_seed" in finding.message


def test_checkpoint_with_objects_of_the_program(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PLAIN)
    summary = train(home, script, [str(tmp_path / "a.pt")])
    held(summary)
    assert summary.coverage["load"].checked == 2
    assert [one for one in summary.findings if one.severity is not Severity.NOTE] == []


PLAIN = """
import argparse, dataclasses, enum, pickle, sys
import torch

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Settings:
    rate: float = 0.01
    colour: Colour = Colour.RED

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 12
    def __getitem__(self, index):
        return torch.full((4,), float(index))

def main():
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    loader = torch.utils.data.DataLoader(
        Data(), batch_size=4, num_workers=1, multiprocessing_context="spawn")
    for batch in loader:
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "settings": Settings(),
                "options": argparse.Namespace(rate=0.1)}, sys.argv[1])
    loaded = torch.load(sys.argv[1], weights_only=False)
    model.load_state_dict(loaded["model"])
    with open(sys.argv[1] + ".pkl", "wb") as file:
        pickle.dump({"settings": Settings()}, file)
    with open(sys.argv[1] + ".pkl", "rb") as file:
        pickle.load(file)

if __name__ == "__main__":
    main()
"""
