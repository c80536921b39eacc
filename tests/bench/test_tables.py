"""Tables are placed where they belong in the document, and nothing else moves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import tables
from bench.laws import report as laws
from bench.scan import report as scan
from bench.tables import Block, table, write

BLOCK = Block("laws", "bench/laws/report.py")


def test_tables_are_placed_between_the_markers_and_nothing_else_moves() -> None:
    once = BLOCK.placed("# Benchmarks\n\nOther words.\n", "first")
    assert once == f"# Benchmarks\n\nOther words.\n\n{BLOCK.begin}\nfirst\n{BLOCK.end}\n"
    assert BLOCK.placed(once + "\nAfter.\n", "second") == once.replace("first", "second") + "\nAfter.\n"


def test_blocks_of_one_document_do_not_touch_each_other() -> None:
    both = scan.BLOCK.placed(laws.BLOCK.placed("# Title\n", "one"), "two")
    assert laws.BLOCK.placed(both, "three") == both.replace("one", "three")
    document = tables.DOCUMENT.read_text(encoding="utf-8")
    for block in (laws.BLOCK, scan.BLOCK):
        assert document.count(block.begin) == document.count(block.end) == 1


def test_a_table_has_a_line_for_its_head_and_for_each_row() -> None:
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_a_report_is_written_or_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("# Title\n")
    monkeypatch.setattr(tables, "DOCUMENT", document)
    for words, shown in ((["--print"], "of a1, b2\n"), ([], "")):
        monkeypatch.setattr(sys, "argv", ["report", "--commit", "a1", "b2", *words])
        assert write(BLOCK, lambda commits: f"of {', '.join(commits)}", usage=None, of_commits="rows") == 0
        assert capsys.readouterr().out == shown
    assert document.read_text() == f"# Title\n\n{BLOCK.begin}\nof a1, b2\n{BLOCK.end}\n"
