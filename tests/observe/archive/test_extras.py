"""Zstandard and LZ4: read where a package can unpack them, else incomplete with what to do."""

from __future__ import annotations

import importlib
import io
import zipfile
from typing import Any

import pytest

from tests.observe.archive.looking import look
from tests.observe.archive.zip.making import Member, archive
from veracity.observe.artifact.budget import Budget

DATA = b"a pickle, say " * 300
# One frame each of b"inert", as the commands zstd and lz4 write them.
ZSTD = bytes.fromhex("28b52ffd0458290000696e65727497d018bf")
LZ4 = bytes.fromhex("04224d186440a705000080696e65727400000000e54d22e5")
SKIPPED = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.endswith("zstd") or name.startswith("lz4"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)


@pytest.mark.parametrize("data", [ZSTD, LZ4, SKIPPED + ZSTD, SKIPPED + LZ4])
def test_without_its_package_it_is_incomplete_and_says_what_to_do(data: bytes, bare: None) -> None:
    looked = look(data)

    assert looked.result.status == "incomplete"
    assert "veracity[archives]" in looked.result.gaps[0].remedy


def test_a_member_of_a_zip_is_too(bare: None) -> None:
    member = Member(b"a", ZSTD, central={"method": 93}, local={"method": 93})

    assert look(archive(member)).result.status == "incomplete"


def test_the_legacy_format_of_lz4_is_incomplete() -> None:
    assert look(b"\x02\x21\x4c\x18" + bytes(20)).result.status == "incomplete"


def zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return pytest.importorskip("backports.zstd", reason="backports.zstd is not installed")


@pytest.mark.parametrize("frames", [1, 3])
def test_zstd_is_unpacked(frames: int) -> None:
    made = zstd().compress(DATA)

    looked = look((SKIPPED + made) * frames)

    assert looked.result.status == "clean"
    assert looked.contents["unpacked"] == [DATA * frames]
    assert look(ZSTD).contents["unpacked"] == [b"inert"]
    assert look(made[:-9]).result.status == "incomplete"
    assert look(zstd().compress(bytes(4 << 20)), Budget(unpacked=1 << 20)).limits


def test_zstd_in_a_zip_is_unpacked() -> None:
    made = zstd().compress(DATA)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as stored:
        stored.writestr("a", DATA)
    crc = zipfile.ZipFile(file).infolist()[0].CRC
    told: dict[str, int | bytes] = {"method": 93, "size": len(DATA), "crc": crc}

    looked = look(archive(Member(b"a", made, central=told, local=told)))

    assert looked.result.status == "clean"
    assert looked.contents["a"] == [DATA]


@pytest.mark.parametrize("frames", [1, 3])
def test_lz4_is_unpacked(frames: int) -> None:
    frame: Any = pytest.importorskip("lz4.frame", reason="lz4 is not installed")
    made = frame.compress(DATA)

    looked = look((SKIPPED + made) * frames)

    assert looked.result.status == "clean"
    assert looked.contents["unpacked"] == [DATA * frames]
    assert look(made[:-9]).result.status == "incomplete"
    assert look(frame.compress(bytes(4 << 20)), Budget(unpacked=1 << 20)).limits
