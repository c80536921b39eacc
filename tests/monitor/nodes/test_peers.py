"""What monitors of one job say to each other: all of it arrives, and who is missing is said, not accused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.detect.rules.replica.test_across import says
from veracity.core import observation as seen
from veracity.core.origin import Origin, Trust
from veracity.monitor.folder import RunFolder, create_folder
from veracity.monitor.nodes import joining, peers
from veracity.monitor.nodes.joining import Joined, join
from veracity.monitor.nodes.meeting import meet
from veracity.monitor.nodes.ownranks import OwnRanks
from veracity.monitor.nodes.peers import Peers

RUN = "run-20260101-000000-{:06x}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "VISIT_EVERY", 0.01)
    monkeypatch.setattr(peers, "WAIT", 1.0)


def monitor(folder: Path, number: int, nodes: int = 2) -> Peers:
    origin = Origin("--job", Trust.SELF_REPORT, 0, -1, -1, 0)
    joined = seen.JobJoined(origin, "j", "--job", f"node{number}", nodes)
    return Peers(meet(folder), joined, RUN.format(number), time.time_ns())


def until(one: Peers, enough: Callable[[list[seen.Observation]], bool]) -> list[seen.Observation]:
    """What a monitor hears until it is enough."""
    heard: list[seen.Observation] = []
    deadline = time.monotonic() + 20
    while not enough(heard):
        assert time.monotonic() < deadline, heard
        heard += one.look()
        time.sleep(0.005)
    return heard


def steps_in(heard: list[seen.Observation]) -> list[int]:
    return [step.step for one in heard if isinstance(one, seen.PeerReplicas) for step in one.steps]


def gaps_in(heard: list[seen.Observation]) -> list[str]:
    return [one.what for one in heard if isinstance(one, seen.Gap)]


def test_two_monitors_hear_all_of_each_other(tmp_path: Path) -> None:
    one, two = monitor(tmp_path / "j", 1), monitor(tmp_path / "j", 2)
    for at, each in enumerate((one, two)):
        for observation in says(2, at, range(30)):
            each.take(observation)
    until(two, lambda _: (tmp_path / "j" / f"node2-{RUN.format(2)}.replicas").exists())
    heard = until(one, lambda heard: len(steps_in(heard)) == 30)
    assert steps_in(heard) == list(range(30))
    (told,) = {(item.origin.source, item.origin.trust) for item in heard}
    assert told == (RUN.format(2), Trust.USERLAND)
    until(two, lambda heard: len(steps_in(heard)) == 30)
    for observation in says(2, 1, range(30, 32)):
        two.take(observation)
    began = time.monotonic()
    assert gaps_in(list(two.last())) == [f"node1 ({RUN.format(1)}) has not said that it is done"]
    assert time.monotonic() - began < 10
    two.close("broken")
    heard = list(one.last())
    assert steps_in(heard) == [30, 31]
    assert [item.state for item in heard if isinstance(item, seen.PeerSeen)] == ["done", "broken"]
    assert gaps_in(heard) == ["the run on node2 ended broken"]


def test_a_node_that_never_came(tmp_path: Path) -> None:
    began = time.monotonic()
    assert gaps_in(list(monitor(tmp_path / "j", 1, 3).last())) == ["of the 3 nodes of job j, 1 met"]
    assert time.monotonic() - began < 5


def test_without_a_number_of_nodes_nobody_is_missed(tmp_path: Path) -> None:
    assert list(monitor(tmp_path / "j", 1, 0).last()) == []


def test_what_lies_in_the_folder_and_is_none_of_it_is_told_once(tmp_path: Path) -> None:
    one = monitor(tmp_path / "j", 1, 0)
    os.mkfifo(tmp_path / "j" / f"x-{RUN.format(9)}.replicas")
    heard = until(one, lambda heard: bool(heard)) + list(one.last())
    assert gaps_in(heard) == [f"what another monitor says is not read: x-{RUN.format(9)}.replicas"]


def test_a_folder_that_is_gone_costs_no_more_than_sight(tmp_path: Path) -> None:
    one = monitor(tmp_path / "j", 1, 0)
    (tmp_path / "j" / "key").unlink()
    (tmp_path / "j").rmdir()
    assert gaps_in(list(one.last())) == ["the folder of the job cannot be used"]
    one.close("held")


def test_a_folder_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = monitor(tmp_path / "j", 1, 0)
    monkeypatch.setattr(Peers, "_visited", lambda *_: None)
    began = time.monotonic()
    assert gaps_in(list(one.last())) == ["the folder of the job does not answer"]
    one.close("held")
    assert time.monotonic() - began < 10


def test_a_fault_of_ours_costs_no_more_than_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(*_: object) -> None:
        raise ZeroDivisionError

    one = monitor(tmp_path / "j", 1, 0)
    monkeypatch.setattr(OwnRanks, "take", take)
    one.take(says(2, 0, range(1))[0])
    heard = until(one, bool)
    assert gaps_in(heard) == ["other nodes are not told what the ranks here hold"]
    assert list(one.last()) == []


# --- joining -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_folder(tmp_path / "home", time.time_ns())


def joined(folder: RunFolder, command: str, *, job: str = "", place: Path | None = None) -> Joined:
    return join(folder, time.time_ns(), command.split(), {}, job=job, place=place)


def test_a_run_of_one_node_is_what_it_was(folder: RunFolder) -> None:
    assert joined(folder, "torchrun --nproc-per-node 2 train.py") == Joined()
    assert sorted(os.listdir(folder.home)) == ["runs"]


def test_runs_of_one_job_share_a_key(folder: RunFolder) -> None:
    command = "torchrun --nnodes 2 --rdzv-id a/b train.py"
    one, two = joined(folder, command), joined(folder, command)
    assert one.key == two.key
    (said,) = one.said
    assert isinstance(said, seen.JobJoined)
    assert (said.job, said.named, said.nodes) == ("a/b", "--rdzv-id", 2)
    assert said.origin.trust is Trust.SELF_REPORT
    (place,) = (folder.home / "jobs").iterdir()
    assert place.name.startswith("a-b-")


def test_a_folder_that_cannot_be_trusted_leaves_the_run_alone(folder: RunFolder, tmp_path: Path) -> None:
    place = tmp_path / "shared"
    place.mkdir(mode=0o700)
    place.chmod(0o777)
    alone = joined(folder, "sh train.sh", place=place)
    assert (alone.peers, alone.key) == (None, b"")
    (gap,) = alone.said
    assert isinstance(gap, seen.Gap)
    assert not gap.stops
    assert "others may write" in gap.reason


def test_a_file_system_that_hangs_does_not_keep_the_job(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MEET_SECONDS", 0.1)
    monkeypatch.setattr(joining, "meet", lambda _: time.sleep(3))
    (gap,) = joined(folder, "sh train.sh", job="j").said
    assert isinstance(gap, seen.Gap)
    assert "does not answer" in gap.reason
