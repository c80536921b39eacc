"""Files that the kernel measures (fs-verity): on a real ext4 where kernel and rights allow it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observe.looking import Rereader
from veracity.observe import fsverity, remembering
from veracity.observe.fsverity import measurement_of
from veracity.observe.mounts import KEEPS_CHANGE_TIMES
from veracity.observe.tree import read_tree

ENABLE = 0x40806685
"""``FS_IOC_ENABLE_VERITY``."""
BLOCK = 4096


def enable(path: Path) -> None:
    """Have the kernel protect a file; raises OSError where it cannot."""
    handle = os.open(path, os.O_RDONLY)
    try:
        # version, SHA-256, block size, no salt, no signature
        fcntl.ioctl(handle, ENABLE, struct.pack("=4IQ2IQ11Q", 1, 1, BLOCK, 0, 0, 0, 0, 0, *[0] * 11))
    finally:
        os.close(handle)


def expected(data: bytes) -> str:
    """The measurement of a file of one block, by the kernel's documentation of fs-verity."""
    root = hashlib.sha256(data.ljust(BLOCK, b"\0")).digest()
    described = struct.pack("<4BIQ64s32s144x", 1, 1, 12, 0, 0, len(data), root, b"")
    return f"sha256:{hashlib.sha256(described).hexdigest()}"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of its own, with the feature *verity*."""
    if os.geteuid() or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4")
    image, place = tmp_path / "image", tmp_path / "volume"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    place.mkdir()
    made = subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-O", "verity", image], capture_output=True)
    if (
        made.returncode
        or subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_protected_file_is_measured_and_not_read(volume: Path, tmp_path: Path) -> None:
    root = volume / "root"
    root.mkdir()
    (root / "model.bin").write_bytes(b"weights")
    (root / "notes").write_bytes(b"notes")
    try:
        enable(root / "model.bin")
    except OSError as error:
        pytest.skip(f"this kernel has no fs-verity: {error.strerror}")
    with (root / "model.bin").open("rb") as file:
        assert measurement_of(file.fileno()) == expected(b"weights")
    tree = Rereader(tmp_path / "home", root)
    first = tree.read("kernel")
    assert (first.looked.read, first.looked.by_kernel) == (2, 0)
    again = tree.read("kernel")
    assert (again.looked.read, again.looked.by_kernel, again.root) == (1, 1, first.root)
    (root / "model.bin").unlink()
    (root / "model.bin").write_bytes(b"WEIGHTS")
    enable(root / "model.bin")
    replaced = tree.read("kernel")
    assert (replaced.looked.read, replaced.root) == (2, read_tree(root, lambda digest, data: None).root)


def test_a_file_that_is_not_protected_has_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with (tmp_path / "a").open("rb") as file:
        assert measurement_of(file.fileno()) == ""


# --- what the kernel answers, played where it cannot be asked ---------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "size", "said"),
    [
        (1, 32, "sha256:" + "61" * 32),
        (2, 64, "sha512:" + "61" * 64),
        (1, 64, ""),
        (3, 32, ""),
        (1, 0, ""),
        (1, 65535, ""),
    ],
)
def test_an_answer_is_read_as_the_kernel_documents_it(
    monkeypatch: pytest.MonkeyPatch, algorithm: int, size: int, said: str
) -> None:
    def answers(handle: int, request: int, buffer: bytearray) -> int:
        assert request == fsverity.MEASURE_VERITY
        assert struct.unpack_from("=HH", buffer) == (0, 64)
        buffer[:] = struct.pack("=HH", algorithm, size) + b"a" * 64
        return 0

    monkeypatch.setattr(fcntl, "ioctl", answers)
    assert measurement_of(0) == said


def test_measured_files_pass_by_the_kernels_word_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is played by the content itself, for files called ``*.bin``."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.bin", "b.bin", "c.txt"):
        (root / name).write_text(name)

    def measured(handle: int) -> str:
        path = os.readlink(f"/proc/self/fd/{handle}")
        return expected(Path(path).read_bytes()) if path.endswith(".bin") else ""

    monkeypatch.setattr(remembering, "measurement_of", measured)
    monkeypatch.setattr(remembering, "MEASURES", frozenset({*KEEPS_CHANGE_TIMES, "tmpfs"}))
    tree = Rereader(tmp_path / "home", root)
    first = tree.read("kernel")
    assert (first.looked.read, first.looked.by_kernel) == (3, 0)
    again = tree.read("kernel")
    assert (again.looked.read, again.looked.by_kernel, again.root) == (1, 2, first.root)
    assert (again.files, again.size) == (first.files, first.size)
    # At other levels it is not asked, and full trusts nothing.
    assert tree.read("full").looked.read == 3
    (root / "a.bin").write_text("A.bin")
    (root / "b.bin").chmod(0o755)
    changed = tree.read("kernel")
    assert (changed.looked.read, changed.root) == (2, read_tree(root, lambda digest, data: None).root)


def test_on_other_file_systems_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system in user space would answer what it likes."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.bin").write_text("a")
    monkeypatch.setattr(remembering, "measurement_of", lambda handle: expected(b"a"))
    monkeypatch.setattr(remembering, "MEASURES", frozenset({"another"}))
    tree = Rereader(tmp_path / "home", root)
    for _ in range(2):
        assert tree.read("kernel").looked.by_kernel == 0
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(tmp_path / "home")
