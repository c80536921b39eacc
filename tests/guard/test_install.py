"""What decides the bits is asked of files, not of a driver that would have to be started."""

from __future__ import annotations

from pathlib import Path

from veracity.guard.install import gpus_in


def test_each_model_of_gpu_is_named_once(tmp_path: Path) -> None:
    for number, model in enumerate(("Fast 80GB", "Fast 80GB", "Faster")):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
        (tmp_path / f"0000:0{number}:00.0" / "information").write_text(f"Model: \t\t {model}\nIRQ: 3\n")
    assert gpus_in(str(tmp_path)) == "Fast 80GB, Faster"


def test_a_machine_without_any_has_none(tmp_path: Path) -> None:
    assert gpus_in(str(tmp_path / "none")) == ""
    (tmp_path / "0000").mkdir()
    assert gpus_in(str(tmp_path)) == ""
