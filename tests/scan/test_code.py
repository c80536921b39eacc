"""Sources and changes through the rules, from bytes and commits to findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.scan.codehost import planted
from bench.scan.codeprograms import LAWFUL, programs
from bench.scan.codevariants import variants
from tests.observe.git.repos import IDENTITY, git
from veracity.core.observation import Gap
from veracity.core.persona import Persona
from veracity.scan.code import examine_change, examine_source, judge_source


def test_an_ordinary_program_is_told_nothing_about() -> None:
    assert judge_source(examine_source("train.py", planted({}).encode())) == []


def test_planted_code_is_found_in_the_whole_file() -> None:
    missed, count = [], 0
    for variant in variants():
        count += 1
        if not judge_source(examine_source("train.py", variant.text.encode())):
            missed.append(variant.name)
    assert count >= 300
    # Each of these is told to auditors, or has no sign in the text; more than these would be a step back.
    assert len(missed) <= count // 40, missed


@pytest.mark.parametrize(("corpus", "least"), [("first", 168), ("second", 51), ("third", 48)])
def test_sabotaged_programs_are_told(corpus: str, least: int) -> None:
    told = [one.name for one in programs(corpus) if one.told()]
    assert len(told) >= least, sorted({one.name for one in programs(corpus)} - set(told))


def test_lawful_programs_that_look_alike_are_not_told_about() -> None:
    lawful = list(programs(LAWFUL))
    assert len(lawful) >= 100
    assert {one.name: one.told() for one in lawful if one.told()} == {}


def test_an_auditor_sees_more_than_a_regular_reader() -> None:
    data = b"import pickle\nthing = pickle.load(file)\n"
    assert judge_source(examine_source("a.py", data)) == []
    (finding,) = judge_source(examine_source("a.py", data), Persona.AUDITOR)
    assert finding.rule == "code-unsafe-load"


def test_what_cannot_be_parsed_is_a_gap_and_never_silent() -> None:
    (gap,) = examine_source("old.py", b"print 'x'\n")
    assert isinstance(gap, Gap)
    assert judge_source([gap]) == []


def test_a_change_is_judged_by_what_it_brings(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "train.py").write_text(planted({"batch": "import time\ntime.sleep(0.1)"}))
    (tmp_path / "broken.py").write_text("x = 1\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, *IDENTITY, "commit", "-qm", "before")
    text = planted(
        {"batch": "import time\ntime.sleep(0.1)", "grad": "for p in model.parameters():\n    p.grad.neg_()"}
    )
    (tmp_path / "train.py").write_text(text)
    (tmp_path / "broken.py").write_text("x = (\n")
    git(tmp_path, *IDENTITY, "commit", "-qam", "after")
    found = {one.path: one for one in examine_change(str(tmp_path), "HEAD~1..HEAD")}
    assert {one.rule for one in found["train.py"].findings} == {"code-gradient-edited"}
    assert [gap.what for gap in found["broken.py"].gaps] == ["broken.py"]
