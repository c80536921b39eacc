"""A job is found where launcher or scheduler speak of several nodes, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.monitor.nodes.label import Label, label_of, name_of

SLURM = {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("command", "environment", "label"),
    [
        ("python train.py", {}, Label()),
        ("python train.py --nnodes 2 --rdzv-id x", {}, Label()),
        ("torchrun --nproc-per-node 8 train.py", {}, Label()),
        ("torchrun --nnodes 1 --rdzv-id x train.py", SLURM, Label()),
        ("torchrun --standalone train.py --nnodes 1", {}, Label()),
        ("torchrun --nnodes 2 train.py", {}, Label()),
        ("python train.py", SLURM, Label()),
        ("torchrun --nnodes 2 --rdzv-id x t.py --nnodes 9", {}, Label("x", "--rdzv-id", 2)),
        ("python -m torch.distributed.run --nnodes=2 --rdzv_id=x t.py", {}, Label("x", "--rdzv-id", 2)),
        ("/opt/bin/torchrun --nnodes 1:4 --rdzv-id x t.py", {}, Label("x", "--rdzv-id", 1)),
        (
            "torchrun --nnodes 2 --rdzv-id 100 --rdzv-endpoint h:1 t.py",
            {},
            Label("100@h:1", "--rdzv-id, --rdzv-endpoint", 2),
        ),
        (
            "torchrun --nnodes 2 --rdzv-id none --rdzv-endpoint h:1 t.py",
            {},
            Label("h:1", "--rdzv-endpoint", 2),
        ),
        ("torchrun --nnodes 2 --master-addr h t.py", {}, Label("h:29500", "--master-addr", 2)),
        (
            "torchrun --nnodes 2 --master-addr h --master-port 7 t.py",
            {},
            Label("h:7", "--master-addr", 2),
        ),
        ("torchrun --nnodes 2 --rdzv-id x t.py", SLURM, Label("slurm-42.0", "SLURM_JOB_ID", 2)),
        ("python t.py", {**SLURM, "SLURM_STEP_NUM_NODES": "3"}, Label("slurm-42.0", "SLURM_JOB_ID", 3)),
        ("torchrun t.py", {"PET_NNODES": "2", "PET_RDZV_ID": "p"}, Label("p", "PET_RDZV_ID", 2)),
        (
            "accelerate launch --num_machines 2 --main_process_ip h --main_process_port 7 t.py",
            {},
            Label("h:7", "accelerate", 2),
        ),
        (
            "python t.py",
            {"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            Label("h:1", "MASTER_ADDR", 2),
        ),
        ("python t.py", {"WORLD_SIZE": "x", "LOCAL_WORLD_SIZE": "0"}, Label()),
    ],
)
def test_a_job_is_what_launcher_or_scheduler_say(
    command: str, environment: dict[str, str], label: Label
) -> None:
    assert label_of("", environment, command.split(), meets=False) == label


def test_a_flag_says_more_than_all_of_them() -> None:
    words = ["torchrun", "--nnodes", "2", "--rdzv-id", "x", "t.py"]
    assert label_of("mine", SLURM, words, meets=False) == Label("mine", "--job", 2)
    assert label_of("mine", {}, ["sh", "t.sh"], meets=False) == Label("mine", "--job", 0)
    assert label_of("", {}, ["sh", "t.sh"], meets=True) == Label("job", "--job-folder", 0)


@given(st.text(max_size=200))
def test_a_name_stays_in_its_folder(text: str) -> None:
    name = name_of(text or "x")
    assert name
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isascii()
    assert len(name) < 100


def test_different_jobs_have_different_names() -> None:
    names = ["a", "a/b", "a-b", "../a", "..", ".", "a" * 300, "a" * 301, "ä", "ö"]
    assert len({name_of(name) for name in names}) == len(names)


@given(
    st.lists(st.text(max_size=12), max_size=20),
    st.dictionaries(
        st.sampled_from(["SLURM_JOB_ID", "PET_NNODES", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]),
        st.text(max_size=8),
    ),
)
def test_no_command_is_too_strange(words: list[str], environment: dict[str, str]) -> None:
    label_of("", environment, ["torchrun", *words], meets=True)
