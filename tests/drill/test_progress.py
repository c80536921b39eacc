"""Bars on a terminal, and the jobs' output out of the way."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from veracity.drill.progress import Bars, jobs_output_to


def row(step: int) -> str:
    return f'{{"step": {step}, "loss": 1.0, "ms": 2.0}}\n'


class Terminal(io.StringIO):
    """Claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_bar_counts_the_steps_logged_since_the_start(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(row(step) for step in range(5)))
    stream = Terminal()
    added = "".join(row(step) for step in range(5, 8)) + '{"step": 8, "eval_loss": 2.0}\n{"step": 9, "ms"'
    with Bars(stream, enabled=True) as bars, bars.steps("resumed", 7, metrics):
        metrics.write_text(metrics.read_text() + added)
    assert "3/7" in stream.getvalue()


def test_a_file_that_was_started_anew_is_read_from_its_start(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(row(step) for step in range(50)))
    stream = Terminal()
    with Bars(stream, enabled=True) as bars, bars.steps("again", 7, metrics):
        metrics.write_text(row(0))
    assert "1/7" in stream.getvalue()


def test_nothing_is_drawn_when_it_is_off(tmp_path: Path) -> None:
    stream = Terminal()
    with Bars(stream, enabled=False) as bars, bars.steps("quiet", 7, tmp_path / "metrics.jsonl"):
        pass
    assert stream.getvalue() == ""


def test_children_write_to_the_log_and_the_streams_come_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    code = "import sys; print('to out'); print('to err', file=sys.stderr)"

    def body() -> None:
        with jobs_output_to(log) as stream:
            subprocess.run([sys.executable, "-c", code], check=True)
            stream.write("to the terminal\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        body()
    subprocess.run([sys.executable, "-c", "print('after')"], check=True)
    assert set(log.read_text().split("\n")) == {"to out", "to err", ""}
    captured = capfd.readouterr()
    assert captured.out == "to the terminal\nafter\n"
    assert captured.err == ""
