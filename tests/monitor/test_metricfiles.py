"""Files of metrics found and read while somebody writes them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.holding import holding
from veracity.core.observation import Gap, LoggedValue, MetricsLogged
from veracity.monitor import metricfiles
from veracity.monitor.metricfiles import MetricFiles


class Watch:
    """Looks at the files of a command, one pass at a time and in this thread."""

    def __init__(self, folder: Path, command: Sequence[str] = ("python", "train.py")) -> None:
        self.files = MetricFiles.of(command, folder)
        self.gaps: list[Gap] = []
        self.held: list[bool] = []

    def read(self, pids: Sequence[int] = ()) -> list[float]:
        """The numbers under ``loss`` that have come since the last time."""
        found: list[LoggedValue] = []
        for one in self.files._pass(list(pids), True):
            if isinstance(one, MetricsLogged):
                found += one.values
                self.held.append(one.held)
            else:
                self.gaps.append(one)
        return [round((value.low + value.high) / 2, 6) for value in found if value.key == "loss"]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    made = Watch(tmp_path)
    yield made
    made.files.close()


def row(loss: float, step: int = 0) -> str:
    return json.dumps({"step": step, "loss": loss}) + "\n"


def test_a_file_that_grows(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "out" / "deep" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    assert watch.read() == []
    with open(path, "w") as file:
        file.write(row(1.5) + row(2.5)[:9])
        file.flush()
        assert watch.read() == [1.5]
        file.write(row(2.5)[9:] + row(3.5))
        file.flush()
        assert watch.read() == [2.5, 3.5]
    assert watch.read() == []
    assert watch.held == [False, False]


def test_a_file_held_open_outside_the_folders(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "log.csv"
    path.write_text("step,loss\n1,2.5\n")
    with holding({path: "a"}) as pid:
        assert watch.read() == []
        assert watch.read([pid]) == [2.5]
    assert watch.held == [True]


def test_a_folder_named_on_the_command_line(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    noise = [f"--n{number}={number}" for number in range(60)]
    watch = Watch(
        tmp_path, ["python", "train.py", *noise, f"--out={elsewhere}", "--log", str(elsewhere / "new-1.5")]
    )
    (elsewhere / "new-1.5").mkdir()
    (elsewhere / "new-1.5" / "metrics.jsonl").write_text(row(1.5))
    assert watch.read() == [1.5]
    watch.files.close()


def test_what_was_there_before_is_not_the_jobs(tmp_path: Path) -> None:
    appended, untouched, anew = (tmp_path / f"{name}.jsonl" for name in ("appended", "untouched", "anew"))
    for path in (appended, untouched, anew):
        path.write_text("".join(row(9.5, step) for step in range(20)))
    watch = Watch(tmp_path)
    with open(appended, "a") as file:
        file.write(row(1.5))
    anew.write_text("".join(row(3.5, step) for step in range(40)))
    assert sorted(watch.read()) == [1.5, *[3.5] * 40]
    assert watch.gaps == []
    watch.files.close()


def test_columns_named_before_the_job_began(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,9.5\n")
    watch = Watch(tmp_path)
    with open(path, "a") as file:
        file.write("2,1.5\n")
    assert watch.read() == [1.5]
    watch.files.close()


def test_truncated_and_renamed_files(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(row(1.25) + row(1.5))
    assert watch.read() == [1.25, 1.5]
    path.write_text(row(2.5))
    assert watch.read() == [2.5]
    with open(path, "a") as file:
        os.rename(path, tmp_path / "metrics.jsonl.1")
        file.write(row(3.5))
    path.write_text(row(4.5))
    assert watch.read() == [3.5]
    assert watch.read() == []
    assert watch.read() == [4.5]


def test_a_state_file_that_is_written_anew(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    rows = [{"loss": 1.5, "step": 1}]
    for loss in (2.5, 3.5):
        beside = tmp_path / "new"
        beside.write_text(json.dumps({"log_history": rows}))
        beside.rename(path)
        rows.append({"loss": loss, "step": 2})
        assert watch.read() == [rows[-2]["loss"]]
    assert watch.read() == []


def test_links_pipes_and_folders_are_left_alone(
    watch: Watch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.jsonl"
    secret.write_text(row(1.5))
    (tmp_path / "link.jsonl").symlink_to(secret)
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder").symlink_to(secret.parent)
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert watch.read() == []
    assert watch.gaps == []


def test_how_much_is_read_is_bounded(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metricfiles, "MAX_LOOK", 100)
    monkeypatch.setattr(metricfiles, "MAX_RUN", 250)
    (tmp_path / "metrics.jsonl").write_text("".join(row(1.5, step) for step in range(1000)))
    passes = [len(watch.read()) for _ in range(6)]
    assert passes[:2] == [4, 4]
    assert sum(passes) < 12
    assert passes[-2:] == [0, 0]
    assert [gap.law for gap in watch.gaps] == ["reported-computed"]


def test_many_files_are_bounded(watch: Watch, tmp_path: Path) -> None:
    for number in range(metricfiles.MAX_FILES + 20):
        (tmp_path / f"m{number}.jsonl").write_text(row(1.5))
    assert len(watch.read()) == metricfiles.MAX_FILES


def test_damage_is_a_gap_once(watch: Watch, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(b"\1" * 100)
    watch.read()
    watch.read()
    (gap,) = watch.gaps
    assert "checksum" in gap.reason
    assert not gap.stops


def test_a_reader_that_fails_costs_its_file(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, data: bytes) -> Iterator[LoggedValue]:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("veracity.observe.metrics.trainerstate.TrainerState.feed", fail)
    (tmp_path / "trainer_state.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text(row(1.5))
    assert watch.read() == [1.5]
    assert "ZeroDivisionError" in watch.gaps[0].reason


def test_looks_and_the_last_one(tmp_path: Path) -> None:
    files = MetricFiles.of(["python"], tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text(row(1.5))
    found = [*files.look([os.getpid()])]
    with open(path, "a") as file:
        file.write(row(2.5))
    found += files.last()
    values = [value for one in found if isinstance(one, MetricsLogged) for value in one.values]
    assert [(value.low + value.high) / 2 for value in values] == pytest.approx([1.5, 2.5])


@pytest.mark.parametrize(
    ("took", "calm", "looks", "searches"),
    [(0.0, False, 120, 12), (0.0, True, 12, 12), (0.02, False, 120, 3), (0.02, True, 12, 3)],
)
def test_how_often_it_looks_and_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, calm: bool, looks: int, searches: int
) -> None:
    """In a minute; ``took`` s is what a search costs."""
    files = MetricFiles.of(["python", "train.py"], tmp_path)
    now = 1000.0
    passes: list[bool] = []

    def noted(_: MetricFiles, __: list[int], search: bool) -> list[MetricsLogged | Gap]:
        passes.append(search)
        return []

    monkeypatch.setattr("veracity.monitor.metricfiles.time.monotonic", lambda: now)
    monkeypatch.setattr(MetricFiles, "_pass", noted)
    files._search_took = took
    for _ in range(1200):
        list(files.look([], calm=calm))
        if files._running is not None:
            files._running.result()
        now += 0.05
    files.close()
    assert abs(len(passes) - looks) <= 0.1 * looks + 1
    assert abs(sum(passes) - searches) <= 1


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed from now on; what was listed is kept at once."""
    folders: list[str] = []
    listing = os.scandir

    def noted(folder: str) -> object:
        folders.append(os.path.basename(folder))
        return listing(folder)

    monkeypatch.setattr(metricfiles, "SETTLED", TICK)
    monkeypatch.setattr(os, "scandir", noted)
    return folders


