"""``veracity scan --env``: a real environment, with and without something in the place of what files name.

What replaces a name here does nothing but leave a mark, and the environment's own Python is asked once
whether loading the file would have executed it.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import importlib.util
import json
import os
import pickle
import py_compile
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.once import once
from tests.scan.wheels import make_environment, make_wheel, packages
from veracity.cli.main import main

Captured = pytest.CaptureFixture[str]
NET = b"class Net:\n    width = 3\n"
REPLACED = """\
import collections


class Marked(dict):  # marked: stands in for a payload
    def __setitem__(self, key, value):
        print("MARKED: executed while a file was loaded")
        super().__setitem__(key, value)


collections.OrderedDict = Marked
"""
PERMIT = """\
[[scan.permit]]
global = "alpha.model:Net"
reason = "our model"
owner = "a team"
expires = 2099-01-01
"""


def make(folder: Path) -> None:
    wheels = folder / "wheels"
    wheels.mkdir()
    files = {"alpha/__init__.py": b"", "alpha/model.py": NET, "alpha/again.py": b"from .model import Net\n"}
    make_environment(folder / "venv", [make_wheel(wheels, "alpha", files)])


@pytest.fixture
def python(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An interpreter with one package; its folder of packages is put back afterwards."""
    root = once(tmp_path_factory, "live", make)
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path / "files")
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = root / "venv" / "bin" / "python"
    kept = tmp_path / "kept"
    shutil.copytree(packages(found), kept, symlinks=True)
    yield found
    shutil.rmtree(packages(found))
    shutil.copytree(kept, packages(found), symlinks=True)


def ordered(path: str = "ordered.pkl") -> None:
    Path(path).write_bytes(pickle.dumps(collections.OrderedDict(a=1), 4))


def net(path: str = "net.pkl", module: str = "alpha.model") -> None:
    texts = b"".join(b"X" + struct.pack("<I", len(one)) + one for one in (module.encode(), b"Net"))
    Path(path).write_bytes(b"\x80\x04" + texts + b"\x93)\x81.")


def scanned(python: Path, capsys: Captured, *more: str) -> tuple[int, dict[str, dict[str, object]]]:
    """The exit code, and what is said of each file by its name."""
    code = main(["scan", ".", "--env", str(python), "--format", "json", *more])
    return code, {one["path"]: one for one in json.loads(capsys.readouterr().out)["files"]}


def told(result: dict[str, object]) -> list[tuple[str, str]]:
    found = result["findings"]
    assert isinstance(found, list)
    return [(one["rule"], one["severity"]) for one in found]


def first(result: dict[str, object]) -> dict[str, object]:
    found = result["findings"]
    assert isinstance(found, list)
    one: dict[str, object] = found[0]
    return one


def test_an_environment_without_fault_makes_no_file_a_finding(python: Path, capsys: Captured) -> None:
    ordered()
    net()
    Path("veracity.toml").write_text(PERMIT)
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert (code, {one["status"] for one in files.values()}) == (0, {"clean"})
    assert set(files) == {"ordered.pkl", "net.pkl", str(python)}
    assert main(["scan", "ordered.pkl", "--env", str(python)]) == 0
    assert "taken as found there" in " ".join(capsys.readouterr().out.split())  # Python's own, of no package


def asked(python: Path) -> bool:
    """Whether loading the file there executes what was put in the place of a name."""
    load = "import pickle; pickle.load(open('ordered.pkl', 'rb'))"
    told = subprocess.run([python, "-c", load], capture_output=True, text=True, check=True, timeout=60)
    return "MARKED" in told.stdout


@pytest.mark.parametrize("place", ["sitecustomize.py", "hook.pth"])
def test_a_replaced_name_is_found_where_python_would_execute_it(
    python: Path, capsys: Captured, place: str
) -> None:
    ordered()
    site = packages(python)
    code = site / ("hook.py" if place == "hook.pth" else place)
    code.write_text(REPLACED)
    if place == "hook.pth":
        (site / place).write_text("import hook\n")
    assert asked(python)

    exit_code, files = scanned(python, capsys)
    assert exit_code == 1
    assert ("checkpoint-global-redefined", "error") in told(files["ordered.pkl"])
    assert ("environment-startup-unowned", "warning") in told(files[str(python)])
    finding = first(files["ordered.pkl"])
    assert f"{code}:10 sets collections.OrderedDict" in str(finding["message"])
    assert str(finding["locations"]).startswith("[{'path': 'ordered.pkl', 'line': 0}")


def test_what_python_does_not_execute_replaces_nothing(python: Path, capsys: Captured) -> None:
    ordered()
    # A virtual environment that is apart from its installation has no code of the account's.
    (packages(python) / "usercustomize.py").write_text(REPLACED)
    (packages(python) / "hook.pth").write_text("# import hook\n")
    (packages(python) / "hook.py").write_text(REPLACED)
    assert not asked(python)
    code, files = scanned(python, capsys)
    assert (code, files["ordered.pkl"]["status"]) == (0, "clean")


def test_a_file_that_names_something_else_is_none(python: Path, capsys: Captured) -> None:
    (packages(python) / "sitecustomize.py").write_text(REPLACED)
    Path("plain.pkl").write_bytes(pickle.dumps({"a": 1}))
    code, files = scanned(python, capsys)
    assert (code, files["plain.pkl"]["status"]) == (1, "clean")  # the environment itself is a finding


