"""FSDP2 over real ranks: a clean run is clean, and a change of one rank's part is found.

So for what is resumed from a sharded checkpoint by another number of ranks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import Jobs

if not hasattr(pytest.importorskip("torch.distributed.fsdp"), "fully_shard"):
    pytest.skip("this torch has no fully_shard", allow_module_level=True)

SHARDED = """
import sys, torch, torch.distributed as dist
from torch.distributed.fsdp import fully_shard

torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
# 17 rows on two ranks: parts of 9 and 8; one row: a part and none.
model = torch.nn.Sequential(torch.nn.Linear(5, 17), torch.nn.GELU(), torch.nn.Linear(17, 1))
for layer in (model[0], model[2]):
    fully_shard(layer)
fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
"""

PROGRAM = (
    SHARDED
    + """
for step in range(12):
    optimizer.zero_grad()
    x = torch.randn(8, 5)
    (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if "edit" in sys.argv and step == 7 and dist.get_rank() == 1:
        with torch.no_grad():
            model[0].weight.to_local().mul_(1.01)  # sabotage: one rank's part is scaled between two steps
dist.destroy_process_group()
"""
)


@pytest.mark.parametrize("edit", [False, True])
def test_sharded_training(jobs: Jobs, edit: bool) -> None:
    path = jobs.write(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = jobs.run(*torchrun, path, *(["edit"] if edit else []))
    assert done.code == 0, done.err
    assert done.rules == ({"continuity-weights-changed"} if edit else set()), done.shown["findings"]
    assert done.verdict == ("broken" if edit else "held")
    assert done.gaps("element by element") == []
    coverage = done.shown["coverage"]
    assert (coverage["update"]["checked"], coverage["update"]["possible"]) == (24, 24)
    assert coverage["weight-continuity"]["checked"] == 22
    assert any("sharded" in reason for reason in coverage["replica-agreement"]["reasons"])
    if edit:
        (finding,) = done.shown["findings"]
        assert (finding["rank"], finding["first_step"]) == (1, 8)


RESUMED = (
    SHARDED
    + """
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

folder, what = sys.argv[1:]
if what != "train":
    weights, state = get_state_dict(model, optimizer)
    dcp.load({"model": weights, "optimizer": state}, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
if what == "edit":
    with torch.no_grad():  # sabotage: a rank's part is scaled after it was loaded
        model[0].weight.to_local().mul_(1.01)
for step in range(4):
    optimizer.zero_grad()
    x = torch.randn(8, 5)
    (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
    optimizer.step()
if what == "train":
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": state}, checkpoint_id=folder)
dist.destroy_process_group()
"""
)


@pytest.mark.soak
def test_a_sharded_checkpoint_is_followed_to_other_numbers_of_ranks(jobs: Jobs, tmp_path: Path) -> None:
    path = jobs.write(RESUMED)
    folder = tmp_path / "sharded"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    first = jobs.run(*torchrun, "2", path, folder, "train")
    assert (first.code, first.verdict, first.rules) == (0, "held", set()), first.err
    assert first.gaps("checkpoint") == []
    parts = sorted(one.name for one in folder.iterdir())
    assert parts == [".metadata", "__0_0.distcp", "__1_0.distcp"]

    clean = jobs.run(*torchrun, "1", path, folder, "go on")
    assert (clean.code, clean.verdict, clean.rules) == (0, "held", set()), clean.shown["findings"]
    assert clean.gaps("checkpoint") == []

    with (folder / parts[1]).open("ab") as file:
        file.write(b"!")  # sabotage: a part is not what was saved
    broken = jobs.run(*torchrun, "1", path, folder, "edit")
    assert (broken.code, broken.verdict) == (0, "broken"), broken.err
    assert broken.rules == {"continuity-checkpoint-edited", "continuity-resume-differs"}
    (edited,) = [one for one in broken.shown["findings"] if one["rule"] == "continuity-checkpoint-edited"]
    assert edited["subject"] == str(folder / parts[1])
