from __future__ import annotations

from pathlib import Path

import pytest

from scripts.module_sizes import MAX_FUNCTION, MAX_MODULE, violations

ROOT = Path(__file__).resolve().parents[2]


def lines(count: int, line: str = "x = 1") -> str:
    return "\n".join([line] * count) + "\n"


def test_this_project_has_no_violation() -> None:
    assert list(violations(ROOT)) == []


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("src/p/long.py", lines(MAX_MODULE), "more than 600"),
        ("tests/test_long.py", lines(MAX_MODULE), "more than 600"),
        ("src/p/a.py", "def f():\n" + lines(MAX_FUNCTION, "    x = 1"), "f() has 61 lines"),
        ("bench/a.py", "async def f():\n" + lines(MAX_FUNCTION, "    x = 1"), "f() has 61 lines"),
        ("src/p/utils.py", "", "'utils' says nothing"),
        ("src/p/file_helpers.py", "", "'file_helpers' says nothing"),
        ("src/p/common/a.py", "", "'common' says nothing"),
        ("src/p/base.py", "", "'base' says nothing"),
        ("src/p/run_manager.py", "", "'run_manager' says nothing"),
        ("src/p/__init__.py", "for x in ():\n    pass\n", "more than re-export"),
        ("src/p/__init__.py", "def build():\n    return 1\n", "more than re-export"),
        ("src/p/__init__.py", lines(130, "from . import a"), "more than 120"),
    ],
)
def test_each_rule_is_enforced(tmp_path: Path, path: str, source: str, message: str) -> None:
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(source)
    found = list(violations(tmp_path))
    assert found
    assert all(line.startswith(path) for line in found)
    assert any(message in line for line in found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("src/p/baseline.py", lines(MAX_MODULE - 1)),
        ("src/p/a.py", "def f():\n" + lines(MAX_FUNCTION - 1, "    x = 1")),
        ("src/p/__init__.py", '"""Doc."""\nfrom .a import b\n__all__ = ["b"]\n'),
        ("src/p/__init__.py", "def __getattr__(name):\n    return name\n"),
        ("tests/test_a.py", "def test():\n" + lines(MAX_FUNCTION, "    x = 1")),
    ],
)
def test_what_keeps_the_rules_passes(tmp_path: Path, path: str, source: str) -> None:
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(source)
    assert list(violations(tmp_path)) == []
