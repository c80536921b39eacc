"""Converting: the same numbers under joined names, in a file that others' readers accept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from veracity.cli.main import main
from veracity.core.errors import EvidenceError, UsageError, VerificationError
from veracity.scan.loading.convert import flatten
from veracity.scan.loading.load import load_whole
from veracity.scan.loading.safetensors import DTYPES, write_safetensors

Captured = pytest.CaptureFixture[str]


def saved(folder: Path) -> Path:
    path = folder / "model.pt"
    weight = torch.randn(3, 4)
    torch.save(
        {
            "model": {"a.weight": weight, "tied": weight, "turned": weight.t()},
            "state": [torch.ones(2).bfloat16(), torch.tensor(True)],
            "step": 3,
        },
        path,
    )
    return path


def test_tensors_come_back_with_joined_names(tmp_path: Path, capsys: Captured) -> None:
    path, out = saved(tmp_path), tmp_path / "out.safetensors"

    assert main(["convert", str(path), str(out)]) == 0

    said = capsys.readouterr().out
    assert "5 tensors" in said
    assert "step: int 3" in said
    before, after = load_whole(path).value, load_whole(out).value
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert set(after) == {"model.a.weight", "model.tied", "model.turned", "state.0", "state.1"}
    assert torch.equal(after["model.turned"], before["model"]["turned"])
    assert torch.equal(after["state.0"], before["state"][0])
    assert after["state.1"].item() is True


def test_a_key_chooses_and_json_lists(tmp_path: Path, capsys: Captured) -> None:
    path, out = saved(tmp_path), tmp_path / "out.safetensors"

    assert main(["convert", str(path), str(out), "--key", "model", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["tensors"]] == ["a.weight", "tied", "turned"]
    assert document["left_out"] == []
    assert document["source"].startswith("sha256:")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["in.pt", "out.pt"], 2),
        (["gone.pt", "out.safetensors"], 2),
        (["in.pt", "there.safetensors"], 2),
        (["in.pt", "there.safetensors", "--force"], 0),
        (["in.pt", "out.safetensors", "--key", "nothing"], 2),
        (["in.pt", "out.safetensors", "--digest", "sha256:" + "0" * 64], 1),
        (["none.pt", "out.safetensors"], 2),
        (["in.pt", "no/folder/out.safetensors"], 2),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path).rename("in.pt")
    torch.save({"a": 1}, "none.pt")
    Path("there.safetensors").write_text("x")

    assert main(["convert", *words]) == code
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.pt", "none.pt", "there.safetensors"]
    assert (Path("there.safetensors").read_text() == "x") is (code != 0) if code else True


@pytest.mark.parametrize("dtype", sorted(set(DTYPES.values())))
def test_every_dtype_comes_back_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    if not hasattr(torch, dtype):
        pytest.skip(f"this torch has no {dtype}")
    kind = getattr(torch, dtype)
    size = kind.itemsize
    raw = (
        torch.arange(6 * size, dtype=torch.uint8) % 2
        if dtype == "bool"
        else torch.arange(6 * size, dtype=torch.uint8)
    )
    tensor = raw.view(kind).reshape(2, 3)

    write_safetensors(tmp_path / "a.safetensors", {"x": tensor, "none": torch.empty(0, dtype=kind)}, {})

    loaded = load_whole(tmp_path / "a.safetensors").value
    assert isinstance(loaded, dict)
    assert loaded["x"].dtype is kind
    assert torch.equal(loaded["x"].reshape(-1).view(torch.uint8), raw)
    assert loaded["none"].shape == (0,)


def header(text: str, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + data


@pytest.mark.parametrize(
    "data",
    [
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(9)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)),
        header('{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', bytes(4)),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', bytes(4)),
        header('{"a":1}'),
    ],
)
def test_a_header_that_is_not_so_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)

    with pytest.raises((EvidenceError, VerificationError)):  # the gate's word, or the loader's
        load_whole(path)


def test_names_that_would_meet_and_nothing_at_all_are_errors() -> None:
    one = torch.ones(1)
    with pytest.raises(EvidenceError, match="two tensors"):
        flatten({"a": {"b": one}, "a.b": one})
    with pytest.raises(EvidenceError, match="no tensor"):
        flatten({"a": 1})
    with pytest.raises(UsageError, match="no way to write"):
        write_safetensors(Path("x.safetensors"), {"a": one.to_sparse()}, {})
