"""Which files a shell executes first; beside what a real bash does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe import shellprofile
from veracity.observe.shellprofile import profiles_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An account's folder with a file of each kind, and a folder of the system's."""
    for name in (".bash_profile", ".profile", ".bashrc", ".zshenv", ".zshrc", ".zprofile"):
        (tmp_path / name).write_text("")
    (tmp_path / "profile.d").mkdir()
    (tmp_path / "profile.d" / "modules.sh").write_text("")
    (tmp_path / "profile.d" / "modules.csh").write_text("")
    monkeypatch.setattr(shellprofile, "PROFILES", str(tmp_path / "profile.d"))
    return tmp_path


def found(home: Path, *command: str, **variables: str) -> list[str]:
    """Names of the files: those at home, and of the system's those that the test is about."""
    given = {"HOME": str(home), **variables}
    return [path.removeprefix(f"{home}/") for path, _ in profiles_of(command, given)]


LOGIN = ["/etc/profile", "profile.d/modules.sh"]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("python", "train.py"), []),
        (("bash", "-c", "python train.py"), []),
        (("bash", "job.sh", "-l"), []),
        (("/bin/bash", "-lc", "python train.py"), [*LOGIN, ".bash_profile"]),
        (("bash", "--login", "-c", "x"), [*LOGIN, ".bash_profile"]),
        (("bash", "-e", "-l", "job.sh"), [*LOGIN, ".bash_profile"]),
        (("-bash",), [*LOGIN, ".bash_profile"]),
        (("bash", "--noprofile", "-l", "-c", "x"), []),
        (("bash", "-ic", "x"), ["/etc/bash.bashrc", ".bashrc"]),
        (("bash", "--norc", "-i"), []),
        (("bash", "--rcfile", "/opt/rc", "-i"), ["/etc/bash.bashrc", "/opt/rc"]),
        (("bash", "-o", "pipefail", "-l", "job.sh"), [*LOGIN, ".bash_profile"]),
        (("bash", "--", "-l"), []),
        (("sh", "-l"), [*LOGIN, ".profile"]),
        (("srun", "--pty", "bash", "-l"), [*LOGIN, ".bash_profile"]),
        (("zsh", "-c", "x"), ["/etc/zsh/zshenv", "/etc/zshenv", ".zshenv"]),
    ],
)
def test_by_the_shells_options(home: Path, command: tuple[str, ...], names: list[str]) -> None:
    assert found(home, *command) == names


def test_the_first_one_that_is_there(home: Path) -> None:
    (home / ".bash_profile").unlink()
    assert found(home, "bash", "-lc", "x")[-1] == ".profile"


def test_variables(home: Path) -> None:
    assert found(home, "bash", "job.sh", BASH_ENV="/opt/modules/init") == ["/opt/modules/init"]
    assert found(home, "bash", "-i", BASH_ENV="/opt/modules/init")[-1] == ".bashrc"
    assert found(home, "sh", "-i", ENV="/opt/env") == ["/opt/env"]
    assert found(home, "sh", "-c", "x", ENV="/opt/env", BASH_ENV="/opt/x") == []


def test_a_script_by_its_first_line(home: Path) -> None:
    script = home / "job.sh"
    script.write_text("#!/bin/bash -l\npython train.py\n")
    assert found(home, str(script)) == [*LOGIN, ".bash_profile"]
    script.write_text("#!/usr/bin/env -S bash -l\n")
    assert found(home, str(script)) == [*LOGIN, ".bash_profile"]
    for text in ("#!/usr/bin/python\n", "", "bash -l\n"):
        script.write_text(text)
        assert found(home, str(script)) == []


@given(st.lists(st.sampled_from(["bash", "sh", "-l", "-i", "-c", "--", "-", "", "-o", "--rcfile", "x"])))
def test_any_command_has_an_answer(words: list[str]) -> None:
    list(profiles_of(words, {}))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("flags", [["-lc"], ["-c"], ["--login", "-c"], ["-ic"], ["--noprofile", "-lc"]])
def test_the_same_as_a_real_bash(home: Path, flags: list[str]) -> None:
    write: Callable[[str], object] = lambda name: (home / name).write_text(f"echo ran {name}\n")  # noqa: E731
    for name in (".bash_profile", ".profile", ".bashrc", "env.sh"):
        write(name)
    variables = {"HOME": str(home), "BASH_ENV": str(home / "env.sh"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", *flags, "true"], env=variables, capture_output=True, text=True, check=True)
    ran = {line.removeprefix("ran ") for line in done.stdout.splitlines() if line.startswith("ran ")}
    said = {path.removeprefix(f"{home}/") for path, _ in profiles_of(["bash", *flags, "true"], variables)}
    assert ran == {name for name in said if not name.startswith(("/", "profile.d/"))}
