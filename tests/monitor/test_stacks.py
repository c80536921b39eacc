from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.observation import StackSampled
from veracity.monitor import stacks
from veracity.monitor.stacks import (
    MAX_FRAMES,
    SHORT_SLEEPS,
    WARM_STEPS,
    Stacks,
    find_py_spy,
    read_frames,
)
from veracity.observe import process


def dump(*frames: object, thread: int = 7) -> bytes:
    other = {"os_thread_id": 1, "frames": [{"name": "other"}]}
    return json.dumps([other, {"os_thread_id": thread, "frames": list(frames)}]).encode()


def test_the_main_threads_frames_with_their_lines(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import time\n\n    time.sleep(1)  # " + "x" * 1000)
    found = read_frames(dump({"filename": str(script), "line": 3, "name": "step"}, {"name": "main"}), 7)
    assert [(one.path, one.line, one.function) for one in found] == [
        (str(script), 3, "step"),
        ("", 0, "main"),
    ]
    assert found[0].source.startswith("time.sleep(1)  # xxx")
    assert len(found[0].source) == 300
    assert read_frames(dump(thread=8), 7) == []


@pytest.mark.parametrize("line", [0, -1, 4, 10**400, True, 1.5, "3", None])
def test_a_line_the_file_does_not_have_is_empty(tmp_path: Path, line: object) -> None:
    script = tmp_path / "train.py"
    script.write_text("one\ntwo\nthree")
    (frame,) = read_frames(dump({"filename": str(script), "line": line}), 7)
    assert frame.source == ""


def test_a_file_that_is_none_is_not_read_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (
        str(tmp_path / "pipe"),
        "/dev/zero",
        str(tmp_path),
        "/none.py",
        "/a\0b",
        "/\ud800",
        "train.py",
        "<string>",
    ):
        (frame,) = read_frames(dump({"filename": name, "line": 1}), 7)
        assert frame.source == ""


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"null", b"{}", b"3", b"[null, 3, []]", b"[" * 100_000, b"1" * 5000,
        b'[{"os_thread_id": 7}]', b'[{"os_thread_id": 7, "frames": null}]',
        b'[{"os_thread_id": 7, "frames": {}}]',
        b'[{"os_thread_id": 7, "frames": "abc"}]', b'[{"os_thread_id": 7, "frames": [null, 1, []]}]',
        b'[{"os_thread_id": [7], "frames": []}]',
    ],
)  # fmt: skip
def test_malformed_output_has_no_frames(data: bytes) -> None:
    assert read_frames(data, 7) == []


def test_frames_are_bounded() -> None:
    assert len(read_frames(dump(*[{"name": "f"}] * 1000), 7)) == MAX_FRAMES


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["filename", "line", "name"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=4) | VALUES)
@settings(max_examples=examples(60))
def test_no_output_raises(frames: object) -> None:
    found = read_frames(json.dumps([{"os_thread_id": 7, "frames": frames}]).encode(), 7)
    assert all(isinstance(one.function, str) for one in found)


class Clock:
    """A clock that the test moves, where the module looks for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


class Chance:
    """The same answer each time."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value

    def uniform(self, low: float, high: float) -> float:
        return low + self.value * (high - low)


