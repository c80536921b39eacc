"""Where editable installs have their packages, by the table of setuptools' own hook."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.definition.editable import editable_packages
from veracity.observe.definition.search import Finder

# As setuptools writes it (`_FINDER_TEMPLATE`), cut to the lines that count.
TABLE = """\
from __future__ import annotations
import sys
MAPPING: dict[str, str] = {mapping!r}
NAMESPACES: dict[str, list[str]] = {{}}
def install():
    sys.meta_path.append(object())
"""


def write(site: Path, mapping: dict[str, str]) -> None:
    (site / "__editable___project_0_1_finder.py").write_text(TABLE.format(mapping=mapping))


def test_packages_and_modules_are_found_where_the_table_says(tmp_path: Path) -> None:
    (tmp_path / "lib" / "sub").mkdir(parents=True)
    for path in ("lib/__init__.py", "lib/sub/__init__.py", "lib/model.py", "single.py"):
        (tmp_path / path).write_text("")
    write(tmp_path, {"project": f"{tmp_path}/lib", "single": f"{tmp_path}/single", "gone": "/nowhere/x"})
    places = editable_packages([str(tmp_path), "/nowhere"])
    assert places == {"project": f"{tmp_path}/lib", "single": f"{tmp_path}/single", "gone": "/nowhere/x"}
    finder = Finder("3.11")
    assert finder.locate_in("project.model", places["project"]).files == (
        ("project", f"{tmp_path}/lib/__init__.py"),
        ("project.model", f"{tmp_path}/lib/model.py"),
    )
    assert finder.locate_in("single", places["single"]).files == (("single", f"{tmp_path}/single.py"),)
    for module, name in (("project.none", "project"), ("single.x", "single"), ("gone", "gone")):
        assert not finder.locate_in(module, places[name]).found


@pytest.mark.parametrize(
    "text", ["", "(", "MAPPING = 1", "MAPPING = {1: 2, 'a': b, 'c': 'relative', **d}", "x, y = 1, 2"]
)
def test_what_is_no_table_has_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "__editable___x_finder.py").write_text(text)
    assert editable_packages([str(tmp_path)]) == {}


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=9).map("/".__add__), max_size=4))
def test_a_table_is_read_as_python_would(
    tmp_path_factory: pytest.TempPathFactory, mapping: dict[str, str]
) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "__editable___x_finder.py").write_text(ascii_table(mapping))
    expected = {key: place for key, place in mapping.items() if "." not in key and "\0" not in place}
    assert editable_packages([str(site)]) == expected


def ascii_table(mapping: dict[str, str]) -> str:
    return f"MAPPING = {{{', '.join(f'{key!a}: {place!a}' for key, place in mapping.items())}}}\n"
