"""FSDP2 over two real ranks: a clean run is clean, and a change of one rank's part is found."""

from __future__ import annotations

import sys

import pytest

from tests.jobs.conftest import Jobs

if not hasattr(pytest.importorskip("torch.distributed.fsdp"), "fully_shard"):
    pytest.skip("this torch has no fully_shard", allow_module_level=True)

PROGRAM = """
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
