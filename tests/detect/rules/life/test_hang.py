"""Who waits for whom when a job hangs, and the many long pauses that are no hang."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import JobStuck, RankStuck, StackFrame
from veracity.core.origin import monitor_origin
from veracity.core.rule import Severity
from veracity.detect.rules.life.hang import MAX_FINDINGS, Hang

SITE = "/env/lib/python3.11/site-packages/torch"
STEP = StackFrame("/home/u/train.py", 90, "train_step", "loss.backward()")
BACKWARD = [
    StackFrame(f"{SITE}/autograd/graph.py", 979, "_engine_run_backward", ""),
    StackFrame(f"{SITE}/autograd/__init__.py", 395, "backward", ""),
    STEP,
]
REDUCE = [
    StackFrame(f"{SITE}/distributed/distributed_c10d.py", 3100, "all_reduce", ""),
    StackFrame(f"{SITE}/distributed/c10d_logger.py", 83, "wrapper", ""),
    StackFrame("/home/u/train.py", 50, "average", ""),
]
BARRIER = [StackFrame(f"{SITE}/distributed/distributed_c10d.py", 4900, "barrier", ""), STEP]
SLEEP = [StackFrame("/home/u/train.py", 31, "settle", "time.sleep(9999)"), STEP]
LOADER = [
    StackFrame("/usr/lib/python3.11/selectors.py", 415, "select", ""),
    StackFrame("/usr/lib/python3.11/multiprocessing/connection.py", 930, "wait", ""),
    StackFrame(f"{SITE}/utils/data/dataloader.py", 1200, "_try_get_data", ""),
    StackFrame("/home/u/train.py", 12, "main", "for batch in loader:"),
]


def rank(
    number: int,
    frames: Sequence[StackFrame],
    *,
    same: bool = True,
    cpu: int = 0,
    step: int = 11,
    state: str = "S",
) -> RankStuck:
    return RankStuck(number, 100 + number, step, state, cpu, same, list(frames))


def stuck(*ranks: RankStuck, over: bool = False) -> JobStuck:
    return JobStuck(monitor_origin(0), 130_000_000_000, 40_000_000, over, 3, list(ranks))


def judge(*ranks: RankStuck) -> Finding:
    (finding,) = Hang().observe(stuck(*ranks))
    return finding


@pytest.mark.parametrize(
    ("waits", "name"),
    [(BACKWARD, "the collective of backward"), (REDUCE, "all_reduce"), (BARRIER, "barrier")],
)
def test_who_waits_in_which_collective_for_whom(waits: list[StackFrame], name: str) -> None:
    finding = judge(rank(0, waits, step=12), rank(1, SLEEP))
    assert finding.severity is Severity.WARNING
    assert not finding.breaks
    assert f"rank 0 waits in {name} for rank 1" in finding.message
    assert (finding.rank, finding.first_step) == (1, 12)
    assert (finding.locations[0].path, finding.locations[0].line) == ("/home/u/train.py", 31)
    assert "waits in" in finding.evidence[0].observed


def test_many_wait_for_one_that_has_ended_or_was_stopped() -> None:
    finding = judge(*(rank(number, REDUCE) for number in range(12)), rank(12, [], state="gone"))
    assert "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 4 more wait in all_reduce" in finding.message
    assert "rank 12, which has ended" in finding.message
    assert "is stopped" in judge(rank(0, REDUCE), rank(1, REDUCE, state="T")).message


def test_a_rank_that_computes_in_its_backward_pass_does_not_wait() -> None:
    finding = judge(rank(0, BACKWARD), rank(1, BACKWARD, cpu=990))
    assert "for rank 1, which is busy" in finding.message


def test_all_wait_in_different_collectives() -> None:
    finding = judge(rank(0, REDUCE), rank(1, BARRIER))
    assert "different collectives" in finding.message
    finding = judge(rank(0, REDUCE), rank(1, REDUCE))
    assert "another node, or the network" in finding.message
    assert finding.severity is Severity.WARNING


def test_ranks_that_wait_for_an_evaluation_are_a_note() -> None:
    finding = judge(rank(0, SLEEP, same=False, cpu=950), rank(1, BARRIER))
    assert finding.severity is Severity.NOTE
    assert "moves on" in finding.message


@pytest.mark.parametrize("path", ["torch/serialization.py", "torch/distributed/checkpoint/filesystem.py"])
def test_ranks_that_wait_for_a_save_are_a_note(path: str) -> None:
    save = [StackFrame(f"/env/site-packages/{path}", 9, "save", ""), STEP]
    finding = judge(rank(0, save), rank(1, BARRIER))
    assert finding.severity is Severity.NOTE
    assert "rank 1 waits in barrier for rank 0, which works" in finding.message


def test_one_process_is_a_warning_only_when_it_waits_for_its_workers() -> None:
    assert judge(rank(0, LOADER)).severity is Severity.WARNING
    assert judge(rank(0, SLEEP)).severity is Severity.NOTE
    assert judge(rank(0, LOADER, same=False)).severity is Severity.NOTE
    assert judge(rank(0, [])).severity is Severity.NOTE


def test_people_at_a_debugger_do_not_hang() -> None:
    prompt = [StackFrame("/usr/lib/python3.11/pdb.py", 5, "cmdloop", ""), *SLEEP]
    detector = Hang()
    assert list(detector.observe(stuck(rank(0, BARRIER), rank(1, prompt)))) == []
    assert any("debugger" in reason for reason in detector.coverage().reasons)


def test_the_end_of_a_hang_is_said_and_findings_are_bounded() -> None:
    detector = Hang()
    assert list(detector.observe(stuck(over=True))) == []
    assert any("over after 130 s" in reason for reason in detector.coverage().reasons)
    found = [finding for _ in range(99) for finding in detector.observe(stuck(rank(0, LOADER)))]
    assert len(found) == MAX_FINDINGS - 1
    assert list(Hang().observe(stuck())) != []
