"""What defines a global in an environment: found from files, and compared with what Python itself finds."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.observe.test_pyenv import install
from veracity.core.origin import monitor_origin
from veracity.observe.definition.definitions import Definition, Definitions
from veracity.observe.definition.search import Finder, search_path
from veracity.observe.interpreter import find_environment

NET = ("project.model", "Net")
VERSION = "3.11"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A folder that looks like an installation of Python 3.11."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("")
    (tmp_path / "bin" / "python").chmod(0o755)
    library = tmp_path / "lib" / f"python{VERSION}"
    (library / "site-packages").mkdir(parents=True)
    (library / "os.py").write_text("")
    (library / "collections").mkdir()
    (library / "collections" / "__init__.py").write_text(
        "class OrderedDict(dict): ...\n"
        "try:\n    from _collections import OrderedDict\nexcept ImportError:\n    pass\n"
    )
    return tmp_path


def site_of(prefix: Path) -> Path:
    return prefix / "lib" / f"python{VERSION}" / "site-packages"


def definition(
    prefix: Path, key: tuple[str, str] = ("collections", "OrderedDict"), **variables: str
) -> Definition:
    environment = find_environment(prefix / "bin" / "python", variables)
    return Definitions(environment, variables, monitor_origin(1)).of(key)


def test_a_clean_environment_gives_files_and_no_doubt(prefix: Path) -> None:
    one = definition(prefix)
    assert [(each.module, each.standing) for each in one.files] == [
        ("collections", "library"),
        ("_collections", "interpreter"),
    ]
    assert one.definer == one.files[0]
    assert (one.replaced, one.beside, one.doubts, one.unowned) == ((), (), (), ())


@pytest.mark.parametrize(
    "text",
    [
        "import collections\nclass Mine(dict): ...\ncollections.OrderedDict = Mine\n",
        "import collections as c\nsetattr(c, 'OrderedDict', dict)\n",
        "from collections import OrderedDict\nOrderedDict.__setitem__ = print\n",
        "import sys, collections\nsys.modules['collections'].OrderedDict = dict\n",
        "import sys\nsys.modules['collections'] = object()\n",
        "import collections\nvars(collections)['OrderedDict'] = dict\n",
        "import collections\ncollections.__dict__.update(OrderedDict=dict)\n",
        "import collections\nfor name in ('OrderedDict',):\n    setattr(collections, name, dict)\n",
        "import _collections\n_collections.OrderedDict = dict\n",
        "import collections\ncollections.__setattr__('OrderedDict', dict)\n",
        "import collections\ntype.__setattr__(collections.OrderedDict, 'update', print)\n",
        'exec("import collections; collections.OrderedDict = dict")\n',
    ],
)
@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py", "line.pth"])
def test_code_at_the_start_that_replaces_the_name_is_seen(prefix: Path, text: str, name: str) -> None:
    site = site_of(prefix)
    if name == "line.pth":
        (site / "hook.py").write_text(text)
        (site / name).write_text("import hook\n")
    else:
        (site / name).write_text(text)
    assert definition(prefix).replaced
    assert not definition(prefix, ("datetime", "date")).replaced


def test_other_things_in_its_module_are_beside_and_other_modules_are_nothing(prefix: Path) -> None:
    (site_of(prefix) / "sitecustomize.py").write_text(
        "import os, collections\nos.environ['A'] = '1'\ncollections.Counter = dict\nod = {}\nod.x = 1\n"
    )
    one = definition(prefix)
    assert one.replaced == ()
    assert [(each.name, each.line) for each in one.beside] == [("collections.Counter", 3)]


def test_code_of_a_package_is_read_too_and_keeps_its_owner(prefix: Path) -> None:
    site = site_of(prefix)
    install(
        site,
        "patches",
        {
            "patches.pth": b"import patches\n",
            "patches.py": b"import collections\ncollections.OrderedDict = 1\n",
        },
    )
    (code,) = definition(prefix).replaced
    assert (code.standing, code.owner, code.path) == ("recorded", "patches", str(site / "patches.py"))


def test_code_that_cannot_be_read_leaves_a_doubt(prefix: Path) -> None:
    (site_of(prefix) / "sitecustomize.py").write_text("import sys\nsys.meta_path.insert(0, object())\n")
    assert "import system" in definition(prefix).doubts[0]
    (site_of(prefix) / "sitecustomize.py").write_text("import sys\nsys.path.insert(0, '/elsewhere')\n")
    assert "where Python looks" in definition(prefix).doubts[0]
    (site_of(prefix) / "sitecustomize.py").unlink()
    (site_of(prefix) / "sitecustomize.pyc").write_bytes(b"\0" * 20)
    assert "compiled code" in definition(prefix).doubts[0]


def test_a_module_before_the_library_is_told_with_the_one_it_hides(prefix: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "collections.py").write_text("class OrderedDict(dict): ...\n")
    one = definition(prefix, PYTHONPATH=str(extra))
    assert one.files[0].path == str(extra / "collections.py")
    assert one.files[0].instead == str(prefix / "lib" / "python3.11" / "collections" / "__init__.py")
    assert definition(prefix, PYTHONPATH=str(tmp_path)).files[0].instead == ""
    (extra / "_codecs.py").write_text(
        "def encode(*a): ...\n"
    )  # the interpreter has it, and looks for no file
    assert definition(prefix, ("_codecs", "encode"), PYTHONPATH=str(extra)).files[0].standing == "interpreter"
    (extra / "math.py").write_text("def exp(x): ...\n")
    assert "may be passed over" in definition(prefix, ("math", "exp"), PYTHONPATH=str(extra)).doubts[0]


def test_packages_are_compared_with_their_records(prefix: Path) -> None:
    site = site_of(prefix)
    install(site, "torch", {"torch/__init__.py": b"", "torch/_utils.py": b"def rebuild(): ...\n"})
    key = ("torch._utils", "rebuild")
    assert {each.standing for each in definition(prefix, key).files} == {"recorded"}
    (site / "torch" / "__init__.py").write_text("# marked: edited\n")
    assert [each.standing for each in definition(prefix, key).files] == ["altered", "recorded"]
    shadow = site / "torch" / "_utils.cpython-311-x86_64-linux-gnu.so"
    shadow.write_bytes(b"\x7fELF")
    found = definition(prefix, key).files[-1]
    assert (found.path, found.instead) == (str(shadow), str(site / "torch" / "_utils.py"))
    shadow.rename(site / "torch" / "_utils.cpython-310-x86_64-linux-gnu.so")  # another Python's
    assert definition(prefix, key).files[-1].standing == "recorded"


def test_a_second_file_of_a_module_by_another_package_is_told(prefix: Path) -> None:
    site = site_of(prefix)
    install(site, "torch", {"torch/__init__.py": b"", "torch/_utils.py": b"def rebuild(): ...\n"})
    install(site, "other", {"torch/_utils.cpython-311-x86_64-linux-gnu.so": b"\x7fELF"})
    found = definition(prefix, ("torch._utils", "rebuild")).files[-1]
    assert (found.standing, found.owner, found.instead) == (
        "recorded",
        "other",
        str(site / "torch/_utils.py"),
    )
    # One distribution with both forms, and one that stands before another of its kind, are in order.
    install(site, "fast", {"fast.cpython-311-x86_64-linux-gnu.so": b"\x7fELF", "fast.py": b""})
    assert definition(prefix, ("fast", "X")).files[0].instead == ""


def test_archives_on_the_path_are_a_doubt_for_what_comes_behind_them(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "some.egg").write_bytes(b"PK")
    (site_of(prefix) / "easy.pth").write_text(f"{tmp_path}/some.egg\n")
    assert definition(prefix).doubts == ()
    assert any("not looked into" in one for one in definition(prefix, NET).doubts)
    assert "not looked into" in definition(prefix, PYTHONPATH=str(tmp_path / "some.egg")).doubts[0]
    assert definition(prefix, ("_codecs", "encode"), PYTHONPATH=str(tmp_path / "some.egg")).doubts == ()
    assert "PYTHONHOME" in definition(prefix, PYTHONHOME="/elsewhere").doubts[0]
    assert "depends on the folder" in definition(prefix, PYTHONPATH="relative").doubts[0]


def test_what_is_not_there_or_belongs_to_nobody_is_a_doubt(prefix: Path) -> None:
    assert "no folder" in definition(prefix, NET).doubts[0]
    (site_of(prefix) / "project").mkdir()
    assert definition(prefix, NET).doubts
    (site_of(prefix) / "project" / "model.py").write_text("class Net: ...\n")
    one = definition(prefix, NET)  # a package without a file of its own
    assert one.doubts == ()
    assert one.unowned == (str(site_of(prefix) / "project" / "model.py"),)


@pytest.mark.parametrize(
    "module", ["", ".", "a..b", "../x", "/etc/passwd", "a/b", "a\0b", "collections.abc.x", "\udcff"]
)
def test_odd_names_are_in_no_folder(prefix: Path, module: str) -> None:
    assert definition(prefix, (module, "X")).doubts


def test_folders_that_pth_files_add_come_behind_theirs(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "project").mkdir(parents=True)
    (source / "project" / "__init__.py").write_text("from ._model import Net\n")
    (source / "project" / "_model.py").write_text("class Net: ...\n")
    (site_of(prefix) / "mine.pth").write_text(f"# ours\n{source}\n/nowhere\n")
    one = definition(prefix, ("project", "Net"))
    assert one.definer is not None
    assert one.definer.path == str(source / "project" / "_model.py")
    assert [each.module for each in one.files] == ["project", "project._model"]


def test_imports_in_a_circle_end(prefix: Path) -> None:
    (site_of(prefix) / "one.py").write_text("from two import X\n")
    (site_of(prefix) / "two.py").write_text("from one import X\n")
    one = definition(prefix, ("one", "X"))
    assert one.definer is None
    assert [each.module for each in one.files] == ["one", "two"]


def test_modules_are_found_where_python_finds_them() -> None:
    environment = find_environment(Path(sys.executable), os.environ)
    path = search_path(environment, os.environ)
    finder = Finder(environment.version)
    known = [
        "collections",
        "json.decoder",
        "numpy",
        "numpy._core.multiarray",
        "math",
        "hypothesis.strategies",
        "torch._utils",
    ]
    for module in [
        *known,
        "_pytest.python",
        "veracity.core.tree",
        "_bisect",
        "array",
        "xml.etree.ElementTree",
    ]:
        spec = importlib.util.find_spec(module)
        assert spec is not None
        located = finder.locate(module, path.folders)
        if spec.origin in ("built-in", "frozen"):
            continue
        assert os.path.realpath(located.files[-1][1]) == os.path.realpath(str(spec.origin)), module
