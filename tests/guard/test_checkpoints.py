"""What is saved and loaded by other libraries than torch's own ``save`` and ``load``."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.guard.conftest import Guarded
from veracity.core import observation as seen
from veracity.guard.session import DISTRIBUTED, SAFETENSORS

pytest.importorskip("torch")

import torch


def a_module(name: str, **functions: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(functions)
    return module


def test_safetensors_are_described_like_torchs_own(guarded: Guarded, tmp_path: Path) -> None:
    def save_file(tensors: Any, filename: Any, metadata: Any = None) -> None:
        Path(filename).write_bytes(b"x")

    def load_file(filename: Any, device: str = "cpu") -> Any:
        return {"w": torch.ones(2)}

    module = a_module(SAFETENSORS, save_file=save_file, load_file=load_file)
    guarded.session.arrived(module)
    path = tmp_path / "model.safetensors"
    module.save_file(tensors={"w": torch.ones(2)}, filename=path)
    assert module.load_file(str(path), device="cpu")["w"].sum() == 2
    (saved,), (loaded,) = guarded.seen(seen.CheckpointSaved), guarded.seen(seen.CheckpointLoaded)
    assert saved.path == loaded.path == str(path)
    assert saved.inode == path.stat().st_ino
    assert saved.tensors == loaded.tensors
    assert [tensor.key for tensor in saved.tensors] == ["w"]
    assert guarded.session.shield.failures == {}


def test_a_checkpoint_of_many_files_is_one_gap(guarded: Guarded) -> None:
    def save(parts: Any) -> None:
        for part in parts:
            torch.save(part, io.BytesIO())

    module = a_module(DISTRIBUTED[0], save=save)
    guarded.session.arrived(module)
    for _ in range(3):
        module.save([torch.ones(2)] * 4)
    (gap,) = guarded.seen(seen.Gap)
    assert (gap.law, gap.stops) == ("weight-continuity", False)
    assert "torch.distributed.checkpoint" in gap.what
    assert guarded.seen(seen.CheckpointSaved) == []
    torch.save(torch.ones(2), io.BytesIO())
    assert len(guarded.seen(seen.CheckpointSaved)) == 1


def test_a_fresh_optimizer_that_is_given_its_own_state_restores_nothing(guarded: Guarded) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    optimizer.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        parameter.sum().backward()
        optimizer.step()
    assert guarded.seen(seen.StateRestored) == []
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert len(guarded.seen(seen.StateRestored)) == 1


def test_a_load_into_the_parameters_themselves_explains_their_change(guarded: Guarded) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)

    def load(state: Any) -> None:
        with torch.no_grad():
            state["w"].zero_()

    module = a_module(DISTRIBUTED[1], load=load)
    guarded.session.arrived(module)
    for _ in range(2):
        parameter.sum().backward()
        optimizer.step()
        module.load({"w": parameter})
    parameter.sum().backward()
    optimizer.step()
    assert len(guarded.seen(seen.StateRestored)) == 2
    assert guarded.seen(seen.WeightsMoved) == []


def test_what_the_training_saves_beside_a_checkpoint_of_many_files_is_reported(
    guarded: Guarded, tmp_path: Path
) -> None:
    begun, saved = threading.Event(), threading.Event()

    def save(parts: Any, *, checkpoint_id: Path) -> None:
        torch.save(parts, checkpoint_id / "__0_0.distcp")
        begun.set()
        assert saved.wait(20)

    module = a_module(DISTRIBUTED[0], save=save)
    guarded.session.arrived(module)
    (tmp_path / "many").mkdir()
    beside = threading.Thread(
        target=module.save, args=(torch.ones(2),), kwargs={"checkpoint_id": tmp_path / "many"}
    )
    beside.start()
    assert begun.wait(20)
    torch.save(torch.ones(3), tmp_path / "one.pt")
    saved.set()
    beside.join(20)
    paths = [Path(record.path).name for record in guarded.seen(seen.CheckpointSaved)]
    assert paths == ["one.pt", "__0_0.distcp"]
    assert guarded.session.shield.failures == {}


@pytest.mark.parametrize("name", ["model.safetensors", ""])
def test_files_of_another_kind_are_a_gap(guarded: Guarded, tmp_path: Path, name: str) -> None:
    def save(parts: Any, *, checkpoint_id: Path) -> None:
        if name:
            (checkpoint_id / name).write_bytes(b"x")

    module = a_module(DISTRIBUTED[0], save=save)
    guarded.session.arrived(module)
    module.save({}, checkpoint_id=tmp_path)
    (gap,) = guarded.seen(seen.Gap)
    assert "cannot be told" in gap.reason


def test_files_of_ranks_elsewhere_are_told_of_and_a_failed_load_may_have_read_a_part(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)

    def save(parts: Any, *, checkpoint_id: Path) -> None:
        for file in (".metadata", "__0_0.distcp", "__1_0.distcp"):
            (checkpoint_id / file).write_bytes(b"x")

    def load(state: Any) -> None:
        with torch.no_grad():
            state["w"].zero_()
        raise OSError("the rest cannot be read")

    saver, loader = a_module(DISTRIBUTED[0], save=save), a_module(DISTRIBUTED[1], load=load)
    guarded.session.arrived(saver)
    guarded.session.arrived(loader)
    saver.save({"w": parameter}, checkpoint_id=tmp_path)
    told = [(Path(one.path).name, one.elsewhere) for one in guarded.seen(seen.CheckpointSaved)]
    assert told == [(".metadata", False), ("__0_0.distcp", False), ("__1_0.distcp", True)]
    for _ in range(2):
        parameter.sum().backward()
        optimizer.step()
    with pytest.raises(OSError, match="cannot be read"):
        loader.load({"w": parameter})
    parameter.sum().backward()
    optimizer.step()
    assert len(guarded.seen(seen.StateRestored)) == 1
    assert guarded.seen(seen.WeightsMoved) == []
