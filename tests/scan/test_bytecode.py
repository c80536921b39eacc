"""What the .pyc files of an interpreter begin with, when another version seals its environment."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from veracity.scan.bytecode import BytecodeCheck, Programs


@pytest.mark.parametrize(
    ("version", "magic"),
    [
        ("3.10", (3439).to_bytes(2, "little") + b"\r\n"),
        (f"{sys.version_info[0]}.{sys.version_info[1]}", importlib.util.MAGIC_NUMBER),
        ("3.99", b""),
    ],
)
def test_files_cannot_outvote_the_interpreter(tmp_path: Path, version: str, magic: bytes) -> None:
    check = BytecodeCheck("", {}, Programs("", version, Path(), "", 1), tmp_path, set())
    assert check._magic() == magic
