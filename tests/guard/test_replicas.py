"""Who holds the same parameters is read from real DistributedDataParallel modules over gloo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from veracity.guard import replicas

pytest.importorskip("torch")

SRC = Path(replicas.__file__).parents[2]
PROGRAM = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch
from torch import distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, post_localSGD_hook
sys.path.insert(0, sys.argv[1])
from veracity.guard.replicas import replicas_of
rank = 1 if os.fork() == 0 else 0  # torch is imported once for both
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
wrap = torch.nn.parallel.DistributedDataParallel
inner, other, bare = (torch.nn.Linear(2, 2) for _ in range(3))
found = {"bare": replicas_of(list(bare.parameters()))}
wrapped = wrap(inner)
found["wrapped"] = replicas_of(list(inner.parameters()))
found["part"] = replicas_of(list(wrapped.parameters())[:1])
found["mixed"] = replicas_of([*inner.parameters(), *bare.parameters()])
second = wrap(other)
second.register_comm_hook(None, default_hooks.allreduce_hook)
found["two"] = replicas_of([*inner.parameters(), *other.parameters()])
third = wrap(bare)
state = post_localSGD_hook.PostLocalSGDState(process_group=None, subgroup=None, start_localSGD_iter=1)
third.register_comm_hook(state, post_localSGD_hook.post_localSGD_hook)
found["local"] = replicas_of(list(bare.parameters()))
dist.barrier()
with open(f"{sys.argv[2]}.{rank}", "w") as file:
    json.dump(found, file)
dist.destroy_process_group()
if rank == 0:
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
EXPECTED = {
    "bare": [],
    "wrapped": [0, 1],
    "part": [0, 1],
    "mixed": [],
    "two": [0, 1],
    "local": [],
}


def test_the_ranks_of_wrapped_parameters_are_named(tmp_path: Path) -> None:
    meet = tmp_path / "meet"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(SRC), str(meet)], timeout=240, check=False)
    assert done.returncode == 0
    for rank in range(2):
        assert json.loads((tmp_path / f"meet.{rank}").read_text()) == EXPECTED
