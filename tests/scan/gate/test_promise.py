"""A file that was meant for a loader and that no reader knows is not clean; other names promise nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from veracity.core.rule import Severity
from veracity.scan.gate.file import Settings, scan_file
from veracity.scan.gate.result import CLEAN, INCOMPLETE

RANDOM = bytes((one * 197 + 91) % 251 for one in range(4_000)).replace(b".", b"\xfe")


def status(path: Path, data: bytes) -> tuple[str, str]:
    path.write_bytes(data)
    result = scan_file(str(path), Settings())
    return result.status(Severity.WARNING), " ".join(one.reason + one.what for one in result.missed)


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "MODEL.CKPT", "a.safetensors", "x.npz", "w.gguf"])
def test_an_empty_file_with_a_loaders_name_is_incomplete(tmp_path: Path, name: str) -> None:
    found, why = status(tmp_path / name, b"")
    assert found == INCOMPLETE
    assert "is empty" in why


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.onnx", "model.h5", "model.keras"])
def test_what_no_reader_knows_is_incomplete_where_its_name_promises_a_format(
    tmp_path: Path, name: str
) -> None:
    found, why = status(tmp_path / name, b"\xff" + RANDOM)
    assert found == INCOMPLETE
    assert "no reader knows" in why


@pytest.mark.parametrize(
    "name", ["__init__.py", "py.typed", "a.lock", "train.bin", "notes.txt", "weights.dat"]
)
@pytest.mark.parametrize("data", [b"", b"\xff" + RANDOM])
def test_other_names_promise_nothing(tmp_path: Path, name: str, data: bytes) -> None:
    if name.endswith(".py"):
        data = data and b"x = 1\n"
    assert status(tmp_path / name, data) == (CLEAN, "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.pkl", pickle.dumps({"step": 3})),
        ("paths.pth", b"/usr/share/some/folder\n# a comment\n\n"),
        ("paths.pth", b"import sys\n"),
        ("paths.pth", b""),
        ("model.safetensors", b"version https://example.org/spec/v1\noid sha256:00ff\nsize 12\n"),
        ("palavras.pt", "coração\n".encode() * 500),
    ],
)
def test_what_a_reader_takes_keeps_its_promise(tmp_path: Path, name: str, data: bytes) -> None:
    _, why = status(tmp_path / name, data)
    assert "promises" not in why
