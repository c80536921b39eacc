"""The public surface is pinned: a name appears or goes only together with a change of this list."""

from __future__ import annotations

import re
import subprocess
import sys

import veracity

PUBLIC = ["__version__", "load", "protect"]


def test_public_names_are_exactly_these() -> None:
    assert sorted(veracity.__all__) == sorted(PUBLIC)


def test_every_public_name_is_there() -> None:
    assert [name for name in PUBLIC if not hasattr(veracity, name)] == []


def test_version_has_three_numbers() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", veracity.__version__)


def test_import_loads_no_third_party_module() -> None:
    code = (
        "import sys; before = set(sys.modules); import veracity;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - {'veracity'};"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
