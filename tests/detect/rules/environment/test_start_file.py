"""Start-up files at rest: what they execute, and the lines of tools that nearly every environment has."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules

FOUND = "environment-start-file"
HOSTILE = [
    "import os; os.system('true')",
    "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', 'pass'])",
    "import base64; exec(base64.b64decode('cGFzcw=='))",
    "import sys; exec('import os\\nos.system(\"true\")')",
    "import sys; __import__('o' 's').system('true')",
    "import\tos; os.popen('true')",
    "import importlib; importlib.import_module('subprocess').run(['true'])",
    "import urllib.request; urllib.request.urlopen('https://example.invalid')",
    "import torch; torch.optim.SGD.step = lambda self: None",
    "import sys; sys.modules['x'] = exec(open('x').read())",
    "import os as o; f = o.system; f('true')",
]
TOOLS = [
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
    "enabled and __import__('_distutils_hack').add_shim(); ",
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join("
    "sys._getframe(1).f_locals['sitedir'], *('google',));importlib = has_mfs and "
    "__import__('importlib.util');has_mfs and __import__('importlib.machinery');m = has_mfs and "
    "sys.modules.setdefault('google', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('google', [os.path.dirname(p)])));"
    "m = m or sys.modules.setdefault('google', types.ModuleType('google'));"
    "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)",
    "import _virtualenv",
    "import __editable___thing_1_0_finder; __editable___thing_1_0_finder.install()",
    "import coverage; coverage.process_startup()",
    'import sys; exec(\'import os\\n\\nif os.getenv("COVERAGE_PROCESS_START"):\\n try:\\n  import coverage'
    '\\n except:\\n  pass\\n else:\\n  coverage.process_startup(slug="pth")\')',
    'import os, sys;exec(\'if "COV_CORE_SOURCE" in os.environ:\\n    try:\\n        from pytest_cov.embed '
    'import init\\n        init()\\n    except Exception as exc:\\n        sys.stderr.write("x")\')',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_line_that_does_harm_is_found(line: str) -> None:
    assert rules(f"# a comment\n/a/folder\n{line}\n", "site-packages/x.pth") == [f"{FOUND} error"]


@pytest.mark.parametrize("line", TOOLS)
def test_lines_of_tools_are_clean(line: str) -> None:
    assert is_clean(line, "pkg.whl!x.pth")


def test_lines_that_are_not_executed_are_nothing() -> None:
    assert is_clean("# import os; os.system('x')\n./folder\n  import os; os.system('x')\nimportos\n", "x.pth")
    assert is_clean("import os; os.system('x')", "notes.txt")


def test_neither_signs_nor_endings_of_lines_hide_a_line() -> None:
    for text in (
        "# \0\nimport os; os.system('true')",
        "\ufeffimport os; os.system('true')",
        "x\rimport os; os.system('true')",
        "import os;\x0cos.system('true')",
        "x\u2028import os; os.system('true')",
    ):
        assert f"{FOUND} error" in rules(text, "x.pth"), text


def test_other_lines_are_a_warning() -> None:
    for line in (
        "import os; os.environ['LD_PRELOAD'] = '/dev/null/x.so'",
        "import os; getattr(os, 'sys' + 'tem')('true')",
        "import sys; sys.excepthook = print",
    ):
        assert rules(line, "x.pth") == [f"{FOUND} warning"]
    assert rules("import mine", "x.pth") == [f"{FOUND} warning"]
    assert rules("import os; this is no Python", "x.pth") == [f"{FOUND} warning"]


def test_a_checkpoint_of_the_same_ending_is_none() -> None:
    assert "start-up file" not in gated(pickle.dumps({"a": 1}), "model.pth").formats
    assert "start-up file" not in gated(b"PK\3\4" + bytes(40), "model.pth").formats


def test_sitecustomize_is_judged_by_what_it_does() -> None:
    assert is_clean('"""Settings."""\nimport sys\nsys.path.append("x")\n', "lib/sitecustomize.py")
    for name in ("sitecustomize.py", "a.whl!usercustomize.py"):
        assert rules("import subprocess\nsubprocess.run(['true'])\n", name) == [f"{FOUND} error"]
    assert rules("import sys\nsys.meta_path.insert(0, X())\n", "sitecustomize.py") == [f"{FOUND} warning"]


def test_start_up_files_are_known_in_all_their_forms() -> None:
    for name in ("sitecustomize/__init__.py", "a.whl!usercustomize/__init__.py"):
        assert rules("import subprocess\nsubprocess.run(['true'])\n", name) == [f"{FOUND} error"]
    for name in (
        "sitecustomize.cpython-311-x86_64-linux-gnu.so",
        "lib/usercustomize.so",
        "a!sitecustomize.pyc",
    ):
        assert f"{FOUND} warning" in rules(b"\x7fELF", name)
    for name in (
        "mysitecustomize.so",
        "sitecustomize/other.py",
        "sitecustomize.so.txt",
        "sitecustomize-notes.md",
    ):
        assert is_clean(b"x = 1\n", name)


def test_code_that_is_too_long_is_incomplete() -> None:
    assert gated("import mine\n" * 200_000, "x.pth").status != "clean"


@given(st.text("import os;\n#(.)='\"[]lambda:exec ", max_size=60))
@settings(max_examples=examples(100), deadline=None)
def test_any_text_is_judged(text: str) -> None:
    assert gated(text, "x.pth").status
    assert gated(text, "sitecustomize.py").status
