"""Sources: reading, decoding, line differences."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from veracity.observe import pysource
from veracity.observe.pysource import PySource, decode, line_diff, read_source


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_bytes(b"x = 1\n")
    found = read_source(str(path))
    assert isinstance(found, PySource)
    assert (found.data, found.modified_at) == (b"x = 1\n", path.stat().st_mtime_ns)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", pysource.MAX_SOURCE + 1)
    assert read_source(str(tmp_path / "gone")) == "cannot be opened: No such file or directory"
    assert read_source(str(tmp_path / "pipe")) == "not a regular file"
    assert read_source(str(tmp_path / "large")) == "larger than 16 MiB"
    assert "not a regular file" in str(read_source(str(tmp_path)))
    assert "null byte" in str(read_source("a\0b"))


def test_encodings() -> None:
    assert decode("# -*- coding: latin-1 -*-\n# ä\n".encode("latin-1")).endswith("# ä\n")
    assert decode(b"\xef\xbb\xbfx = 1\n") == "x = 1\n"
    assert decode(b"# coding: nonsense\n\xff") == "# coding: nonsense\n\ufffd"


def test_difference() -> None:
    old = "".join(f"line {number}\n" for number in range(100))
    new = old.replace("line 41\n", "changed\n")
    found = line_diff(old.encode(), new.encode(), old_name="RECORD", new_name="now")
    assert found.first_line == 42
    assert found.lines[:3] == ["--- RECORD", "+++ now", "@@ -39,7 +39,7 @@"]
    assert [line for line in found.lines if line[0] in "+-"][2:] == ["-line 41", "+changed"]


def test_long_differences_are_cut() -> None:
    old, new = "a\n" * 1000, "b\n" * 1000
    found = line_diff(old.encode(), new.encode(), old_name="o", new_name="n")
    assert (len(found.lines), found.first_line, found.truncated) == (pysource.MAX_DIFF, 1, True)
    huge = line_diff(b"a\n" * 70_000, b"b\n" * 70_000, old_name="o", new_name="n")
    assert (huge.lines, huge.first_line, huge.truncated) == ([], 1, True)
    broad = line_diff(b"a\n" * 6_000, b"b\n" * 6_000, old_name="o", new_name="n")
    assert (broad.lines, broad.truncated) == ([], True)


LINES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=30)


@given(LINES, LINES)
def test_a_difference_gives_the_new_text_when_applied(old: list[str], new: list[str]) -> None:
    found = line_diff("\n".join(old).encode(), "\n".join(new).encode(), old_name="o", new_name="n")
    if old == new:
        assert found.lines == []
        assert found.first_line == 0
        return
    result: list[str] = []
    position = 0
    for line in found.lines[2:]:
        if line.startswith("@@"):
            start, _, length = line.split()[1][1:].partition(",")
            begin = int(start) - (0 if length == "0" else 1)
            result += old[position:begin]
            position = begin
        elif line.startswith("+"):
            result.append(line[1:])
        else:
            assert old[position] == line[1:]
            position += 1
            if line.startswith(" "):
                result.append(line[1:])
    assert result + old[position:] == new
