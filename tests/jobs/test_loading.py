"""Files that a real job loads: what is recorded of them, and what ``--policy enforce`` lets through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import LIMIT, Done, Jobs

pytest.importorskip("torch")

MAKES = """
    import pickle, sys
    import torch

    class Marked:  # inert sabotage: a call that is marked, and does nothing else
        def __reduce__(self):
            import os
            return os.system, ("echo INERT PAYLOAD RAN",)

    torch.save({"w": torch.ones(3)}, "clean.pt")
    torch.save({"w": torch.ones(3), "extra": Marked()}, "marked.pt")
    with open("kind.pkl", "wb") as file:
        file.write(b"cstatistics\\nNormalDist\\n(I1\\nI2\\ntR.")
"""
PERMIT = """
    [[scan.permit]]
    global = "statistics:NormalDist"
    owner = "data team"
    reason = "ratios of the mixture"
    expires = 2999-01-01
"""


def made(jobs: Jobs) -> None:
    program = jobs.write(MAKES, name="makes.py")
    subprocess.run([sys.executable, program], cwd=jobs.folder, check=True, timeout=LIMIT)


def run(jobs: Jobs, program: Path, *flags: str) -> Done:
    process = subprocess.Popen(
        jobs.command("run", *flags, "--", sys.executable, program),
        cwd=jobs.folder,
        env=jobs.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    jobs.started.append(process)
    return jobs.finish(process)


def test_what_is_loaded_is_recorded_and_training_goes_on(jobs: Jobs) -> None:
    made(jobs)
    program = jobs.write(
        """
        import os
        torch.load("clean.pt")
        steps(5)
        torch.load("marked.pt", weights_only=False)
        steps(5)
        print("DONE", flush=True)
        """,
        train=True,
    )
    done = run(jobs, program)
    assert (done.code, done.verdict) == (0, "broken")
    assert done.out.split(b"\n")[-2:] == [b"DONE", b""]
    (found,) = [one for one in done.shown["findings"] if one["rule"] == "checkpoint-pickle-executes"]
    assert f"{jobs.folder}/marked.pt!" in found["message"]
    assert "checkpoint-executes" in done.rules
    assert done.gaps("about to be loaded") == []


def test_enforce_lets_through_what_is_sound_and_stops_at_what_is_not(jobs: Jobs) -> None:
    made(jobs)
    (jobs.home / "veracity.toml").write_text("\n".join(map(str.strip, PERMIT.splitlines())))
    program = jobs.write(
        """
        import pickle

        class Files(torch.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, index):
                return torch.load("clean.pt")["w"]

        with open("kind.pkl", "rb") as file:
            print(pickle.load(file))
        for batch in torch.utils.data.DataLoader(Files(), batch_size=2, num_workers=1):
            steps(1)
        torch.save({"model": model.state_dict()}, "own.pt")
        torch.load("own.pt")
        steps(3)
        print("SO FAR", flush=True)
        torch.load("marked.pt", weights_only=False)
        print("NOT REACHED")
        """,
        train=True,
    )
    done = run(jobs, program, "--policy", "enforce")
    assert done.out == b"NormalDist(mu=1.0, sigma=2.0)\nSO FAR\n"
    assert done.code == 1
    path = jobs.folder / "marked.pt"
    assert f"LoadRefusedError: {path}: not loaded: checkpoint-pickle-executes: {path}!" in done.err
    assert "checkpoint-executes" not in done.rules
    assert "checkpoint-pickle-executes" in done.rules
    assert "checkpoint-pickle-unknown-global" not in done.rules
