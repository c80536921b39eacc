"""The list of decisions is that of their folder."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
ROW = re.compile(r"\| \[(\d{4})\]\((\d{4}-[a-z0-9-]+\.md)\) \| [^|]+ \| (?:accepted|replaced)[^|]* \|")


def test_each_record_is_listed_once_and_each_row_has_its_record() -> None:
    rows = ROW.findall((FOLDER / "README.md").read_text("utf-8"))
    records = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert [name for _, name in rows] == records
    assert all(name.startswith(number) for number, name in rows)


def test_each_record_begins_with_its_number_and_says_its_status() -> None:
    for path in FOLDER.glob("0*.md"):
        text = path.read_text("utf-8")
        assert text.startswith(f"# {path.name[:4]}: "), path.name
        assert re.search(r"\*Status:?\*", text), path.name
