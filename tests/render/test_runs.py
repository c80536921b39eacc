from __future__ import annotations

import json
from dataclasses import dataclass

from tests.render import samples
from veracity.render import runs


@dataclass(frozen=True)
class Listing:
    run: str
    started_at: int
    command: tuple[str, ...]
    verdict: str
    override: bool = False
    reason: str = ""


ONE = Listing(samples.RUN, samples.START, ("python", "train.py\x1b[2J"), "held")
TWO = Listing("run-20250303-000000-ffffff", 0, (), "unreadable")


def test_table_lists_each_run_on_one_line() -> None:
    lines = runs.table([ONE, TWO]).splitlines()
    assert lines[0].split() == ["RUN", "VERDICT", "STARTED", "COMMAND"]
    assert lines[1].split() == [
        samples.RUN,
        "held",
        "2025-03-02",
        "14:02:11",
        "UTC",
        "python",
        r"train.py\x1b[2J",
    ]
    assert "unreadable" in lines[2]
    assert len(lines) == 3


def test_a_run_that_was_started_by_an_override_is_marked() -> None:
    (line,) = runs.table([Listing(samples.RUN, 0, (), "broken", True)]).splitlines()[1:]
    assert "broken, override" in line
    listing = Listing(
        samples.RUN, 0, ("true",), "refused", reason="content changed: code: a.py, owner ann\x1b"
    )
    (line,) = runs.table([listing]).splitlines()[1:]
    assert line.endswith(r"true  not started: content changed: code: a.py, owner ann\x1b")


def test_an_empty_home_teaches_the_first_command() -> None:
    assert runs.table([]) == "no run yet: veracity run -- python train.py\n"


def test_document_is_a_list_of_runs() -> None:
    assert json.loads(runs.document([ONE, TWO]))[0] == {
        "run": samples.RUN,
        "started_at": samples.START,
        "command": ["python", "train.py\x1b[2J"],
        "verdict": "held",
        "override": False,
        "reason": "",
    }
    assert json.loads(runs.document([])) == []
