"""What torch wrote before its zip files: numbers are stepped over, and what is behind them is read."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import look
from tests.observe.archive.torchfiles import torch_files
from veracity.observe.artifact.budget import Budget

INERT = pickle.dumps("inert", 2)


@pytest.fixture
def legacy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (torch_files(tmp_path_factory) / "legacy.pt").read_bytes()


def test_storages_of_each_kind_are_stepped_over_and_what_is_behind_is_read(legacy: bytes) -> None:
    alone, two = look(legacy), look(legacy + legacy[:-1] + INERT)
    more = look(legacy + INERT)

    assert alone.result.status == "clean"
    assert "torch-legacy" in alone.result.formats
    assert not any(one.startswith("storage") for one in alone.contents)
    assert more.contents["behind"] == [INERT]
    assert two.contents["behind"] == [legacy[:-1] + INERT]


def test_what_is_cut_off_is_never_clean(legacy: bytes) -> None:
    assert look(legacy[:-5]).result.status == "incomplete"
    assert look(legacy[: len(legacy) - 300]).result.status == "incomplete"


# --- the tar archives of before that --------------------------------------------------------------


def named(key: int | str, middle: int | str, kind: str) -> bytes:
    """A pickle of three: key, place or storage, and a class of torch."""
    parts = [pickle.dumps(one, 2)[2:-1] for one in (key, middle)]
    return b"\x80\x02" + b"".join(parts) + f"ctorch\n{kind}\n".encode() + b"\x87."


def storages(*pickles: bytes) -> bytes:
    numbers = struct.pack("<q3f", 3, 1.0, 2.0, 3.0)
    return pickle.dumps(len(pickles), 2) + b"".join(one + numbers for one in pickles) + pickle.dumps([], 2)


def tensors() -> bytes:
    one = named(7, 1, "FloatTensor") + struct.pack("<ii3q", 1, 0, 3, 1, 0)
    return pickle.dumps(2, 2) + one + one.replace(b"K\x07", b"K\x08")


def archive(first: bytes, second: bytes, third: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, data in (("storages", first), ("tensors", second), ("pickle", third)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def test_pickles_between_numbers_are_read() -> None:
    first, second = named(1, "cpu", "FloatStorage"), named(2, "cpu", "FloatStorage")
    looked = look(archive(storages(first, second), tensors(), b"\x80\x02X\x01\x00\x00\x007Q."))

    assert looked.result.status == "clean"
    assert second in looked.all
    assert named(8, 1, "FloatTensor") in looked.all
    assert "torch-tar-part" in looked.result.formats


@pytest.mark.soak
def test_torch_reads_the_same_archive(tmp_path: Path) -> None:
    made = archive(storages(named(1, "cpu", "FloatStorage")), tensors(), b"\x80\x02X\x01\x00\x00\x007Q.")
    (tmp_path / "made.tar").write_bytes(made)
    program = "import sys, torch; print(torch.load(sys.argv[1], weights_only=False).tolist())"

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, tmp_path / "made.tar"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == "[1.0, 2.0, 3.0]"


def test_what_stands_where_a_storage_should_is_read_and_said() -> None:
    looked = look(storages(named(1, "cpu", "FloatStorage"), INERT))

    assert looked.result.status == "incomplete"
    assert any(one.startswith(INERT) for one in looked.all)


def test_others_are_not_taken_for_it() -> None:
    for data in (INERT, pickle.dumps(3), pickle.dumps(3) * 5, b"3.1415", b"I3\n.I4\n.", b"."):
        assert "torch-tar-part" not in look(data).result.formats


@given(st.data())
@settings(max_examples=examples(60))
def test_any_change_is_read_to_an_end(data: st.DataObject) -> None:
    whole = bytearray(
        data.draw(st.sampled_from([storages(named(1, "cpu", "FloatStorage"), INERT), tensors()]))
    )
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    look(bytes(whole) + data.draw(st.binary(max_size=20)), Budget(seconds=20))
