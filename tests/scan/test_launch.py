"""What lies beside an environment's interpreter and decides what it starts with."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scan.wheels import make_environment, make_installation, make_wheel, packages
from veracity.core.observation import DistributionCompared, Gap, StrayFile
from veracity.core.tree import FILE, UNREAD, TreeEntry
from veracity.observe.interpreter import find_environment
from veracity.scan.archives import Archives
from veracity.scan.environment import EnvironmentCheck
from veracity.scan.launch import find_launch

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def found(root: Path, commands: frozenset[str] | None = frozenset()) -> list[str]:
    """Gaps by what they say, files by their places and kinds."""
    environment = find_environment(root / "env", {})
    return [
        f"{one.what}: {one.reason}"
        if isinstance(one, Gap)
        else f"{one.kind} {Path(one.path).relative_to(root)}"
        for one in find_launch(environment, commands)
    ]


def settings(root: Path, key: str, value: str) -> None:
    path = root / "env/pyvenv.cfg"
    path.write_text(f"{path.read_text()}{key}={value}\n")


def other_home(root: Path) -> None:
    make_installation(root / "evil")
    path = root / "env/pyvenv.cfg"
    path.write_text(f"Home={root / 'evil/bin'}\n{path.read_text()}")  # the first one counts


def hidden_home(root: Path) -> None:
    """A line for who ends lines as Python does not."""
    path = root / "env/pyvenv.cfg"
    true = path.read_text()
    other_home(root)
    path.write_text(f"x\x0b{true.splitlines()[0]}\n{path.read_text()}")


def other_program(root: Path) -> None:
    (root / "env/bin/python3").unlink()
    (root / "env/bin/python3").write_text("#!/bin/sh\n")


def no_packages(root: Path) -> None:
    shutil.rmtree(packages(root / "env/bin/python"))


def put(name: str, text: str = "") -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (other_home, "pyvenv.cfg leads to"),
        (hidden_home, "pyvenv.cfg leads to"),
        (lambda root: settings(root, "version", "3.8"), "pyvenv.cfg says that it is of version 3.8"),
        (no_packages, "it has no folder of packages"),
        (other_program, "env/bin/python3 is another program"),
        (put("env/bin/pyvenv.cfg"), "startup env/bin/pyvenv.cfg"),
        (put("env/bin/python3._pth"), "startup env/bin/python3._pth"),
        (put(f"env-base/lib/python{VERSION.replace('.', '')}.zip"), "module env-base/lib/python3"),
        (put("env/bin/re.py"), "module env/bin/re.py"),
        (put("env/bin/json.so"), "module env/bin/json.so"),
        (put("env/bin/json/__init__.pyc"), "module env/bin/json/__init__.pyc"),
    ],
)
def test_what_changes_the_start_is_told(tmp_path: Path, edit: Callable[[Path], None], says: str) -> None:
    make_environment(tmp_path / "env", [])
    assert found(tmp_path) == []
    edit(tmp_path)
    (one,) = found(tmp_path)
    assert says in one


def test_what_tools_put_there_is_none_of_it(tmp_path: Path) -> None:
    make_environment(tmp_path / "env", [])
    for name in ("activate_this.py", "activate", "deactivate.nu", "x-y.py", "tool.py", "run.sh"):
        put(f"env/bin/{name}")(tmp_path)
    put("env/bin/__pycache__/tool.pyc")(tmp_path)
    shutil.copy(tmp_path / f"env-base/bin/python{VERSION}", tmp_path / "env/bin/copy")
    (tmp_path / "env/bin/python3").unlink()
    (tmp_path / "env/bin/copy").rename(tmp_path / "env/bin/python3")
    assert found(tmp_path, frozenset({"tool.py"})) == []
    put("env/bin/other.py")(tmp_path)
    assert found(tmp_path, None) == []


def test_a_virtual_environment_has_no_library_of_its_own(tmp_path: Path) -> None:
    """A library put into it would be sealed for the true one, and its wheels would vouch."""
    make_environment(tmp_path / "env", [])
    own = tmp_path / f"env/lib/python{VERSION}"
    (own / "os.py").write_text("")
    library = find_environment(tmp_path / "env", {}).stdlib
    assert library == str(tmp_path / f"env-base/lib/python{VERSION}")


def test_wheels_beside_pythons_own_vouch_for_nothing(tmp_path: Path) -> None:
    for name in ("pip", "evil"):
        make_wheel(tmp_path, name, {f"{name}.py": b""})
    archives = Archives(tmp_path / "cache", [], [], [tmp_path])
    assert archives.versions("pip") == ["1.0"]
    assert archives.versions("evil") == []


@pytest.mark.parametrize(
    "line", ["include-system-site-packages=true", "Include-System-Site-Packages  =  TRUE"]
)
def test_settings_are_read_as_python_reads_them(tmp_path: Path, line: str) -> None:
    make_environment(tmp_path / "env", [])
    site = tmp_path / f"env-base/lib/python{VERSION}/site-packages"
    site.mkdir()
    assert str(site) not in find_environment(tmp_path / "env", {}).sites
    key, _, value = line.partition("=")
    settings(tmp_path, key, value)
    assert str(site) in find_environment(tmp_path / "env", {}).sites


def test_data_among_packages_and_commands_came_with_its_archive(tmp_path: Path) -> None:
    site = f"lib/python{VERSION}/site-packages"
    data = {f"alpha-1.0.data/data/{name}": b"" for name in (f"{site}/placed.py", "bin/tool.py")}
    made = make_wheel(tmp_path, "alpha", {"alpha.py": b"x = 1\n", **data})
    make_environment(tmp_path / "env", [made])
    tree = {name.encode(): TreeEntry(FILE, 0o644, 0, name.encode(), sha256(b"")) for name in ("placed.py",)}
    check = checked(tmp_path, tree)
    assert not [one for one in check.run() if isinstance(one, StrayFile)]
    assert "tool.py" in check.commands


def test_a_file_that_cannot_be_read_is_a_gap_and_no_altered_file(tmp_path: Path) -> None:
    made = make_wheel(tmp_path, "alpha", {"alpha.py": b"x = 1\n"})
    make_environment(tmp_path / "env", [made])
    check = checked(tmp_path, {b"alpha.py": TreeEntry(FILE, 0, 6, b"alpha.py", UNREAD)})
    compared, gap = check.run()
    assert isinstance(compared, DistributionCompared)
    assert compared.differing == []
    assert isinstance(gap, Gap)
    assert gap.reason == "they could not be read"


def checked(root: Path, tree: dict[bytes, TreeEntry]) -> EnvironmentCheck:
    """Files that are not in ``tree`` are read where they lie."""
    environment = find_environment(root / "env", {})
    return EnvironmentCheck(environment, environment.sites[0], tree, Archives(root / "cache", [], [root]))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
