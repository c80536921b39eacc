"""Profiles, plug-ins and caches that variables and commands bring in, and who may exchange them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veracity.observe import surroundings
from veracity.observe.surroundings import Around, around


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else may write here, whatever lies above the test's folder."""
    monkeypatch.setattr(surroundings, "writers_of", lambda path: "everybody" if "/open" in path else "")


def find(word: str, variables: object) -> str:
    return word if os.path.isfile(word) else f"/lib/{word}" if word == "libnccl-net-ofi.so" else ""


def found(uid: int = -1, commands: tuple[tuple[str, ...], ...] = (), **variables: str) -> list[Around]:
    return list(around(variables, commands, uid, find))


def test_nothing() -> None:
    assert found() == []
    assert found(HOME="/nowhere", NCCL_NET_PLUGIN="none", UCX_MODULE_DIR="relative", BASH_ENV="/none") == []


def test_plugins_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "tuner.so"
    path.write_bytes(b"")
    one, other = found(NCCL_NET_PLUGIN="ofi", NCCL_TUNER_PLUGIN=str(path))
    assert one == Around("library", "ofi", "/lib/libnccl-net-ofi.so", "NCCL_NET_PLUGIN", "")
    assert (other.path, other.via) == (str(path), "NCCL_TUNER_PLUGIN")


def test_folders_of_plugins(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (one,) = found(OMPI_MCA_mca_base_component_path=f"relative:{tmp_path}/open:/none")
    assert one == Around(
        "folder", f"{tmp_path}/open", f"{tmp_path}/open", "OMPI_MCA_mca_base_component_path", "everybody"
    )


def test_caches_by_variable_and_by_default(tmp_path: Path) -> None:
    for name in ("torchinductor_me", ".triton/cache", "own"):
        (tmp_path / name).mkdir(parents=True)
    home = str(tmp_path)
    told = {
        one.name: (one.path, one.via)
        for one in found(HOME=home, TMPDIR=home, USER="me", TORCH_EXTENSIONS_DIR=f"{home}/own")
    }
    assert told == {
        "torch.compile": (f"{home}/torchinductor_me", "its default"),
        "triton": (f"{home}/.triton/cache", "its default"),
        "torch.utils.cpp_extension": (f"{home}/own", "TORCH_EXTENSIONS_DIR"),
    }
    (moved,) = found(TRITON_HOME=home)
    assert (moved.path, moved.via) == (f"{home}/.triton/cache", "TRITON_CACHE_DIR")


def test_a_cache_that_somebody_else_made_first(tmp_path: Path) -> None:
    """Whoever makes the folder of the default name before its user does."""
    cache = tmp_path / "torchinductor_me"
    cache.mkdir()
    owner = os.stat(cache).st_uid
    (mine,) = found(owner, TMPDIR=str(tmp_path), USER="me")
    (unknown,) = found(-1, TMPDIR=str(tmp_path), USER="me")
    assert mine.writers == unknown.writers == ""
    if os.getuid() != 0:
        (theirs,) = found(owner + 1, TMPDIR=str(tmp_path), USER="me")
        assert theirs.writers.startswith("the account ")
        return
    for uid, told in ((4242, "the account 4242"), (0, ""), (65_534, "")):
        os.chown(cache, uid, -1)
        (one,) = found(1000, TMPDIR=str(tmp_path), USER="me")
        assert one.writers == told


def test_profiles_of_the_job(tmp_path: Path) -> None:
    (tmp_path / ".profile").write_text("")
    (tmp_path / "open.sh").write_text("")
    told = found(commands=(("python", "x"), ("bash", "-lc", "python x")), HOME=str(tmp_path))
    assert (str(tmp_path / ".profile"), "bash -l", "") in {(one.path, one.via, one.writers) for one in told}
    assert {one.kind for one in told} == {"profile"}
    (one,) = found(BASH_ENV=str(tmp_path / "open.sh"))
    assert (one.via, one.writers) == ("BASH_ENV", "everybody")
