"""Entry points and variables that bring code in, as an interpreter's start is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.observe.test_pyenv import install
from tests.observe.test_startup import prefix, read, site_of
from veracity.core.observation import StartupItem
from veracity.observe.autoload import PLUGIN_GROUPS, VARIABLES

__all__ = ["prefix"]


def brief(items: list[StartupItem]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.name, one.standing) for one in items]


@pytest.mark.parametrize("group", PLUGIN_GROUPS)
def test_entry_points_that_are_loaded_unasked(prefix: Path, group: str) -> None:
    site = site_of(prefix)
    stray = site / "stray-1.0.dist-info"  # PLANTED: beside a package that has an owner
    stray.mkdir()
    (stray / "entry_points.txt").write_text(f"[{group}]\nx = stray:load\n")
    (site / "stray.py").write_text("")
    info = install(site, "plugin", {"plugin/__init__.py": b""})
    (info / "entry_points.txt").write_text(f"[{group}]\nx = plugin:load\n[pytest11]\ny = stray:load\n")
    found = read(prefix)
    assert brief(found) == [("plugin", "plugin", "recorded"), ("plugin", "stray", "none")]
    assert found[0].via.endswith(f"in group {group}, which {PLUGIN_GROUPS[group]} loads")
    without = read(prefix, TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    assert len(without) == (0 if group == "torch.backends" else 2)


def test_what_breakpoint_calls(prefix: Path) -> None:
    (site_of(prefix) / "debug.py").write_text("")
    assert brief(read(prefix, PYTHONBREAKPOINT="debug.here")) == [("module", "debug", "none")]
    for value in ("0", "", "print", "no.where"):
        assert read(prefix, PYTHONBREAKPOINT=value) == []


def test_settings_are_listed_with_their_values(prefix: Path) -> None:
    found = read(prefix, GLIBC_TUNABLES="glibc.malloc.check=3", LD_PROFILE="libm.so.6", UNKNOWN="1")
    assert [(one.kind, one.name, one.text) for one in found] == [
        ("setting", "GLIBC_TUNABLES", "glibc.malloc.check=3"),
        ("setting", "LD_PROFILE", "libm.so.6"),
    ]


def test_profiles_plugins_and_caches(prefix: Path) -> None:
    (prefix / "env.sh").write_text("export X=1\n")
    (prefix / "libplug.so").write_bytes(b"\x7fELF")
    (prefix / "cache").mkdir(mode=0o755)
    found = read(
        prefix,
        BASH_ENV=str(prefix / "env.sh"),
        NCCL_NET_PLUGIN=str(prefix / "libplug.so"),
        TRITON_CACHE_DIR=str(prefix / "cache"),
    )
    assert [(one.kind, one.path, one.via) for one in found] == [
        ("profile", str(prefix / "env.sh"), "BASH_ENV"),
        ("library", str(prefix / "libplug.so"), "NCCL_NET_PLUGIN"),
        ("cache", str(prefix / "cache"), "TRITON_CACHE_DIR"),
    ]


def test_no_variable_that_may_hold_a_secret_is_read() -> None:
    assert not [
        name for name in VARIABLES if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASS"))
    ]