def test_a_comment_inside_a_checkpoint_sets_nothing_aside(python: Path, capsys: Captured) -> None:
    (packages(python) / "sitecustomize.py").write_text(REPLACED)
    comment = "\n" * 9 + "# veracity: ignore[checkpoint-global-redefined]: reviewed\n" * 3
    Path("ordered.pkl").write_bytes(pickle.dumps(collections.OrderedDict(a=comment), 4))
    code, files = scanned(python, capsys)
    assert code == 1
    assert told(files["ordered.pkl"]) == [("checkpoint-global-redefined", "error")]


def test_an_edited_module_and_one_that_stands_before_it(
    python: Path, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net()
    Path("veracity.toml").write_text(PERMIT)
    module = packages(python) / "alpha" / "model.py"
    module.write_bytes(NET + b"# marked: edited\n")
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert (code, told(files["net.pkl"])) == (1, [("checkpoint-global-redefined", "error")])

    module.write_bytes(NET)
    (tmp_path / "before" / "alpha").mkdir(parents=True)
    (tmp_path / "before" / "alpha" / "__init__.py").write_text("")
    (tmp_path / "before" / "alpha" / "model.py").write_bytes(NET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "before"))
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert code == 1
    assert ("checkpoint-global-redefined", "warning") in told(files["net.pkl"])


def test_forged_bytecode_is_found_though_the_source_is_whole(python: Path, capsys: Captured) -> None:
    net()
    Path("veracity.toml").write_text(PERMIT)
    module = packages(python) / "alpha" / "model.py"
    status = module.stat()
    module.write_bytes(NET.replace(b"3", b"4"))
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    py_compile.compile(str(module), cfile=importlib.util.cache_from_source(str(module)))
    module.write_bytes(NET)
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert (code, told(files["net.pkl"])) == (1, [("checkpoint-global-redefined", "error")])
    assert ("environment-bytecode-differs", "error") in told(files[str(python)])


def test_a_permit_bound_to_a_digest_holds_for_that_file(python: Path, capsys: Captured) -> None:
    net()
    net("again.pkl", "alpha.again")  # from where it is only handed on
    digest = hashlib.sha256(NET).hexdigest()
    permit = f'{PERMIT}sha256 = "{digest}"\n'
    Path("veracity.toml").write_text(permit + permit.replace("alpha.model", "alpha.again"))
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert (code, files["net.pkl"]["findings"], files["again.pkl"]["findings"]) == (0, [], [])

    assert main(["scan", "net.pkl"]) == 1
    assert "with --env PYTHON" in " ".join(capsys.readouterr().out.split())

    other = "0" * 64
    Path("veracity.toml").write_text(f'{PERMIT}sha256 = "{other}"\n')
    assert main(["scan", "net.pkl", "--env", str(python), "--format", "json"]) == 1
    message = json.loads(capsys.readouterr().out)["files"][-1]["findings"][0]["message"]
    assert other in message
    assert digest in message
    assert str(packages(python) / "alpha" / "model.py") in message


def test_a_bound_permit_for_a_packaged_name_narrows(python: Path, capsys: Captured) -> None:
    ordered()
    Path("veracity.toml").write_text(
        PERMIT.replace("alpha.model:Net", "collections:OrderedDict") + f'sha256 = "{"0" * 64}"\n'
    )
    code, files = scanned(python, capsys, "--exclude", "*.toml")
    assert (code, told(files["ordered.pkl"])) == (1, [("checkpoint-pickle-unknown-global", "warning")])


def test_an_archive_is_asked_in_the_place_of_a_record_that_was_edited_too(
    python: Path, capsys: Captured
) -> None:
    net()
    Path("veracity.toml").write_text(PERMIT)
    wheels = ("--exclude", "*.toml", "--wheels", str(python.parents[2] / "wheels"))
    assert scanned(python, capsys, *wheels)[0] == 0

    site = packages(python)
    edited = NET + b"# marked: edited\n"
    (site / "alpha" / "model.py").write_bytes(edited)
    record = site / "alpha-1.0.dist-info" / "RECORD"
    digest = base64.urlsafe_b64encode(hashlib.sha256(edited).digest()).rstrip(b"=").decode()
    lines = [line for line in record.read_text().splitlines() if not line.startswith("alpha/model.py")]
    record.write_text("\n".join([*lines, f"alpha/model.py,sha256={digest},{len(edited)}"]) + "\n")
    shutil.rmtree(site / "alpha" / "__pycache__", ignore_errors=True)
    assert scanned(python, capsys, *wheels[:2])[0] == 0  # the RECORD says that all is well
    code, files = scanned(python, capsys, *wheels)
    assert (code, told(files["net.pkl"])) == (1, [("checkpoint-global-redefined", "error")])
    assert "alpha-1.0-py3-none-any.whl" in str(first(files["net.pkl"])["message"])

    Path("empty").mkdir()
    code, files = scanned(python, capsys, "--exclude", "*.toml", "--wheels", "empty")
    assert (code, files["net.pkl"]["status"]) == (2, "incomplete")
    assert main(["scan", ".", "--wheels", "empty"]) == 2


def test_what_the_environment_lacks_is_incomplete(python: Path, capsys: Captured) -> None:
    net("other.pkl", "torch.nn.modules.linear")
    Path("other.pkl").write_bytes(Path("other.pkl").read_bytes().replace(b"\3\0\0\0Net", b"\6\0\0\0Linear"))
    code, files = scanned(python, capsys)
    assert (code, files["other.pkl"]["status"]) == (2, "incomplete")


def test_flags_that_do_not_fit(python: Path, capsys: Captured) -> None:
    ordered()
    assert main(["scan", ".", "--env", "nowhere"]) == 2
    assert "no Python interpreter" in capsys.readouterr().err
    assert main(["scan", "--diff", "HEAD", "--env", str(python)]) == 2