class Watched:
    """A process whose wait channel and stack the test decides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.clock = Clock()
        self.wchan = ""
        self.brief = False
        self.output = folder / "output.json"
        self.output.write_bytes(dump({"name": "slow", "line": 3}, thread=os.getpid()))
        self.program = folder / "py-spy"
        self.program.write_text(f"#!/bin/sh\nexec cat '{self.output}'\n")
        self.program.chmod(0o700)
        monkeypatch.setattr(stacks, "time", self.clock)
        monkeypatch.setattr(process, "read_wchan", self.waits)
        self.ran = 5
        monkeypatch.setattr(process, "read_schedule", lambda pid: process.Schedule(self.ran, 0))
        self.stacks = Stacks(str(self.program))

    def waits(self, _pid: int) -> str:
        """What the main thread waits for; one that is ``brief`` wakes once it was asked."""
        wchan = self.wchan
        self.wchan = "" if self.brief else wchan
        return wchan

    def steps(self, count: int, seconds: float = 0.1, first: int = 0) -> None:
        for step in range(first, first + count):
            self.clock.now += seconds
            self.stacks.stepped(os.getpid(), 2, step)

    def stands_at(self, script: Path, line: str) -> None:
        """The main thread is at this line of a script."""
        script.write_text(f"{line}\n")
        frame = {"name": "slow", "filename": str(script), "line": 1}
        self.output.write_bytes(dump(frame, thread=os.getpid()))

    def look(self, wait: float = 0.0, wchan: str = "") -> list[StackSampled]:
        self.clock.now += wait
        self.wchan = wchan
        return list(self.stacks.look())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watched:
    return Watched(monkeypatch, tmp_path)


def test_a_sleep_is_sampled_when_it_ends(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 1)
    for wait in (0.0, 0.05, 0.05):
        assert watched.look(wait, "hrtimer_nanosleep") == []
    (sample,) = watched.look(0.02)
    assert sample.asleep
    assert sample.after_step == WARM_STEPS
    assert sample.origin.rank == 2
    assert abs(sample.span - 120_000_000) < 1000
    assert sample.frames[0].function == "slow"
    assert watched.look() == []


def test_a_sleep_is_not_made_longer_by_a_look_that_comes_late(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 1)
    watched.look(0.0, "hrtimer_nanosleep")
    watched.look(0.03, "hrtimer_nanosleep")
    (sample,) = watched.look(5.0)
    assert abs(sample.span - 50_000_000) < 1000


def test_two_sleeps_are_told_apart_by_what_ran_between_them(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 1)
    watched.look(0.0, "hrtimer_nanosleep")
    assert watched.look(0.03, "hrtimer_nanosleep") == []
    watched.ran += 1
    (sample,) = watched.look(0.4, "hrtimer_nanosleep")
    assert abs(sample.span - 50_000_000) < 1000
    (second,) = watched.look(0.001)
    assert abs(second.span - 1_000_000) < 1000


@pytest.mark.parametrize(("line", "certain"), [("time.sleep(0.1)", True), ("x = f()", False)])
def test_a_stack_read_after_the_sleep_counts_only_where_its_line_sleeps(
    watched: Watched, tmp_path: Path, line: str, certain: bool
) -> None:
    watched.stands_at(tmp_path / "train.py", line)
    watched.steps(WARM_STEPS + 1)
    watched.brief = True
    assert watched.look(0.0, "hrtimer_nanosleep") == []
    assert len(watched.look(0.03)) == certain


def test_a_late_step_that_falls_asleep_while_its_stack_is_read(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched.stands_at(tmp_path / "train.py", "time.sleep(0.1)")
    watched.steps(WARM_STEPS + 2)
    answers = iter(["", "hrtimer_nanosleep", "hrtimer_nanosleep", ""])
    monkeypatch.setattr(process, "read_wchan", lambda pid: next(answers))
    assert watched.look(0.2) == []
    assert watched.look(0.03) == []
    (sample,) = watched.look(0.04)
    assert sample.asleep
    assert abs(sample.span - 50_000_000) < 1000


def test_a_step_that_is_late_is_sampled_less_and_less_often(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 2)
    assert watched.look(0.1) == []
    (sample,) = watched.look(0.1)
    assert not sample.asleep
    assert watched.look(0.01) == []
    assert len(watched.look(0.2)) == 1


def test_no_step_is_late_while_the_guard_rests(watched: Watched) -> None:
    """How long a rest lasts teaches nothing of how long a step does either."""
    watched.steps(WARM_STEPS + 2)
    watched.stacks.rests(os.getpid())
    assert watched.look(5.0) == []
    watched.steps(1, first=WARM_STEPS + 2)
    assert watched.look(0.1) == []
    assert len(watched.look(0.1)) == 1


def test_the_first_steps_are_not_sampled_and_then_a_short_sleep_is(watched: Watched) -> None:
    watched.steps(WARM_STEPS)
    assert watched.look(10.0, "hrtimer_nanosleep") == []
    watched.steps(1, first=WARM_STEPS)
    assert watched.look(0.0, "hrtimer_nanosleep") == []
    assert len(watched.look(0.001)) == 1


def missed(watched: Watched) -> None:
    """Sleeps that were over before their stack was read."""
    watched.brief = True
    for _ in range(SHORT_SLEEPS):
        assert watched.look(0.02, "hrtimer_nanosleep") == []
        assert watched.look(0.02) == []
    watched.brief = False


def test_sleeps_that_were_missed_are_charged_to_the_line_that_is_read_next(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "_CHANCE", Chance(0.0))
    watched.steps(WARM_STEPS + 1)
    missed(watched)
    assert watched.look(0.02, "hrtimer_nanosleep") == []
    (sample,) = watched.look(0.02)
    assert abs(sample.span - 20_000_000) < 1000
    assert abs(sample.unread - SHORT_SLEEPS * 20_000_000) < 1000
    watched.look(0.02, "hrtimer_nanosleep")
    (sample,) = watched.look(0.02)
    assert sample.unread == 0, "what was charged once is not charged again"


@pytest.mark.parametrize(("line", "certain"), [("time.sleep(0.01)", True), ("x = f()", False)])
def test_others_are_read_a_while_after_where_only_a_line_that_sleeps_counts(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, certain: bool
) -> None:
    monkeypatch.setattr(stacks, "_CHANCE", Chance(1.0))
    watched.steps(WARM_STEPS + 1)
    missed(watched)
    watched.stands_at(tmp_path / "train.py", line)
    assert watched.look(0.02, "hrtimer_nanosleep") == []
    assert watched.look(0.02) == []
    found = watched.look(0.02)
    assert [(one.asleep, one.span, round(one.unread, -4)) for one in found] == [
        (True, 0, (SHORT_SLEEPS + 1) * 20_000_000)
    ] * certain


def test_a_process_that_has_ended_is_forgotten(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 2)
    watched.stacks.forget(os.getpid())
    watched.stacks.forget(12345)
    assert watched.look(10.0) == []


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'no permission' >&2; exit 1\n", "no permission"),
        ("#!/bin/sh\nexit 3\n", "3"),
        ("#!/bin/sh\nhead -c 2000000 /dev/zero\n", "py-spy"),
        ("no script at all", "py-spy"),
    ],
)
def test_a_sampler_that_fails_says_why_and_costs_no_sample(
    watched: Watched, script: str, reason: str
) -> None:
    watched.program.write_text(script)
    watched.steps(WARM_STEPS + 2)
    assert watched.look(1.0) == []
    assert reason in watched.stacks.failure


def test_samples_are_limited_by_a_budget(watched: Watched) -> None:
    watched.steps(WARM_STEPS + 2)
    taken = sum(len(watched.look(0.0001)) for _ in range(100))
    assert taken == 0
    many = 0
    for step in range(WARM_STEPS + 2, WARM_STEPS + 62):
        many += len(watched.look(0.16))
        watched.stacks.stepped(os.getpid(), 2, step)
    assert 0 < many <= 8 + 8 * 60 * 0.16


def test_py_spy_is_looked_for_beside_the_interpreter_and_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "py-spy"
    program.write_text("")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert find_py_spy() == str(program)
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_py_spy() is None