TICK = 20_000_000
"""More than the file system's times may lie behind, in ns."""


def pause() -> None:
    time.sleep(2e-9 * TICK)


def test_only_folders_that_changed_are_listed_again(watch: Watch, tmp_path: Path, listed: list[str]) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "metrics.jsonl").write_text(row(1.0))
    pause()
    assert watch.read() == [1.0]
    assert len(listed) == 3
    listed.clear()
    assert watch.read() == []
    assert listed == []
    (tmp_path / "a" / "metrics.jsonl").write_text(row(1.0) + row(2.0))
    (tmp_path / "a" / "b" / "metrics.jsonl").write_text(row(3.0))
    assert watch.read() == [2.0, 3.0]
    assert listed == ["b"]


def test_a_folder_that_has_just_changed_is_listed_again(
    watch: Watch, tmp_path: Path, listed: list[str]
) -> None:
    """Its times come in ticks: a second change within one would not show."""
    for number in range(5):
        (tmp_path / f"metrics-{number}.jsonl").write_text(row(number))
        assert watch.read() == [number]
    assert len(listed) == 5


def test_a_folder_that_became_a_link_is_not_followed(
    watch: Watch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, listed: list[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "metrics.jsonl").write_text(row(7.0))
    (tmp_path / "a").mkdir()
    pause()
    assert watch.read() == []
    (tmp_path / "a").rmdir()
    (tmp_path / "a").symlink_to(elsewhere)
    listed.clear()
    assert watch.read() == []
    assert "a" not in listed


def test_all_folders_are_listed_again_now_and_then(
    watch: Watch, tmp_path: Path, listed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all file systems tell that a folder has changed."""
    monkeypatch.setattr(metricfiles, "LIST_AGAIN", 3)
    (tmp_path / "a").mkdir()
    pause()
    for _ in range(6):
        watch.read()
    assert listed.count("a") in (2, 3)
