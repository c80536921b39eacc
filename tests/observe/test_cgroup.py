"""Control groups of both versions, in simulated trees and, where this machine allows it, in real ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.cgroup import Groups, Mount, parse_membership, parse_mounts

PID = 41
V2 = b"29 23 0:26 / %s rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = b"30 23 0:27 / %s rw - cgroup cgroup rw,%s\n"


def files(folder: Path, **texts: str) -> None:
    """``cpu__max="…"`` writes ``cpu.max``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


def member(proc: Path, text: str) -> str:
    files(proc / str(PID), cgroup=text)
    return str(proc)


@pytest.fixture
def unified(tmp_path: Path) -> tuple[Groups, Path]:
    """A version 2 tree with the process in ``/jobs/one``."""
    tree = tmp_path / "cgroup"
    proc = member(tmp_path / "proc", "0::/jobs/one\n")
    return Groups(parse_mounts(V2 % str(tree).encode()), proc), tree


def test_version_two(unified: tuple[Groups, Path]) -> None:
    groups, tree = unified
    stat = "usage_usec 5\nnr_periods 40\nnr_throttled 12\nthrottled_usec 900\n"
    files(
        tree / "jobs" / "one",
        cpu__max="150000 100000\n",
        cpu__stat=stat,
        cgroup__events="populated 1\nfrozen 1\n",
        memory__events="low 0\nhigh 7\noom_kill 1\n",
    )
    group = groups.membership(PID)
    assert group is not None
    assert group.name == "/jobs/one"
    state = groups.read(group)
    assert (state.quota, state.periods, state.throttled, state.throttled_ns) == (1500, 40, 12, 900_000)
    assert (state.frozen, state.reclaimed) == (True, 7)


def test_the_tightest_limit_on_the_way_up_counts(unified: tuple[Groups, Path]) -> None:
    groups, tree = unified
    files(tree / "jobs" / "one", cpu__max="max 100000\n", cpu__stat="nr_periods 0\nnr_throttled 0\n")
    files(
        tree / "jobs", cpu__max="50000 100000\n", cpu__stat="nr_periods 9\nnr_throttled 8\nthrottled_usec 3\n"
    )
    group = groups.membership(PID)
    assert group is not None
    state = groups.read(group)
    assert (state.quota, state.periods, state.throttled) == (500, 9, 8)


def test_no_limit_and_no_files_are_no_numbers(unified: tuple[Groups, Path]) -> None:
    groups, _ = unified
    group = groups.membership(PID)
    assert group is not None
    state = groups.read(group)
    assert (state.quota, state.periods, state.frozen, state.reclaimed) == (None, 0, None, 0)


def test_version_one(tmp_path: Path) -> None:
    cpu, freezer = tmp_path / "cpu", tmp_path / "freezer"
    mounts = V1 % (str(cpu).encode(), b"cpu,cpuacct") + V1 % (str(freezer).encode(), b"freezer")
    proc = member(tmp_path / "proc", "7:freezer:/cold\n4:cpu,cpuacct:/slow\n0::/\n")
    files(cpu / "slow", cpu__cfs_quota_us="20000", cpu__cfs_period_us="100000")
    files(cpu / "slow", cpu__stat="nr_periods 3\nnr_throttled 2\nthrottled_time 77\n")
    files(freezer / "cold", freezer__state="FROZEN\n")
    groups = Groups(parse_mounts(mounts), proc)
    group = groups.membership(PID)
    assert group is not None
    assert dict(group.names) == {"cpu": "/slow", "freezer": "/cold", "unified": "/"}
    state = groups.read(group)
    assert (state.quota, state.throttled, state.throttled_ns, state.frozen) == (200, 2, 77, True)
    files(freezer / "cold", freezer__state="THAWED\n")
    assert groups.read(group).frozen is False
    files(cpu / "slow", cpu__cfs_quota_us="-1")
    assert groups.read(group).quota is None


def test_a_container_that_names_its_group_otherwise_than_it_mounts_it(tmp_path: Path) -> None:
    tree = tmp_path / "cgroup"
    files(tree, cpu__max="100000 100000\n", cpu__stat="nr_periods 1\nnr_throttled 1\n")
    proc = member(tmp_path / "proc", "0::/somewhere/else\n")
    groups = Groups({"unified": Mount(str(tree), "/docker/abc")}, proc)
    group = groups.membership(PID)
    assert group is not None
    assert groups.read(group).quota == 1000


@pytest.mark.parametrize("text", ["", "0::/../../escape\n", "nonsense", "0::relative\n"])
def test_memberships_that_say_nothing(tmp_path: Path, text: str) -> None:
    proc = member(tmp_path / "proc", text)
    groups = Groups({"unified": Mount(str(tmp_path), "/")}, proc)
    assert groups.membership(PID) is None
    assert groups.membership(PID + 1) is None


@given(st.binary(max_size=300))
def test_any_bytes_may_stand_in_the_files(data: bytes) -> None:
    assert all(path.startswith("/") for path in parse_membership(data).values())
    assert set(parse_mounts(data)) <= {"cpu", "freezer", "memory", "unified"}


@pytest.fixture
def real_freezer() -> Iterator[Path]:
    folder = Path("/sys/fs/cgroup/freezer/veracity-test-group")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("control groups cannot be made here")
    if not (folder / "freezer.state").exists():
        folder.rmdir()
        pytest.skip("no freezer of version 1 here")
    yield folder
    (folder / "freezer.state").write_text("THAWED")
    folder.rmdir()


def test_a_real_freezer(real_freezer: Path) -> None:
    groups = Groups.of_this_machine()
    here = groups.membership(os.getpid())
    assert here is not None
    group = type(here)(here.names, (), str(real_freezer), "")
    assert groups.read(group).frozen is False
    (real_freezer / "freezer.state").write_text("FROZEN")
    assert groups.read(group).frozen is True
