"""A script in the place of an interpreter is asked which one it starts, within limits and with our rights."""

from __future__ import annotations

import os
import sys
import time
import venv
from pathlib import Path

import pytest

from veracity.core.errors import UsageError
from veracity.observe import shim
from veracity.observe.interpreter import find_environment


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    return tmp_path / "env"


def script(folder: Path, body: str, name: str = "python") -> Path:
    place = folder / "shims" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/sh\n{body}\n")
    place.chmod(0o755)
    return place


@pytest.mark.parametrize("name", ["python", "python3.11", "python3.10"])
def test_what_a_shim_starts_is_the_interpreter(tmp_path: Path, environment: Path, name: str) -> None:
    """As pyenv and asdf have it; the shim's own name says nothing of what it starts."""
    place = script(tmp_path, f'echo "using 3.x"\nexec "{environment}/bin/python" "$@"', name)
    assert find_environment(place, {}) == find_environment(environment, {})


def test_what_it_starts_depends_on_folder_and_variables(
    tmp_path: Path, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = script(tmp_path, 'exec "$CHOSEN/$(cat .version)/bin/python" "$@"')
    (tmp_path / ".version").write_text("env\n")
    monkeypatch.chdir(tmp_path)
    assert find_environment(place, {"CHOSEN": str(tmp_path)}).prefix == str(environment)
    with pytest.raises(UsageError, match="does not start one here"):
        find_environment(place, {"CHOSEN": "/nowhere"})


def test_nothing_of_the_environment_is_executed(tmp_path: Path, environment: Path) -> None:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = environment / "lib" / version / "site-packages"
    (site / "planted.pth").write_text(f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'ran').touch()\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"
    )
    place = script(tmp_path, f'exec "{environment}/bin/python" "$@"')
    assert find_environment(place, {"PYTHONPATH": str(tmp_path)}).prefix == str(environment)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "body",
    [
        "exit 1",
        "echo /nowhere/python",
        "echo; echo relative",
        "echo /etc/hostname",
        "printf /bin/sh",
        'echo "$0"',
        "true",
    ],
)
def test_a_script_that_starts_none_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(UsageError, match="does not start one here") as raised:
        find_environment(script(tmp_path, body), {})
    assert "name the interpreter itself" in str(raised.value.diagnostics().remedy)


def test_a_script_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shim, "SECONDS", 0.5)
    place = script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid\nwait")
    with pytest.raises(UsageError, match="did not say"):
        find_environment(place, {})
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if (
            not Path(f"/proc/{pid}").exists()
            or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
        ):
            break
        time.sleep(0.01)
    else:
        pytest.fail("what the script started is still there")


def test_a_script_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did not say"):
        find_environment(script(tmp_path, "exec yes"), {})


def test_a_script_that_others_can_write_is_not_started(tmp_path: Path) -> None:
    place = script(tmp_path, f"touch {tmp_path}/ran")
    place.chmod(0o775)
    with pytest.raises(UsageError, match="others than you can write it"):
        find_environment(place, {})
    if os.geteuid() == 0:
        place.chmod(0o755)
        os.chown(place, 65534, 65534)
        with pytest.raises(UsageError, match="others than you can write it"):
            find_environment(place, {})
    assert not (tmp_path / "ran").exists()
