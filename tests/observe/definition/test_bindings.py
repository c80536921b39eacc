"""What binds a name in the text of a module."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.observe.definition.bindings import bindings_of
from veracity.observe.effects import MAX_TEXT


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("from other import Net", ("other", "Net")),
        ("from other import Real as Net", ("other", "Real")),
        ("from .part import Net", ("pkg.part", "Net")),
        ("from . import Net", ("pkg", "Net")),
        ("if x:\n    from .part import Net\nelse:\n    from .part import Net", ("pkg.part", "Net")),
        ("try:\n    from fast import Net\nexcept ImportError:\n    from slow import Net", None),
        ("class Net: ...\nfrom other import Net", None),
        ("from other import Net\nNet = wrapped(Net)", None),
        ("from other import Net\nfor Net in (): ...", None),
        ("from other import *", None),
        ("def f():\n    from other import Net", None),
        ("from ....far import Net", ("", "Net")),
        ("import Net", None),
        ("(", None),
    ],
)
def test_a_name_comes_from_elsewhere_when_nothing_else_binds_it(
    text: str, source: tuple[str, str] | None
) -> None:
    assert bindings_of(text.encode(), "pkg.module", package=False).source("Net") == source


def test_a_package_is_its_own_base_for_relative_imports() -> None:
    found = bindings_of(b"from ._net import Net\nfrom ..up import *", "pkg.sub", package=True)
    assert found.source("Net") == ("pkg.sub._net", "Net")
    assert found.stars == ["pkg.up"]


def test_what_cannot_be_read_is_said() -> None:
    assert "longer" in bindings_of(b"#" * (MAX_TEXT + 1), "m", package=False).unread
    assert "parsed" in bindings_of(b"(", "m", package=False).unread
    deep = b"if 1:\n" + b"".join(b" " * n + b"if 1:\n" for n in range(1, 40)) + b" " * 40 + b"x = 1\n"
    assert bindings_of(deep, "m", package=False).own == set()


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda one: one.decode("latin-1")))
def test_any_text_gives_bindings_or_a_reason(text: str) -> None:
    found = bindings_of(text.encode("utf-8", "surrogatepass"), "a.b", package=False)
    assert not (found.unread and (found.own or found.imported or found.stars))


@given(st.sampled_from(["a", "b.c", ""]), st.integers(0, 5), st.booleans())
def test_relative_imports_never_leave_the_package_unnoticed(module: str, level: int, package: bool) -> None:
    text = f"from {'.' * (level + 1)}x import Net".encode()
    source = bindings_of(text, module, package=package).source("Net")
    here = module if package else module.rpartition(".")[0]
    parts = here.split(".") if here else []
    expected = ".".join([*parts[: len(parts) - level], "x"]) if level <= len(parts) else ""
    assert source == (expected, "Net")
