"""The first module of a guarded process: valid and silent in any Python, and a good neighbour."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from veracity.monitor.archive import build_archive

NAMES = ("python2.7", *(f"python3.{minor}" for minor in range(6, 15)))
REPORT = "import json, sys; print(json.dumps([sys.path, sorted(sys.modules), sys.argv]))"


def _pythons() -> list[str]:
    """One interpreter per version: those on PATH, those pyenv has, and this one."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = [shutil.which(name) for name in NAMES]
    found += sorted(glob.glob(os.path.join(root, "versions", "*", "bin", "python")))
    usable: dict[str, str] = {}
    for path in [sys.executable, *filter(None, found)]:
        asked = subprocess.run(
            [path, "-E", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            usable.setdefault(asked.stdout.strip(), path)
    return list(usable.values())


PYTHONS = _pythons()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guard's archive and a configuration that names it."""
    folder = tmp_path_factory.mktemp("archive")
    path = folder / "guard.zip"
    path.write_bytes(build_archive()[0])
    (folder / "spool").mkdir()
    config = {
        "run": "run-x",
        "archive": str(path),
        "socket": str(folder / "guard.sock"),
        "spool": str(folder / "spool"),
        "key": "00" * 32,
        "known_bytecode": "",
    }
    (folder / "guard.json").write_text(json.dumps(config))
    return path


def environment(*entries: Path | str, config: Path | None = None) -> dict[str, str]:
    """This environment with ``entries`` as the only PYTHONPATH."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VERACITY", "COV"))
    }
    kept["PYTHONPATH"] = os.pathsep.join(str(entry) for entry in entries)
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    if config is not None:
        kept["VERACITY_GUARD"] = str(config.parent / "guard.json")
    return kept


def run(python: str, code: str, env: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *flags, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_is_silent_and_leaves_the_path_as_it_was(python: str, archive: Path, tmp_path: Path) -> None:
    plain = run(python, REPORT, environment(tmp_path))
    guarded = run(python, REPORT, environment(archive, tmp_path, config=archive))
    assert (guarded.returncode, guarded.stderr) == (0, plain.stderr)
    paths, _, arguments = json.loads(guarded.stdout)
    assert [paths, arguments] == [json.loads(plain.stdout)[0], json.loads(plain.stdout)[2]]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("flag", ["-bb", "-Werror", "-OO"])
def test_it_is_silent_where_warnings_are_errors(python: str, flag: str, archive: Path) -> None:
    done = run(python, "print(1)", environment(archive, config=archive), flag)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@pytest.mark.parametrize("python", PYTHONS)
def test_a_sitecustomize_further_down_runs_as_it_would_have(
    python: str, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nMARK = 41\n"
        "sys.stderr.write(__name__ + ' ' + repr(sys.path[:1]) + ' ' + __file__ + '\\n')\n"
    )
    code = "import sitecustomize, sys; print(sitecustomize.MARK, 'sitecustomize' in sys.modules)"
    plain = run(python, code, environment(tmp_path))
    guarded = run(python, code, environment(archive, tmp_path, config=archive))
    assert plain.returncode == 0, plain.stderr
    assert (guarded.returncode, guarded.stdout, guarded.stderr) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
    )
    assert "sitecustomize" in guarded.stderr


FAILURES = {
    "raises": "raise RuntimeError('mine')\n",
    "name-error": "undefined_name\n",
    "import-error": "import nothing_of_that_name\n",
    "syntax-error": "def (:\n",
    "leaves": "import sys\nsys.exit(3)\n",
}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("text", FAILURES.values(), ids=FAILURES)
def test_what_it_raises_is_shown_as_it_would_have_been(
    python: str, text: str, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(text)
    plain = run(python, "print(1)", environment(tmp_path))
    guarded = run(python, "print(1)", environment(archive, tmp_path, config=archive))
    assert (guarded.returncode, guarded.stdout) == (plain.returncode, plain.stdout)
    assert guarded.stderr.splitlines()[-1:] == plain.stderr.splitlines()[-1:]
    # Where Python shows a whole traceback (it does when sitecustomize leaves), ours is in its middle.
    assert "guard.zip" not in guarded.stderr or "sys.exit" in text


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "text", [FAILURES["raises"], FAILURES["import-error"]], ids=["raises", "import-error"]
)
def test_and_shown_in_full_with_verbose(python: str, text: str, archive: Path, tmp_path: Path) -> None:
    """Python tells the whole traceback only where it is asked to; ours may stand above it, never instead."""
    (tmp_path / "sitecustomize.py").write_text(text)
    verbose = {"PYTHONVERBOSE": "1"}
    guarded = run(python, "print(1)", {**environment(archive, tmp_path, config=archive), **verbose})
    plain = run(python, "print(1)", {**environment(tmp_path), **verbose})
    assert guarded.returncode == plain.returncode
    wanted = [line for line in plain.stderr.splitlines() if "Error: " in line]
    assert set(wanted) <= set(guarded.stderr.splitlines())


@pytest.mark.parametrize("python", PYTHONS)
def test_a_broken_guard_is_not_noticed_by_the_program(python: str, archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "guard.zip"
    shutil.copyfile(archive, broken)
    for text in (
        "",
        "{",
        '{"run": 1}',
        '{"run":"r","archive":"/x","socket":"","spool":"","key":"zz","known_bytecode":""}',
    ):
        (tmp_path / "guard.json").write_text(text)
        done = run(python, "print(1)", environment(broken, config=broken))
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    (tmp_path / "guard.json").unlink()
    os.mkfifo(tmp_path / "guard.json")
    done = subprocess.run(
        [python, "-c", "print(1)"],
        env=environment(broken, config=broken),
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@pytest.mark.parametrize("python", PYTHONS)
def test_an_archive_that_is_gone_or_torn_is_not_noticed(python: str, archive: Path, tmp_path: Path) -> None:
    torn = tmp_path / "guard.zip"
    torn.write_bytes(archive.read_bytes()[:2000])
    for path in (torn, tmp_path / "absent.zip"):
        done = run(python, "print(1)", environment(path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_a_guarded_process_without_torch_writes_nothing(archive: Path) -> None:
    code = "import sys, json; print([n for n in sys.modules if n.startswith('_veracity_guard')] != [])"
    done = run(sys.executable, code, environment(archive, config=archive))
    assert done.stdout == "True\n"
    assert list((archive.parent / "spool").iterdir()) == []


def test_the_archive_shadows_no_module_of_the_program(archive: Path, tmp_path: Path) -> None:
    """A package called veracity, guard or core that the program has of its own is what it imports."""
    for name in ("veracity", "guard", "core"):
        (tmp_path / f"{name}.py").write_text(f"WHO = 'own {name}'")
    code = "import veracity, guard, core; print(veracity.WHO, guard.WHO, core.WHO)"
    done = run(sys.executable, code, environment(archive, tmp_path, config=archive))
    assert (done.stdout, done.stderr) == ("own veracity own guard own core\n", "")
