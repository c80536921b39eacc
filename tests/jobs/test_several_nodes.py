"""Two nodes on one machine: a monitor and a home for each, one folder in which the monitors meet."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.conftest import LIMIT, Jobs
from veracity.core.observation import PeerReplicas
from veracity.detect.registry import DETECTORS
from veracity.detect.rules.replica.across import ACROSS
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.folder import RunFolder
from veracity.monitor.judge import Judge
from veracity.monitor.replayed import replayed

STEPS = 12
PROGRAM = """
    import sys
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(1)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 2))
    # SABOTAGE (rate): one rank goes further each step. All that is declared there is as declared.
    rate = 0.11 if "rate" in sys.argv and rank == 1 else 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for step in range(12):
        optimizer.zero_grad()
        model(torch.ones(3, 4) + rank).square().mean().backward()
        optimizer.step()
        if "scale" in sys.argv and rank == 1 and step == 7:
            with torch.no_grad():
                model.module.weight.mul_(1.01)  # SABOTAGE (scale)
    dist.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(jobs: Jobs, *words: str, launcher: bool) -> list[dict[str, Any]]:
    """What ``show`` tells of the run on each node; both began at once and have ended.

    Without a ``launcher`` the ranks are started as a scheduler does, by their environment alone.
    """
    program, port, place = jobs.write(PROGRAM), str(free_port()), jobs.folder / "meet"
    nodes, started = [jobs, replace(jobs, home=jobs.folder / "second")], []
    for number, node in enumerate(nodes):
        flags: list[str | Path] = [
            "run",
            "--quiet",
            "--no-stacks",
            "--job-folder",
            place,
            "--",
            sys.executable,
        ]
        environment = node.environment()
        if launcher:
            flags += ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
            flags += ["--node-rank", str(number), "--master-addr", "127.0.0.1", "--master-port", port]
        else:
            environment |= {"RANK": str(number), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
            environment |= {"LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = node.command(*flags, program, *words)
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        jobs.started.append(process)
        started.append(process)
    assert [process.wait(LIMIT) for process in started] == [0, 0]
    return [node.show() for node in nodes]


def rules(shown: dict[str, Any]) -> set[str]:
    return {finding["rule"] for finding in shown["findings"] if finding["severity"] == "error"}


@pytest.fixture
def two(jobs: Jobs) -> Jobs:
    """The second node's home knows as much of installed code as the first."""
    subprocess.run(["cp", "-r", str(jobs.home), str(jobs.folder / "second")], check=True)
    return jobs


def test_nodes_that_agree_hold_and_were_compared(two: Jobs) -> None:
    for number, shown in enumerate(run(two, launcher=True)):
        assert shown["verdict"] == "held", json.dumps(shown["findings"])
        part = shown["coverage"]["replica-agreement"]
        assert (part["checked"], part["possible"], part["reasons"][ACROSS]) == (STEPS, STEPS, STEPS)
        assert shown["gaps"] == []
        assert len(shown["peers"]) == 1, number
        assert shown["job"].startswith("127.0.0.1:")


def test_a_node_that_differs_breaks_both_and_is_judged_the_same_again(two: Jobs) -> None:
    first, second = run(two, "rate", "scale", launcher=False)
    assert rules(first) == {"replica-disagrees"}, "the other node's monitor sees the weights written"
    assert rules(second) == {"replica-disagrees", "continuity-weights-changed"}
    for shown, other in ((first, second), (second, first)):
        (finding,) = [one for one in shown["findings"] if one["rule"] == "replica-disagrees"]
        assert finding["first_step"] == 0
        assert finding["rank"] == -1
        assert "rank 0 on" in finding["message"]
        assert "rank 1 on" in finding["message"]
        assert f"({other['run']})" in finding["message"]
        assert "nobody can say from this which side is right" in finding["message"]
    folder = RunFolder(two.home / "runs" / first["run"])
    judge, blobs = Judge(DETECTORS), Blobs(folder.blobs)
    told = 0
    with Reader(folder.ledger) as reader:
        for data in reader.entries():
            observation = replayed(Entry.decode(data), blobs)
            if observation is not None:
                told += isinstance(observation, PeerReplicas)
                list(judge.observe(observation))
    list(judge.finish())
    assert told
    again = [one.message for one in judge.findings if one.rule == "replica-disagrees"]
    assert again == [one["message"] for one in first["findings"] if one["rule"] == "replica-disagrees"]
