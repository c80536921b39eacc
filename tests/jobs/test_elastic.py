"""Ranks that torchrun starts again, and that go on from a checkpoint: nothing of it is a finding."""

from __future__ import annotations

import sys

import pytest

from tests.jobs.conftest import Jobs

PROGRAM = """
    import os, sys, torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rank, again = os.environ["RANK"], int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    path = os.path.join(sys.argv[1], f"{rank}.pt")
    model = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.GELU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    begin = 0
    if os.path.exists(path):
        kept = torch.load(path, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        begin = kept["step"]
    if "edit" in sys.argv and again == 1 and rank == "1":
        with torch.no_grad():
            model[0].weight.mul_(1.01)  # sabotage: what a restart goes on with is scaled
    draws = torch.Generator().manual_seed(int(rank))
    for step in range(begin, 24):
        optimizer.zero_grad()
        x = torch.randn(8, 5, generator=draws)
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        schedule.step()
        if step % 5 == 4:
            parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step + 1}, path)
        if step == 12 and again == 0:
            raise SystemExit("this rank is started again")
"""


@pytest.mark.soak
def test_restarted_ranks_are_no_finding_and_an_edit_at_the_restart_is(jobs: Jobs) -> None:
    path = jobs.write(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for edit in (False, True):
        folder = jobs.folder / f"kept-{edit}"
        folder.mkdir()
        done = jobs.run(*torchrun, "--max-restarts", "1", path, folder, *(["edit"] if edit else []))
        assert done.code == 0, done.err
        errors = {one["rule"] for one in done.shown["findings"] if one["severity"] == "error"}
        assert errors == ({"continuity-resume-differs"} if edit else set()), done.shown["findings"]
        assert done.verdict == ("broken" if edit else "held")
        # 13 steps before and 14 or, had the other one been stopped earlier, some fewer of the second start.
        assert done.shown["coverage"]["update"]["checked"] >= 40
