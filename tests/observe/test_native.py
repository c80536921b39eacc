"""Native code in the memory of a process, beside the files it comes from."""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.native import MappedFile, mapped_code, parse_maps, same_code

MAPS = b"""\
55d0c5a00000-55d0c5a28000 r--p 00000000 fe:00 100                        /usr/bin/python3.11
55d0c5a28000-55d0c5b00000 r-xp 00028000 fe:00 100                        /usr/bin/python3.11
7f0000000000-7f0000001000 r--p 00000000 fe:00 200                        /lib/libdata.so.1
7f0000002000-7f0000003000 r-xp 00001000 00:01 300                        /memfd:libffi (deleted)
7f0000004000-7f0000005000 r-xp 00000000 fe:00 400                        /tmp/a b.so (deleted)
7f0000006000-7f0000007000 rw-p 00000000 00:00 0                          [heap]
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]
7f0000008000-7f0000009000 rw-s 00000000 00:06 500                        /dev/zero (deleted)
7f000000a000-7f000000b000 rwxp 00000000 00:00 0
"""


def test_the_text_of_a_memory_map() -> None:
    python, data, made, gone = parse_maps(MAPS)
    assert python == MappedFile(
        "/usr/bin/python3.11", 100, False, ((0x55D0C5A28000, 0x55D0C5B00000, 0x28000),)
    )
    assert (data.path, data.code) == ("/lib/libdata.so.1", ())
    assert (made.path, made.gone) == ("/memfd:libffi", True)
    assert (gone.path, gone.inode, gone.gone) == ("/tmp/a b.so", 400, True)


@given(st.binary(max_size=200))
def test_any_text_has_an_answer(data: bytes) -> None:
    parse_maps(data)
    parse_maps(MAPS[:150] + data)


def extension() -> Path:
    """A small library of the standard library's that is not loaded yet under this name."""
    folder = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    found = sorted(folder.glob(f"_*{importlib.machinery.EXTENSION_SUFFIXES[0]}"))
    if not found:
        pytest.skip("this Python has no extension modules of its own")
    return min(found, key=lambda path: path.stat().st_size)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "libmapped.so"
    shutil.copy(extension(), path)
    ctypes.CDLL(str(path))
    return path


def mapped(path: Path) -> MappedFile:
    (found,) = [one for one in mapped_code(os.getpid()) or () if one.path == str(path)]
    return found


def replaced(path: Path, edit: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    edit(data)
    path.with_suffix(".new").write_bytes(data)
    path.with_suffix(".new").replace(path)


def test_code_in_memory_beside_the_file(library: Path, tmp_path: Path) -> None:
    before = mapped(library)
    assert before.inode == library.stat().st_ino
    assert same_code(os.getpid(), before, str(library), 1 << 30) == "same"

    replaced(library, lambda data: data.extend(b"another digest, the same code"))
    after = mapped(library)
    assert after.gone
    assert after.inode == before.inode != library.stat().st_ino
    assert same_code(os.getpid(), after, str(library), 1 << 30) == "same"

    begin, end, offset = after.code[0]

    def edit(data: bytearray) -> None:
        data[offset + (end - begin) // 4] ^= 1

    replaced(library, edit)
    assert same_code(os.getpid(), after, str(library), 1 << 30) == "differs"
    assert same_code(os.getpid(), after, str(library), 10) == "unread"
    assert same_code(os.getpid(), after, str(tmp_path / "none"), 1 << 30) == "unread"
    assert same_code(2**22 + 1, after, str(library), 1 << 30) == "unread"
    assert mapped_code(2**22 + 1) is None


def test_a_range_that_ends_behind_the_file_reads_as_zeros(library: Path) -> None:
    """The last page of a file: what is mapped behind its end is zeros."""
    begin, _, offset = mapped(library).code[0]
    rest = library.stat().st_size - offset
    short = MappedFile(str(library), 0, False, ((begin, begin + min(rest, 64), offset),))
    assert same_code(os.getpid(), short, str(library), 1 << 30) == "same"
