"""What an interpreter executes before the program, found without running it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.observe.test_pyenv import install
from veracity.core.observation import StartupItem
from veracity.core.origin import monitor_origin
from veracity.observe.pyenv import RecordIndex
from veracity.observe.startup import MAX_FILE, MAX_PTH, MAX_SMALL, Interpreter, StartupReader

PATCH = "import random\nrandom.random = lambda: 0.5\n"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A folder that looks like an environment of Python 3.11."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("")
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    return tmp_path


def site_of(prefix: Path) -> Path:
    return prefix / "lib" / "python3.11" / "site-packages"


def reader_of(prefix: Path, **variables: str) -> StartupReader:
    one = Interpreter(str(prefix / "bin" / "python"), "3.11", variables, "/guard.zip")
    return StartupReader(one, RecordIndex([]), monitor_origin(1))


def read(prefix: Path, **variables: str) -> list[StartupItem]:
    return reader_of(prefix, **variables).read()


def test_nothing(prefix: Path) -> None:
    (site_of(prefix) / "paths.pth").write_text("# a comment\n/opt/project/src\n\nimportant\n")
    assert read(prefix) == []


def test_a_line_and_what_it_imports(prefix: Path) -> None:
    site = site_of(prefix)
    (site / "zz.pth").write_text("/nowhere\nimport early.settings\n")
    (site / "early").mkdir()
    (site / "early" / "__init__.py").write_text("")
    (site / "early" / "settings.py").write_text("import deeper, os\n")
    (site / "deeper.py").write_text(PATCH)
    line, package, module, deeper = read(prefix)
    assert (line.kind, line.line, line.text) == ("pth", 2, "import early.settings")
    assert (package.name, module.name, deeper.name) == ("early", "early.settings", "deeper")
    assert module.via == f"{site / 'zz.pth'}:2"
    assert (deeper.standing, deeper.effect, deeper.effects) == (
        "none",
        "replaces",
        ["2: random.random = lambda: 0.5"],
    )
    assert deeper.sha256 == hashlib.sha256(PATCH.encode()).hexdigest()


def test_owned_code_is_listed_and_not_followed(prefix: Path) -> None:
    site = site_of(prefix)
    install(site, "setuptools", {"distutils-precedence.pth": b"import os; __import__('_hack')\n"})
    (site / "_hack.py").write_text(PATCH)
    (item,) = read(prefix)
    assert (item.standing, item.owner, item.effect) == ("recorded", "setuptools", "")
    (site / "distutils-precedence.pth").write_text("import _hack\n")
    line, module = read(prefix)
    assert (line.standing, module.effect) == ("altered", "replaces")


def test_virtualenv_is_known_unless_its_module_does_more(prefix: Path) -> None:
    site = site_of(prefix)
    (prefix / "pyvenv.cfg").write_text("home = /nowhere/bin\n")
    (site / "_virtualenv.pth").write_text("import _virtualenv")
    (site / "_virtualenv.py").write_text("import sys\nsys.meta_path.insert(0, object())\n")
    assert [item.standing for item in read(prefix)] == ["known"]
    (site / "_virtualenv.py").write_text(PATCH)
    assert [(item.standing, item.effect) for item in read(prefix)] == [("none", ""), ("none", "replaces")]
    (site / "_virtualenv.py").write_text("import helper\n")  # nothing that effects would be told of
    assert [item.standing for item in read(prefix)] == ["none", "none"]


def test_customizing_modules_by_the_path(prefix: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "sitecustomize.py").write_text("x = 1\n")
    (extra / "usercustomize.py").write_text("x = 1\n")
    path = f"/guard.zip:{extra}"
    kinds = [(item.kind, item.path) for item in read(prefix, PYTHONPATH=path)]
    assert kinds == [
        ("sitecustomize", str(extra / "sitecustomize.py")),
        ("usercustomize", str(extra / "usercustomize.py")),
    ]
    assert len(read(prefix, PYTHONPATH=path, PYTHONNOUSERSITE="1")) == 1
    for own, found in (("false", 1), ("true", 2)):
        settings = f"home = /nowhere/bin\ninclude-system-site-packages = {own}\n"
        (prefix / "pyvenv.cfg").write_text(settings)
        assert len(read(prefix, PYTHONPATH=path)) == found


def test_compiled_code_without_a_source(prefix: Path) -> None:
    (site_of(prefix) / "sitecustomize.pyc").write_bytes(b"\0" * 20)
    (item,) = read(prefix)
    assert item.text == "it is compiled code without a source"


def test_the_standard_library_is_not_listed_but_its_sitecustomize_is(prefix: Path) -> None:
    library = prefix / "lib" / "python3.11"
    (library / "antigravity.py").write_text("")
    (library / "sitecustomize.py").write_text("")
    (site_of(prefix) / "a.pth").write_text("import antigravity\n")
    assert [item.kind for item in read(prefix)] == ["pth", "sitecustomize"]


def test_a_warning_filter_imports_a_module(prefix: Path) -> None:
    (site_of(prefix) / "filters.py").write_text("")
    assert [item.name for item in read(prefix, PYTHONWARNINGS="ignore::filters.Noise,error")] == ["filters"]
    assert read(prefix, PYTHONWARNINGS="ignore::DeprecationWarning,ignore:a message") == []


def test_plugins_of_torch(prefix: Path) -> None:
    site = site_of(prefix)
    info = install(site, "backend", {"backend/__init__.py": b""})
    (info / "entry_points.txt").write_text(
        "[console_scripts]\nx=y:z\n[torch.backends]\nmine = backend:load\n"
    )
    stray = site / "stray-1.0.dist-info"
    stray.mkdir()
    (stray / "entry_points.txt").write_text("[torch.backends]\nstray = stray:load\n")
    (site / "stray.py").write_text("import torch\n")
    assert [(item.name, item.standing) for item in read(prefix)] == [
        ("backend", "recorded"),
        ("stray", "none"),
    ]
    assert read(prefix, TORCH_DEVICE_BACKEND_AUTOLOAD="0") == []


def test_preloaded_libraries(prefix: Path) -> None:
    library = prefix / "lib" / "libfast.so"
    library.write_bytes(b"\x7fELF")
    found = read(prefix, LD_PRELOAD=f"{library} /nowhere.so")
    assert [(item.kind, item.path, item.standing, item.via) for item in found] == [
        ("preload", str(library), "none", "LD_PRELOAD")
    ]
    by_name = read(prefix, LD_PRELOAD="libfast.so", LD_LIBRARY_PATH=str(library.parent))
    assert [item.path for item in by_name] == [str(library)]


@pytest.mark.parametrize("word", ["$LIB", "${LIB}", "lib/$PLATFORM-linux-gnu"])
def test_a_preloaded_library_behind_the_loaders_tokens(prefix: Path, word: str) -> None:
    folder = prefix / "lib" / f"{os.uname().machine}-linux-gnu"
    folder.mkdir()
    (folder / "libfast.so").write_bytes(b"\x7fELF")
    found = read(prefix, LD_PRELOAD=f"{prefix}/{word}/libfast.so")
    assert [item.path for item in found] == [str(folder / "libfast.so")]
    (prefix / "bin" / "libnear.so").write_bytes(b"\x7fELF")
    found = read(prefix, LD_PRELOAD="$ORIGIN/libnear.so ${ORIGIN}/libnear.so $ORIGINAL/libnear.so")
    assert [item.path for item in found] == [str(prefix / "bin" / "libnear.so")]


def test_a_module_the_guard_found_is_read_once(prefix: Path) -> None:
    (site_of(prefix) / "a.pth").write_text("import early\n")
    (site_of(prefix) / "early.py").write_text("")
    (site_of(prefix) / "hidden.py").write_text(PATCH)
    reader = reader_of(prefix)
    assert len(reader.read()) == 2
    reader.early("early", str(site_of(prefix) / "early.py"))
    reader.early("hidden", str(site_of(prefix) / "hidden.py"))
    assert [item.name for item in reader.items[2:]] == ["hidden"]
    assert reader.items[2].effect == "replaces"


def test_items_are_bounded(prefix: Path) -> None:
    (site_of(prefix) / "many.pth").write_text("import nothing\n" * 700)
    reader = reader_of(prefix)
    assert len(reader.read()) == 500
    assert reader.more == 200


@pytest.mark.parametrize("hidden", ["sitecustomize.abi3.so", "sitecustomize.so", "sitecustomize/__init__.so"])
def test_what_python_would_take_before_the_text_is_what_is_read(prefix: Path, hidden: str) -> None:
    """Libraries come before texts, and folders before both, within one place of the path."""
    site = site_of(prefix)
    install(site, "honest", {"sitecustomize.py": b"x = 1\n"})
    assert [(item.path, item.standing) for item in read(prefix)] == [
        (str(site / "sitecustomize.py"), "recorded")
    ]
    (site / hidden).parent.mkdir(exist_ok=True)
    (site / hidden).write_bytes(b"\x7fELF")
    (item,) = read(prefix)
    assert (item.kind, item.path, item.standing) == ("sitecustomize", str(site / hidden), "none")


def test_a_customizing_module_among_the_librarys_extensions(prefix: Path) -> None:
    extensions = prefix / "lib" / "python3.11" / "lib-dynload"
    extensions.mkdir()
    (extensions / "sitecustomize.so").write_bytes(b"\x7fELF")
    assert [item.path for item in read(prefix)] == [str(extensions / "sitecustomize.so")]


def test_what_is_too_large_to_be_read_is_a_gap(prefix: Path) -> None:
    """Python executes a line behind megabytes of comments as well."""
    site = site_of(prefix)
    (site / "large.pth").write_bytes(b"#" * MAX_SMALL + b"\nimport nothing\n")
    (site / "sitecustomize.py").write_bytes(b"#" * MAX_SMALL + b"\n" + PATCH.encode())
    with (site / "usercustomize.py").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    reader = reader_of(prefix)
    (item,) = reader.read()
    assert (item.kind, item.standing, item.text[:15]) == ("sitecustomize", "none", "it is longer th")
    assert [gap.what.partition(" was ")[0] for gap in reader.gaps()] == [
        str(site / "large.pth"),
        str(site / "usercustomize.py"),
    ]


def test_more_path_files_than_are_read_are_a_gap(prefix: Path) -> None:
    for number in range(MAX_PTH):
        (site_of(prefix) / f"{number:04}.pth").write_text("")
    (site_of(prefix) / "zz.pth").write_text("import nothing\n")
    reader = reader_of(prefix)
    assert reader.read() == []
    (gap,) = reader.gaps()
    assert gap.what == "1 further thing among what executes at start-up cannot be listed"
